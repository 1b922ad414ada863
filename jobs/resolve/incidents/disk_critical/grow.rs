//! A larger volume. How large is written down before the cloud is asked, so that
//! whoever asks again asks for the same.

use drover::model::Server;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::room::{self, Volume, amount};
use crate::cloud::{self, Cloud as _, CloudAction};
use crate::resolve::incidents::instance::{self, again};
use crate::resolve::incidents::{Outcome, Turn, shell};

const GIB: u64 = 1 << 30;
/// Questions until the filesystem must have grown.
const PATIENCE: u64 = 45;

/// What a volume is to become.
#[derive(Serialize, Deserialize)]
struct Target {
    volume: String,
    mount: String,
    /// Bytes of its filesystem before.
    from: u64,
    /// Bytes of the volume.
    to: u64,
}

const EXTEND: &str = include_str!("../../../host/scripts/extend_filesystem.sh");

/// A quarter more, and at least 1 GiB; a tiny one doubles.
fn larger(size: u64) -> u64 {
    size.saturating_add((size / 4).max(size.min(GIB)))
}

pub(super) async fn target(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let machine = instance::able(turn, CloudAction::GrowVolume)?;
    let tight = room::tight(turn, server).await?;
    let asked = machine.cloud.volumes(machine.id).await;
    let volumes = asked.map_err(|e| Outcome::failed(format!("its volumes: {e}")))?;
    let mut targets = Vec::new();
    let mut words = Vec::new();
    for full in &tight {
        let Some(volume) = behind(full, &volumes) else {
            words.push(format!("the cloud does not know what is at {}", full.mount));
            continue;
        };
        // A disk that is larger than what is on it was grown before.
        let grown = volume.size_bytes > full.size.saturating_add(full.size / 8);
        let to = match grown {
            true => volume.size_bytes,
            false => larger(volume.size_bytes),
        };
        let (now, then) = (amount(volume.size_bytes), amount(to));
        words.push(format!(
            "{} ({}) from {now} to {then}",
            volume.id, full.mount
        ));
        targets.push(Target {
            volume: volume.id.clone(),
            mount: full.mount.clone(),
            from: full.size,
            to,
        });
    }
    if targets.is_empty() {
        return Err(Outcome::passed_over(words.join("; ")));
    }
    Ok(Outcome::done(words.join("; ")).remember("grow", json!(targets)))
}

/// The cloud's volume behind a mount.
fn behind<'a>(full: &Volume, volumes: &'a [cloud::Volume]) -> Option<&'a cloud::Volume> {
    let named = volumes.iter().find(|volume| {
        volume.mount.as_deref() == Some(&full.mount)
            || volume.device.as_deref() == Some(&full.device)
    });
    // Where it can be but one, it is that one.
    match (named, volumes) {
        (Some(volume), _) => Some(volume),
        (None, [only]) if only.mount.is_none() && only.device.is_none() => Some(only),
        (None, _) => None,
    }
}

fn targets(turn: &Turn<'_>) -> Result<Vec<Target>, Outcome> {
    serde_json::from_value(turn.incident.memo["grow"].clone())
        .map_err(|e| Outcome::failed(format!("how large it is to be is not known: {e}")))
}

pub(super) async fn grow(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let machine = instance::able(turn, CloudAction::GrowVolume)?;
    let mut words = Vec::new();
    let mut touched = Vec::new();
    for target in targets(turn)? {
        let asked = machine
            .cloud
            .grow_volume(machine.id, &target.volume, target.to);
        machine.act(turn, "to grow it", asked).await?;
        words.push(format!(
            "{} is to have {}",
            target.volume,
            amount(target.to)
        ));
        touched.push(format!(
            "volume {} of {}",
            target.volume, server.subject.name
        ));
    }
    let done = Outcome::done(words.join("; "));
    Ok(Outcome { touched, ..done })
}

/// Waits until the filesystem has the room, and helps where it may.
pub(super) async fn extend(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let now = room::volumes(turn, server).await?;
    let mut words = Vec::new();
    for target in targets(turn)? {
        let Some(volume) = now.iter().find(|volume| volume.mount == target.mount) else {
            words.push(format!("nothing is at {} any more", target.mount));
            continue;
        };
        if volume.size <= target.from {
            let said = shell::run(turn.tools, server, EXTEND, &[&target.mount], turn.limit).await?;
            let waits = format!("{} is not larger yet: {}", target.mount, said.last_words());
            return Err(again(turn, PATIENCE, &waits));
        }
        words.push(volume.fill());
    }
    Ok(Outcome::done(words.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_grow_by_a_quarter_and_by_no_less_than_a_gibibyte_unless_tiny() {
        let cases = [(100, 125), (8, 10), (2, 3), (1, 2)];
        for (from, to) in cases {
            assert_eq!(larger(from * GIB), to * GIB);
        }
        assert_eq!(larger(64 << 20), 128 << 20);
    }
}
