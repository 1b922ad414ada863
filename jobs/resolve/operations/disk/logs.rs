//! `remove_logs`: rotated logs go. Nothing writes to them any more.

use drover::model::{OperationKind, Server};
use serde::{Deserialize, Serialize};

use super::room::{self, Volume, amount};
use crate::host::ScriptError;
use crate::host::scripts::ROTATED_LOGS;
use crate::resolve::operations::kind::{
    Context, NoParams, Operation, Outcome, Step, Turn, Work, step,
};
use crate::resolve::operations::script;

/// Rotated logs are removed.
pub(in crate::resolve::operations) struct RemoveLogs;

/// What `look` has found.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::resolve::operations) struct Memo {
    /// How often there was room.
    room_seen: u64,
    /// Where the volumes that need room are mounted.
    mounts: Vec<String>,
    /// What the logs there hold.
    bytes: u64,
}

impl Operation for RemoveLogs {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::RemoveLogs;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look for rotated logs where room is short" => look).may_end(),
        step!("remove", "remove them" => remove).may_end(),
    ];
}

/// How many there are of the clusters that may be changed, how many bytes they hold,
/// and why the other clusters' stay. A mode that was set meanwhile holds.
async fn rotated(
    turn: &Context<'_>,
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
    let said = script::run(turn, server, ROTATED_LOGS, &arguments, b"").await;
    let said = said.map_err(|e| match e.status() {
        Some(ScriptError::NOT_PROVED) => Outcome::skipped(e.to_string()),
        Some(_) | None => e.into(),
    })?;
    let last = said.text().lines().last().unwrap_or_default();
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

async fn look(turn: &mut Turn<'_, RemoveLogs>) -> Work {
    let server = turn.server()?;
    let tight = room::tight(&turn.context, server, &mut turn.memo.room_seen).await?;
    let mounts: Vec<&str> = tight.iter().map(|volume| volume.mount.as_str()).collect();
    let (files, bytes, mut left_out) = rotated(turn, server, "look", &mounts).await?;
    let found = match files {
        0 => "there are no rotated logs".to_owned(),
        _ => format!("{files} rotated logs hold {}", amount(bytes)),
    };
    left_out.insert(0, found);
    let note = left_out.join("; ");
    if files == 0 {
        return Err(Outcome::skipped(note));
    }
    turn.memo.mounts = tight.into_iter().map(|volume| volume.mount).collect();
    turn.memo.bytes = bytes;
    Ok(Outcome::done(note))
}

/// Done again, it finds less: what is gone, the turn that was cut off removed.
async fn remove(turn: &mut Turn<'_, RemoveLogs>) -> Work {
    let server = turn.server()?;
    let mounts: Vec<&str> = turn.memo.mounts.iter().map(String::as_str).collect();
    let (files, bytes, _) = rotated(&turn.context, server, "remove", &mounts).await?;
    let now = room::volumes(&turn.context, server).await?;
    let now: Vec<String> = now.iter().map(Volume::fill).collect();
    let note = format!(
        "removed {files} rotated logs, {} of {}; now {}",
        amount(bytes),
        amount(turn.memo.bytes),
        now.join("; ")
    );
    Ok(Outcome::done(note).touching(format!("rotated logs on {}", server.subject.name)))
}
