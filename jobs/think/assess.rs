//! What the newest observation says of an incident that is open.
//!
//! An incident ends on the word of an observation alone, and only of one that
//! was made after the last remedy. What ends it is further from the limit than
//! what opens it, so that nothing flaps at the brink.

use chrono::{DateTime, Utc};
use drover::model::{Evidence, Fsync, IncidentKind, Kind, Limits, Observation, Rules, State};

use super::evidence::cause;
use super::figures::{self, mount};
use super::{Scene, conditions, following, host_is_available, resource, server};

/// What is seen of an open incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessment {
    /// It is still wrong: why, for people.
    Holds(String),
    /// It answers again, but not yet often enough: nothing is done, nothing is over.
    Recovering,
    /// It is over: why, for people.
    Cleared(String),
    /// Nothing fresh was seen, or not what it takes to tell.
    Unknown,
}

/// Of the room that a limit leaves, this much more is asked for before all is
/// said to be well.
pub(crate) const DISK_MARGIN: f64 = 0.02;
const CONNECTIONS_MARGIN: f64 = 0.05;

/// What the newest observation says of an incident of this kind. Observations
/// that are not younger than `acted_at` (when the last remedy ended) say nothing.
pub fn assess(
    kind: IncidentKind,
    scene: &Scene,
    rules: &Rules,
    acted_at: Option<DateTime<Utc>>,
) -> Assessment {
    let scene = &*super::what_was_looked_at(scene);
    let fresh = |seen: &&Observation| acted_at.is_none_or(|at| seen.created_at > at);
    let Some(newest) = scene.recent.first().filter(fresh) else {
        return Assessment::Unknown;
    };
    match scene.subject.state {
        State::Available | State::Uncertain | State::Unavailable => {}
        State::Creating | State::Destroying | State::Destroyed => return Assessment::Unknown,
    }
    let evidence = kind.profile().evidence;
    match evidence {
        Evidence::Service => service(kind, scene, newest),
        Evidence::Connections => match service(kind, scene, newest) {
            Assessment::Cleared(_) if newest.attributes.service_available => {
                connections(newest, &rules.limits)
            }
            seen @ (Assessment::Holds(_)
            | Assessment::Recovering
            | Assessment::Cleared(_)
            | Assessment::Unknown) => seen,
        },
        Evidence::Figures | Evidence::Followers => {
            if !newest.attributes.service_available {
                return Assessment::Unknown;
            }
            let of_a_leader = matches!(
                kind,
                IncidentKind::LeaderInRecovery | IncidentKind::ListOutdated
            );
            if of_a_leader && scene.leader.is_some() {
                return Assessment::Cleared("it follows another by the record".into());
            }
            if let Some(reason) = conditions::wrong(kind, scene, newest, &rules.limits) {
                return Assessment::Holds(reason);
            }
            if evidence == Evidence::Followers {
                return following::assess(kind, scene, newest, &rules.limits);
            }
            condition(kind, newest, &rules.limits).unwrap_or(Assessment::Unknown)
        }
        Evidence::Operation | Evidence::Herd => Assessment::Unknown,
    }
}

/// The kinds that say that a subject is not in service.
fn service(kind: IncidentKind, scene: &Scene, newest: &Observation) -> Assessment {
    if newest.attributes.service_available {
        return match scene.subject.state == State::Available {
            true => Assessment::Cleared("answers".into()),
            false => Assessment::Recovering,
        };
    }
    let reason = cause(&newest.attributes);
    match other_kind(kind, scene, newest) {
        Some(other) => Assessment::Cleared(format!("now it is {other}: {reason}")),
        None => Assessment::Holds(reason),
    }
}

/// The kind that a subject which is unavailable fails for by now, if it is another. Thinking opens that one with the same observation.
fn other_kind(kind: IncidentKind, scene: &Scene, newest: &Observation) -> Option<IncidentKind> {
    match kind {
        IncidentKind::ResourceDown
        | IncidentKind::ConnectionsExhausted
        | IncidentKind::CredentialsRefused
        | IncidentKind::AnotherCluster
        | IncidentKind::DatabaseGone => {
            let now = resource::incident(newest);
            let opened = scene.subject.kind == Kind::Resource
                && scene.subject.state == State::Unavailable
                && host_is_available(scene);
            (opened && now != kind).then_some(now)
        }
        IncidentKind::ServerDown => {
            let now = server::incident(newest);
            let opened =
                scene.subject.kind == Kind::Server && scene.subject.state == State::Unavailable;
            (opened && now != kind).then_some(now)
        }
        // That nothing answers by now does not lift the distrust.
        IncidentKind::HostKeyChanged
        | IncidentKind::DiskCritical
        | IncidentKind::VolumeStuck
        | IncidentKind::XidWraparound
        | IncidentKind::ArchivingStalled
        | IncidentKind::CreationStuck
        | IncidentKind::ChangeStuck
        | IncidentKind::OldLeaderAlive
        | IncidentKind::FollowerLagging
        | IncidentKind::FollowerStalled
        | IncidentKind::FollowerFailed
        | IncidentKind::SplitBrain
        | IncidentKind::CommitsWait
        | IncidentKind::ListOutdated
        | IncidentKind::LeaderInRecovery
        | IncidentKind::MaintenanceScheduled
        | IncidentKind::Blind
        | IncidentKind::RecordIsOld => None,
    }
}

