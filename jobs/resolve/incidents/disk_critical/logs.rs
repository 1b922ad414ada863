//! Rotated logs: nothing writes to them any more.

use drover::model::Server;
use serde_json::Value;

use super::room::{self, Volume, amount};
use crate::resolve::incidents::{Outcome, Turn, shell};

const ROTATED: &str = include_str!("../../../host/scripts/rotated_logs.sh");

/// How many there are of the clusters that may be changed, how many bytes they hold,
/// and why the other clusters' stay. A mode that was set meanwhile holds.
async fn rotated(
    turn: &Turn<'_>,
    server: &Server,
    what: &str,
    mounts: &[&str],
) -> Result<(u64, u64, Vec<String>), Outcome> {
    let (mut ports, mut left_out) = (Vec::new(), Vec::new());
    for (port, ours) in room::herd(turn, server).await? {
        match ours {
            Ok(_) => ports.push(port.to_string()),
            Err(why) => left_out.push(why),
        }
    }
    let ports = ports.join(" ");
    let arguments = [&[what, &ports], mounts].concat();
    let said = shell::run(turn.tools, server, ROTATED, &arguments, turn.limit).await?;
    let last = said.out.lines().last().unwrap_or_default();
    let figures = last.split_once(' ');
    figures
        .and_then(|(files, bytes)| Some((files.parse().ok()?, bytes.parse().ok()?, left_out)))
        .ok_or_else(|| {
            let name = &server.subject.name;
            Outcome::failed(format!(
                "{name} does not list its logs: {}",
                said.last_words()
            ))
        })
}

pub(super) async fn look(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let tight = room::tight(turn, server).await?;
    let mounts: Vec<&str> = tight.iter().map(|volume| volume.mount.as_str()).collect();
    let (files, bytes, mut left_out) = rotated(turn, server, "look", &mounts).await?;
    let found = match files {
        0 => "there are no rotated logs".to_owned(),
        _ => format!("{files} rotated logs hold {}", amount(bytes)),
    };
    left_out.insert(0, found);
    let note = left_out.join("; ");
    if files == 0 {
        return Err(Outcome::passed_over(note));
    }
    Ok(Outcome::done(note)
        .remember("logs_on", mounts)
        .remember("logs_bytes", bytes))
}

/// Done again, it finds less: what is gone, the turn that was cut off removed.
pub(super) async fn remove(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let memo = &turn.incident.memo;
    let mounts = memo["logs_on"].as_array();
    let mounts: Vec<&str> = mounts
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (files, bytes, _) = rotated(turn, server, "remove", &mounts).await?;
    let seen = memo["logs_bytes"].as_u64().unwrap_or(bytes);
    let now = room::volumes(turn, server).await?;
    let now: Vec<String> = now.iter().map(Volume::fill).collect();
    let note = format!(
        "removed {files} rotated logs, {} of {}; now {}",
        amount(bytes),
        amount(seen),
        now.join("; ")
    );
    Ok(Outcome::done(note).touching(format!("rotated logs on {}", server.subject.name)))
}
