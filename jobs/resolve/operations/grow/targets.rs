//! What is almost full grows by a quarter.

use drover::store::operations::Fact;
use serde::{Deserialize, Serialize};

use super::{GIB, Grow, machine, not_yet, take_room};
use crate::cloud::{self, Cloud as _};
use crate::resolve::operations::disk::room::{self, Volume, amount};
use crate::resolve::operations::kind::{Outcome, Turn, Work};

/// What a volume is to become.
#[derive(Serialize, Deserialize)]
pub(super) struct Target {
    volume: String,
    mount: String,
    /// Bytes of its filesystem before.
    from: u64,
    /// Bytes of the volume.
    to: u64,
}

/// A quarter more, and at least 1 GiB; a tiny one doubles. `None`: it is as large as it may
/// become, or larger.
fn larger(size: u64, most: u64) -> Option<u64> {
    let larger = size.saturating_add((size / 4).max(size.min(GIB)));
    (size < most).then_some(larger.min(most))
}

pub(super) async fn target(turn: &mut Turn<'_, Grow>) -> Work {
    let machine = machine(turn)?;
    let most_gib = turn.context.rules.limits.volume_max_gib;
    let seen = &mut turn.memo.room_seen;
    let tight = room::tight(&turn.context, machine.server, seen).await?;
    let volumes = machine.cloud.volumes(machine.id).await?;
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
            false => match larger(volume.size_bytes, u64::from(most_gib) * GIB) {
                Some(to) => to,
                None => {
                    words.push(format!(
                        "{} ({}) has {}, and drover lets volumes grow to {most_gib} GiB by \
                         itself (limits.volume_max_gib); a person may let it grow further",
                        volume.id,
                        full.mount,
                        amount(volume.size_bytes)
                    ));
                    continue;
                }
            },
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
        return Err(Outcome::skipped(words.join("; ")));
    }
    turn.memo.targets = targets;
    Ok(Outcome::done(words.join("; ")))
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

pub(super) async fn grow(turn: &Turn<'_, Grow>) -> Work {
    let machine = machine(turn)?;
    let mut words = Vec::new();
    let mut touched = Vec::new();
    for target in &turn.memo.targets {
        let (volume, to) = (&target.volume, target.to);
        let asked = machine.cloud.grow_volume(machine.id, volume, to);
        machine.act(turn, "growing it", asked).await??;
        words.push(format!("{volume} is to have {}", amount(to)));
        let name = &machine.server.subject.name;
        touched.push(format!("volume {volume} of {name}"));
    }
    Ok(Outcome {
        touched,
        ..Outcome::done(words.join("; "))
    })
}

/// Waits until the filesystem has the room, and helps where it may: the cloud may do it
/// by itself, so that a script that could not is no failure yet.
pub(super) async fn extend(turn: &Turn<'_, Grow>) -> Work {
    let server = turn.server()?;
    let recorded = server.volume.as_ref().and_then(|v| v.id.as_deref());
    let now = room::volumes(turn, server).await?;
    let mut words = Vec::new();
    let mut facts = Vec::new();
    for target in &turn.memo.targets {
        let mount = target.mount.as_str();
        let Some(volume) = now.iter().find(|volume| volume.mount == mount) else {
            words.push(format!("nothing is at {mount} any more"));
            continue;
        };
        if volume.size > target.from {
            words.push(volume.fill());
        } else {
            let which = [target.volume.as_str(), "", mount];
            let has = take_room(turn, server, which, target.from + 1).await;
            let waits = |why: Outcome| format!("{mount} is not larger yet: {}", why.note);
            words.push(has.map_err(|why| not_yet(turn, waits(why)))?);
        }
        if recorded == Some(target.volume.as_str()) {
            let gib = u32::try_from(target.to.div_ceil(GIB)).unwrap_or(u32::MAX);
            facts.push(Fact::VolumeGib(gib));
        }
    }
    Ok(Outcome {
        facts,
        ..Outcome::done(words.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_grow_by_a_quarter_and_by_no_less_than_a_gibibyte_unless_tiny() {
        let cases = [(100, 125), (8, 10), (2, 3), (1, 2)];
        for (from, to) in cases {
            assert_eq!(larger(from * GIB, u64::MAX), Some(to * GIB));
        }
        assert_eq!(larger(64 << 20, GIB), Some(128 << 20));
    }

    #[test]
    fn no_volume_grows_over_its_ceiling() {
        assert_eq!(larger(100 * GIB, 110 * GIB), Some(110 * GIB));
        assert_eq!(larger(110 * GIB, 110 * GIB), None);
        assert_eq!(larger(200 * GIB, 110 * GIB), None);
    }
}
