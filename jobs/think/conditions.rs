//! What can be wrong with a subject that is in service. The table is in
//! docs/deciding.md.

use chrono::{DateTime, Utc};
use drover::model::{
    Fsync, IncidentKind, Kind, Limits, ObeyedWord, Observation, Opening, Origin, Rules, Volume,
};

use drover::store::scenes::lsn_of;

use super::figures::{self, Archiver, mount};
use super::{Scene, following, list};

/// What the newest observation shows to be wrong, though it is a good one.
pub(super) fn found(scene: &Scene, rules: &Rules) -> Vec<Opening> {
    let Some(newest) = scene.recent.first() else {
        return vec![];
    };
    if !newest.attributes.service_available {
        return vec![];
    }
    let kinds: &[IncidentKind] = match scene.subject.kind {
        Kind::Server => &[
            IncidentKind::DiskCritical,
            IncidentKind::VolumeStuck,
            IncidentKind::MaintenanceScheduled,
            IncidentKind::RecordIsOld,
        ],
        Kind::Resource => &[
            IncidentKind::ConnectionsExhausted,
            IncidentKind::XidWraparound,
            IncidentKind::ArchivingStalled,
            IncidentKind::FollowerLagging,
            IncidentKind::FollowerStalled,
            IncidentKind::FollowerFailed,
            IncidentKind::SplitBrain,
            IncidentKind::CommitsWait,
            IncidentKind::ListOutdated,
            IncidentKind::LeaderInRecovery,
        ],
    };
    let opening = |kind: &IncidentKind| {
        let reason = wrong(*kind, scene, newest, &rules.limits)?;
        Some(Opening {
            kind: *kind,
            reason,
        })
    };
    kinds.iter().filter_map(opening).collect()
}

/// What is wrong in this respect, with the figures.
pub(super) fn wrong(
    kind: IncidentKind,
    scene: &Scene,
    newest: &Observation,
    limits: &Limits,
) -> Option<String> {
    match kind {
        IncidentKind::DiskCritical => disk_critical(newest, limits),
        IncidentKind::VolumeStuck => volume_stuck(scene, newest, limits),
        IncidentKind::ConnectionsExhausted => connections_exhausted(newest, limits),
        IncidentKind::XidWraparound => xid_wraparound(newest, limits),
        IncidentKind::ArchivingStalled => archiving_stalled(scene, newest, limits),
        IncidentKind::MaintenanceScheduled => maintenance_scheduled(newest),
        IncidentKind::FollowerLagging => following::follower_lagging(scene, newest, limits),
        IncidentKind::FollowerStalled => following::follower_stalled(scene, newest, limits),
        IncidentKind::FollowerFailed => following::follower_failed(scene, newest, limits),
        IncidentKind::SplitBrain => following::split_brain(scene, newest),
        IncidentKind::CommitsWait => commits_wait(scene, newest, limits),
        IncidentKind::ListOutdated => list::outdated(scene, newest, limits),
        IncidentKind::LeaderInRecovery => leader_in_recovery(scene, newest),
        IncidentKind::RecordIsOld => record_is_old(scene, newest),
        IncidentKind::ResourceDown
        | IncidentKind::ServerDown
        | IncidentKind::CredentialsRefused
        | IncidentKind::AnotherCluster
        | IncidentKind::DatabaseGone
        | IncidentKind::HostKeyChanged
        | IncidentKind::CreationStuck
        | IncidentKind::ChangeStuck
        | IncidentKind::OldLeaderAlive
        | IncidentKind::Blind => None,
    }
}

/// The observation before the newest, unless that one was a failure.
fn before(scene: &Scene) -> Option<&Observation> {
    scene
        .recent
        .get(1)
        .filter(|seen| seen.attributes.service_available)
}

