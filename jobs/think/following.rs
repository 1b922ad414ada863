//! What can be wrong with a follower, seen from both sides. The tables are in
//! docs/deciding.md.

use drover::model::slot_of;
use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{self, IncidentKind, Kind, Limits, Observation, PublicId, State};
use drover::store::scenes::lsn_of;

use super::assess::Assessment;
use super::{Leader, Position, Scene};

/// Whom it follows by the record, if this observation was made since.
fn followed<'a>(scene: &'a Scene, newest: &Observation) -> Option<&'a Leader> {
    let leader = scene.leader.as_ref()?;
    (newest.created_at > leader.followed_since).then_some(leader)
}

fn in_recovery(seen: &Observation) -> Option<bool> {
    seen.attributes.resource.in_recovery
}

fn public(leader: &Leader) -> PublicId {
    PublicId::new(Kind::Resource, leader.id)
}

/// It takes writes, and must not. One observation is enough: each moment more is more
/// that is written at two places.
pub(super) fn split_brain(scene: &Scene, newest: &Observation) -> Option<String> {
    let leader = followed(scene, newest)?;
    if in_recovery(newest)? {
        return None;
    }
    let too = match leader.seen.as_ref().and_then(in_recovery) {
        Some(false) => ", which takes them too",
        Some(true) | None => "",
    };
    Some(format!(
        "it takes writes, and should follow {}{too} (epoch {})",
        public(leader),
        leader.epoch
    ))
}

/// It follows by the record and cannot: what was lost does not come back by waiting.
pub(super) fn follower_failed(
    scene: &Scene,
    newest: &Observation,
    limits: &Limits,
) -> Option<String> {
    let leader = followed(scene, newest)?;
    let silence = silence(scene, newest, leader)?;
    let seen = leader.seen.as_ref().filter(|seen| {
        seen.created_at > leader.followed_since && in_recovery(seen) == Some(false)
    })?;
    let slot = slot(scene, seen);
    if slot == Some(Slot::Lost) {
        return Some(format!(
            "its slot at {} is lost: the WAL that it needs is gone",
            public(leader)
        ));
    }
    // All else may be no more than a leader that has just changed.
    if !silence.lasts(limits.stalled_for) {
        return None;
    }
    if slot == Some(Slot::Missing) {
        return Some(format!("it has no slot at {}", public(leader)));
    }
    let timeline = |seen: &Observation| seen.attributes.resource.timeline;
    if let (Some(own), Some(its)) = (timeline(newest), timeline(seen))
        && own != its
    {
        return Some(format!(
            "it is on timeline {own} and does not stream from {}, which is on timeline {its}",
            public(leader)
        ));
    }
    ahead(scene, leader, seen)
}

#[derive(PartialEq)]
enum Slot {
    Kept,
    Lost,
    Missing,
}

/// The slot that its leader keeps for it; `None` if the leader did not say.
fn slot(scene: &Scene, leader: &Observation) -> Option<Slot> {
    let slots = leader.attributes.resource.replication_slots.as_deref()?;
    let name = slot_of(scene.subject.id);
    let of_it = |slot: &&model::Slot| slot.name.as_deref() == Some(&name);
    Some(match slots.iter().find(of_it) {
        None => Slot::Missing,
        Some(slot) if slot.wal_status.as_deref() == Some("lost") => Slot::Lost,
        Some(_) => Slot::Kept,
    })
}

/// It had replayed what its leader had not written later on: the leader never will.
fn ahead(scene: &Scene, leader: &Leader, seen: &Observation) -> Option<String> {
    let its = lsn_of(seen.attributes.resource.lsn.as_deref()?)?;
    let earlier = |p: &&Position| p.at <= seen.created_at && p.at > leader.followed_since;
    let own = scene.positions.iter().find(earlier)?.lsn?;
    (own > its).then(|| {
        format!(
            "it has {} of WAL that {} does not have",
            bytes(own - its),
            public(leader)
        )
    })
}

/// It does not stream, and nobody keeps it from that.
pub(super) fn follower_stalled(
    scene: &Scene,
    newest: &Observation,
    limits: &Limits,
) -> Option<String> {
    let leader = followed(scene, newest)?;
    let silence = silence(scene, newest, leader)?;
    if !silence.lasts(limits.stalled_for) || follower_failed(scene, newest, limits).is_some() {
        return None;
    }
    Some(format!(
        "its receiver is {}, for {} s, though {} is in service",
        status(newest),
        silence.seconds(),
        public(leader)
    ))
}

/// The receiver's own word, of a stranger.
fn status(newest: &Observation) -> String {
    let receiver = newest.attributes.resource.receiver.as_ref();
    let status = receiver.and_then(|receiver| receiver.status.as_deref());
    status.unwrap_or("unknown").chars().take(40).collect()
}

/// Observations in a row in which a follower did not stream from a leader that was in
/// service.
struct Silence {
    count: usize,
    first: DateTime<Utc>,
    newest: DateTime<Utc>,
}

impl Silence {
    fn lasts(&self, patience: Duration) -> bool {
        let lasted = (self.newest - self.first).to_std().unwrap_or_default();
        self.count >= 2 && lasted >= patience
    }

    fn seconds(&self) -> i64 {
        (self.newest - self.first).num_seconds()
    }
}