/// The kinds that are seen in the figures; `None` where a figure is missing.
fn condition(kind: IncidentKind, newest: &Observation, limits: &Limits) -> Option<Assessment> {
    let seen = &newest.attributes;
    match kind {
        IncidentKind::DiskCritical => disk(newest, limits),
        IncidentKind::VolumeStuck => stuck(newest, limits),
        IncidentKind::XidWraparound => {
            let age = seen.resource.oldest_id()?;
            if figures::in_recovery(seen) {
                return Some(Assessment::Cleared(
                    "it follows another, which freezes".into(),
                ));
            }
            let text = format!(
                "the oldest transaction or multixact id is {} million old",
                age / 1_000_000
            );
            Some(either(age < limits.xid_age / 5 * 4, text))
        }
        IncidentKind::ArchivingStalled => {
            let archiver = figures::archiver(seen)?;
            if !archiver.on {
                return Some(Assessment::Cleared("it archives nothing".into()));
            }
            let waiting = archiver
                .ready
                .map_or("an unknown number of".into(), |n| n.to_string());
            let text = if archiver.failing() {
                "archiving fails".into()
            } else {
                format!("{waiting} WAL segments wait to be archived")
            };
            Some(either(conditions::archives(&archiver, limits), text))
        }
        IncidentKind::CommitsWait => {
            // Nobody waits, or it is not known.
            let known = seen.resource.connections.is_some();
            known.then(|| Assessment::Cleared("no commit waits for long".into()))
        }
        IncidentKind::ListOutdated => {
            let known = seen.resource.followers.is_some();
            let text = "its commits wait for followers that stream, or for none";
            known.then(|| Assessment::Cleared(text.into()))
        }
        IncidentKind::LeaderInRecovery => {
            let recovers = seen.resource.in_recovery?;
            Some(either(!recovers, "it takes writes".into()))
        }
        // Whether there are some is asked before.
        IncidentKind::MaintenanceScheduled => figures::scheduled(seen)
            .map(|_| Assessment::Cleared("the cloud has nothing planned for it any more".into())),
        IncidentKind::ConnectionsExhausted
        | IncidentKind::ResourceDown
        | IncidentKind::ServerDown
        | IncidentKind::CredentialsRefused
        | IncidentKind::AnotherCluster
        | IncidentKind::DatabaseGone
        | IncidentKind::HostKeyChanged
        | IncidentKind::CreationStuck
        | IncidentKind::ChangeStuck
        | IncidentKind::OldLeaderAlive
        | IncidentKind::FollowerLagging
        | IncidentKind::FollowerStalled
        | IncidentKind::FollowerFailed
        | IncidentKind::SplitBrain
        | IncidentKind::Blind
        | IncidentKind::RecordIsOld => None,
    }
}

fn either(well: bool, text: String) -> Assessment {
    if well {
        Assessment::Cleared(text)
    } else {
        Assessment::Holds(text)
    }
}

/// Room on every data volume.
fn disk(newest: &Observation, limits: &Limits) -> Option<Assessment> {
    let volumes = figures::data_volumes(&newest.attributes)?;
    let mut room = true;
    for volume in &volumes {
        room &= volume.used_ratio? < limits.disk_used_ratio - DISK_MARGIN
            && volume.available_bytes? > limits.disk_free_bytes
            && volume.fsync != Some(Fsync::NoSpace);
    }
    let words: Vec<String> = volumes.into_iter().map(conditions::fill).collect();
    Some(either(room, words.join("; ")))
}

/// Every data volume takes a small write, in half the time that is too long.
fn stuck(newest: &Observation, limits: &Limits) -> Option<Assessment> {
    let most = limits.fsync.as_secs_f64() * 1000.0 / 2.0;
    let mut words = Vec::new();
    let mut well = true;
    for volume in figures::data_volumes(&newest.attributes)? {
        let mount = mount(volume);
        if conditions::read_only(volume) {
            return Some(Assessment::Holds(format!("volume {mount} is read-only")));
        }
        match volume.fsync? {
            Fsync::Ok => {
                let ms = volume.fsync_ms?;
                well &= ms < most;
                words.push(format!("volume {mount}: a small write took {ms:.0} ms"));
            }
            Fsync::NoSpace => {
                words.push(format!("volume {mount} refuses writes for want of space"))
            }
            // Only its mount can be looked at: then that has to be known.
            Fsync::Denied => match volume.writable? {
                true => words.push(format!("volume {mount} is mounted for writing")),
                false => well = false,
            },
            Fsync::Stuck | Fsync::Failed | Fsync::ReadOnly => {
                well = false;
                words.push(format!("volume {mount}: a small write does not come back"));
            }
        }
    }
    Some(either(well, words.join("; ")))
}

fn connections(newest: &Observation, limits: &Limits) -> Assessment {
    let Some((used, allowed)) = figures::connections(&newest.attributes) else {
        return Assessment::Unknown;
    };
    let ratio = used as f64 / allowed as f64;
    let text = format!("{used} of {allowed} connections are used");
    either(ratio < limits.connections_ratio - CONNECTIONS_MARGIN, text)
}