/// Whoever commits waits for a follower that does not come. PostgreSQL tells for how long the
/// statement has run, which may have been long before it waited: so nobody may have confirmed
/// anything since the observation before either, in which some waited too.
fn commits_wait(scene: &Scene, newest: &Observation, limits: &Limits) -> Option<String> {
    let waits = newest.attributes.resource.commits_wait_s?;
    let before = before(scene)?;
    before.attributes.resource.commits_wait_s?;
    (waits >= limits.commit_wait.as_secs_f64() && confirmed(before) == confirmed(newest))
        .then(|| format!("a commit has waited for a follower for {waits:.0} s"))
}

/// Up to where a follower that commits wait for has confirmed its leader's WAL.
fn confirmed(seen: &Observation) -> Option<u64> {
    let followers = seen.attributes.resource.followers.as_deref()?;
    let counts = followers
        .iter()
        .filter(|one| one.sync_state.as_deref() != Some("async"));
    counts
        .filter_map(|one| lsn_of(one.flush_lsn.as_deref()?))
        .max()
}

/// What drover has made leads by the record, and takes no writes: seen twice, for it may just
/// have been promoted. One that was adopted may follow somebody whom drover does not know.
fn leader_in_recovery(scene: &Scene, newest: &Observation) -> Option<String> {
    let recovers = |seen: &Observation| seen.attributes.resource.in_recovery == Some(true);
    let made = scene.subject.origin == Origin::Created;
    let twice = recovers(newest) && before(scene).is_some_and(recovers);
    (made && scene.leader.is_none() && twice)
        .then(|| "it leads, and is in recovery: it takes no writes".to_owned())
}

/// It has obeyed a newer word than the record knows of.
fn record_is_old(scene: &Scene, newest: &Observation) -> Option<String> {
    let words = newest.attributes.server.words.as_deref()?;
    scene.words.iter().find_map(|kept| {
        let same = |word: &&ObeyedWord| word.key.as_deref() == Some(&kept.key);
        let why = kept.standing.is_behind(words.iter().find(same)?)?;
        let (name, key) = (&scene.subject.name, &kept.key);
        Some(format!("{name} knows more than the record of {key}: {why}"))
    })
}

fn disk_critical(newest: &Observation, limits: &Limits) -> Option<String> {
    let full: Vec<String> = figures::data_volumes(&newest.attributes)?
        .into_iter()
        .filter(|volume| {
            volume
                .used_ratio
                .is_some_and(|r| r >= limits.disk_used_ratio)
                || volume
                    .available_bytes
                    .is_some_and(|b| b < limits.disk_free_bytes)
                || volume.fsync == Some(Fsync::NoSpace)
        })
        .map(fill)
        .collect();
    (!full.is_empty()).then(|| full.join("; "))
}

/// So many bytes less than before are no chance: logs are written all the time.
const FILLS: u64 = 1 << 20;

/// Whether a data volume that has next to nothing free has less by now than it had at first
/// since then.
pub(crate) fn fills(recent: &[Observation], since: DateTime<Utc>, limits: &Limits) -> bool {
    let later = |seen: &&Observation| seen.created_at >= since;
    let (Some(newest), Some(oldest)) = (recent.first(), recent.iter().rfind(later)) else {
        return false;
    };
    let before = figures::data_volumes(&oldest.attributes).unwrap_or_default();
    let had = |mount: &str| {
        let volume = before
            .iter()
            .find(|volume| figures::mount(volume) == mount)?;
        volume.available_bytes
    };
    let now = figures::data_volumes(&newest.attributes).unwrap_or_default();
    now.into_iter().any(|volume| {
        let has = volume.available_bytes;
        let tight = volume
            .used_ratio
            .is_some_and(|used| 1.0 - used < limits.disk_read_only_free_ratio);
        let less = |(has, had): (u64, u64)| has.saturating_add(FILLS) < had;
        tight && has.zip(had(mount(volume))).is_some_and(less)
    })
}

/// How full a volume is, for people.
pub(super) fn fill(volume: &Volume) -> String {
    let mut words = Vec::new();
    if let Some(used) = volume.used_ratio {
        words.push(format!("{:.1} % used", used * 100.0));
    }
    if let Some(free) = volume.available_bytes {
        words.push(format!("{:.2} GiB free", free as f64 / f64::from(1 << 30)));
    }
    if volume.fsync == Some(Fsync::NoSpace) {
        words.push("a small write found no space".into());
    }
    format!("volume {}: {}", mount(volume), words.join(", "))
}