/// `None`: it streams, is no follower by its own word, or its leader is not there.
fn silence(scene: &Scene, newest: &Observation, leader: &Leader) -> Option<Silence> {
    if in_recovery(newest) != Some(true) || leader.state != State::Available {
        return None;
    }
    let from = leader
        .followed_since
        .max(leader.since)
        .max(scene.subject.state_since);
    let run = scene
        .positions
        .iter()
        .skip_while(|position| position.at > newest.created_at)
        .take_while(|position| position.streams == Some(false) && position.at >= from);
    let (count, first) = run.fold((0, None), |(count, _), p| (count + 1, Some(p.at)));
    Some(Silence {
        count,
        first: first?,
        newest: newest.created_at,
    })
}

/// How far behind it was at one moment, in bytes: what its leader had written by then
/// and it had not replayed, or what its receiver knew of and it had not replayed.
fn lag(leader: &Leader, own: &Position) -> Option<u64> {
    let its = leader
        .positions
        .iter()
        .find(|its| its.at <= own.at && its.at > leader.followed_since)
        .and_then(|its| its.lsn);
    let lacks = its.zip(own.lsn).map(|(its, own)| its.saturating_sub(own));
    lacks.max(own.lag)
}

/// How far behind it is now, if it has said that since it follows.
fn lag_now(scene: &Scene, newest: &Observation) -> Option<u64> {
    let leader = followed(scene, newest)?;
    let own = scene.positions.iter().find(|p| p.at <= newest.created_at)?;
    lag(leader, own)
}

/// Whether it was further behind when it was seen before.
fn gains(scene: &Scene, newest: &Observation, leader: &Leader, now: u64) -> bool {
    let before = scene.positions.iter().find(|p| p.at < newest.created_at);
    let before = before.filter(|before| before.at > leader.followed_since);
    before
        .and_then(|before| lag(leader, before))
        .is_some_and(|before| now < before)
}

/// It streams, and does not keep up.
pub(super) fn follower_lagging(
    scene: &Scene,
    newest: &Observation,
    limits: &Limits,
) -> Option<String> {
    let leader = followed(scene, newest)?;
    let now = lag_now(scene, newest)?;
    let streams = scene.positions.iter().find(|p| p.at <= newest.created_at)?;
    if now <= leader.max_lag_bytes || streams.streams != Some(true) {
        return None;
    }
    let far_behind = |p: &&Position| {
        p.at > leader.followed_since && lag(leader, p).is_some_and(|lag| lag > leader.max_lag_bytes)
    };
    let old =
        |p: &&Position| (newest.created_at - p.at).to_std().unwrap_or_default() >= limits.lag_for;
    let mut run = scene.positions.iter().take_while(far_behind);
    let then = lag(leader, run.find(old)?)?;
    (now >= then).then(|| {
        format!(
            "it is {} behind {}, as it was {} ago or more; {} are allowed",
            bytes(now),
            public(leader),
            humantime::format_duration(limits.lag_for),
            bytes(leader.max_lag_bytes)
        )
    })
}

fn bytes(of: u64) -> String {
    const MIB: u64 = 1 << 20;
    match of {
        0..MIB => format!("{of} bytes"),
        _ => format!("{:.1} MiB", of as f64 / MIB as f64),
    }
}

/// What an observation that is a good one says of an open incident of these kinds;
/// that what opened it still holds has been asked before.
pub(super) fn assess(
    kind: IncidentKind,
    scene: &Scene,
    newest: &Observation,
    limits: &Limits,
) -> Assessment {
    let Some(leader) = &scene.leader else {
        return Assessment::Cleared("it follows nobody by the record".into());
    };
    let Some(in_recovery) = in_recovery(newest) else {
        return Assessment::Unknown;
    };
    if followed(scene, newest).is_none() {
        return Assessment::Unknown;
    }
    if kind == IncidentKind::SplitBrain {
        return Assessment::Cleared("it takes no writes any more".into());
    }
    if !in_recovery {
        // Its split_brain speaks.
        return Assessment::Unknown;
    }
    if kind == IncidentKind::FollowerLagging {
        return match lag_now(scene, newest) {
            None => Assessment::Unknown,
            Some(lag) => {
                let text = format!("it is {} behind {}", bytes(lag), public(leader));
                if lag <= leader.max_lag_bytes / 2 {
                    Assessment::Cleared(text)
                } else if lag <= leader.max_lag_bytes || gains(scene, newest, leader, lag) {
                    Assessment::Recovering
                } else {
                    Assessment::Holds(text)
                }
            }
        };
    }
    let mut own = scene.positions.iter().filter(|p| p.at <= newest.created_at);
    match own.next().and_then(|own| own.streams) {
        None => Assessment::Unknown,
        // A receiver that is refused is begun again and again, and streams for a moment.
        Some(true) => match own.next() {
            Some(before) if before.at > leader.followed_since && before.streams == Some(true) => {
                Assessment::Cleared(format!("it streams from {}", public(leader)))
            }
            Some(_) | None => Assessment::Recovering,
        },
        Some(false) => match follower_failed(scene, newest, limits) {
            Some(reason) if kind == IncidentKind::FollowerStalled => {
                Assessment::Cleared(format!("now it is follower_failed: {reason}"))
            }
            Some(reason) => Assessment::Holds(reason),
            None => Assessment::Holds(format!("its receiver is {}", status(newest))),
        },
    }
}