fn volume_stuck(scene: &Scene, newest: &Observation, limits: &Limits) -> Option<String> {
    let earlier = before(scene)
        .and_then(|seen| figures::data_volumes(&seen.attributes))
        .unwrap_or_default();
    let stuck: Vec<String> = figures::data_volumes(&newest.attributes)?
        .into_iter()
        .filter_map(|volume| {
            if read_only(volume) {
                return Some(format!("volume {} is read-only", mount(volume)));
            }
            let slow = slow(volume, limits)?;
            // One slow write is no more than one slow write.
            let again = earlier
                .iter()
                .find(|other| mount(other) == mount(volume))
                .is_some_and(|other| self::slow(other, limits).is_some() || read_only(other));
            again.then(|| format!("volume {}: {slow}, twice in a row", mount(volume)))
        })
        .collect();
    (!stuck.is_empty()).then(|| stuck.join("; "))
}

pub(super) fn read_only(volume: &Volume) -> bool {
    volume.writable == Some(false) || volume.fsync == Some(Fsync::ReadOnly)
}

/// What was too slow about the small write.
pub(super) fn slow(volume: &Volume, limits: &Limits) -> Option<String> {
    match volume.fsync? {
        Fsync::Stuck | Fsync::Failed => Some("a small write with fsync does not come back".into()),
        Fsync::Ok => {
            let ms = volume.fsync_ms?;
            let slow = ms >= limits.fsync.as_secs_f64() * 1000.0;
            slow.then(|| format!("a small write with fsync took {:.1} s", ms / 1000.0))
        }
        Fsync::ReadOnly | Fsync::NoSpace | Fsync::Denied => None,
    }
}

fn connections_exhausted(newest: &Observation, limits: &Limits) -> Option<String> {
    let (used, allowed) = figures::connections(&newest.attributes)?;
    (used as f64 / allowed as f64 > limits.connections_ratio)
        .then(|| format!("{used} of {allowed} connections are used"))
}

fn xid_wraparound(newest: &Observation, limits: &Limits) -> Option<String> {
    let age = newest.attributes.resource.oldest_id()?;
    // A follower has its leader's ids, and cannot freeze: its leader's incident tells.
    if figures::in_recovery(&newest.attributes) {
        return None;
    }
    (age > limits.xid_age).then(|| {
        format!(
            "the oldest transaction or multixact id is {} million old; at 2100 writes stop",
            age / 1_000_000
        )
    })
}

fn archiving_stalled(scene: &Scene, newest: &Observation, limits: &Limits) -> Option<String> {
    let archiver = figures::archiver(&newest.attributes)?;
    if !archiver.on {
        return None;
    }
    if let Some(ready) = archiver.ready.filter(|n| *n > limits.archive_ready) {
        return Some(format!("{ready} WAL segments wait to be archived"));
    }
    // PostgreSQL tries three times within seconds: a single failure that the next
    // attempt mends is not seen failing twice.
    let earlier = before(scene).and_then(|seen| figures::archiver(&seen.attributes))?;
    let lasts = archiver.failing()
        && earlier.failing()
        && archiver.last_archived_at == earlier.last_archived_at;
    lasts.then(|| match archiver.last_archived_at {
        Some(at) => format!(
            "archiving fails; the last segment was archived at {}",
            at.format("%Y-%m-%d %H:%M:%S UTC")
        ),
        None => "archiving fails, and no segment was ever archived".into(),
    })
}

fn maintenance_scheduled(newest: &Observation) -> Option<String> {
    let events = figures::scheduled(&newest.attributes)?;
    let words: Vec<String> = events.iter().map(figures::Scheduled::words).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// Whether the archive keeps up again.
pub(super) fn archives(archiver: &Archiver, limits: &Limits) -> bool {
    !archiver.failing()
        && archiver
            .ready
            .is_none_or(|ready| ready <= limits.archive_ready / 2)
}
