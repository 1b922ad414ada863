//! What the figures of an observation say together.

use chrono::{DateTime, Utc};
use drover::model::{self, Attributes, Volume};

/// The data volumes; `None` if it is not known which they are.
pub(super) fn data_volumes(seen: &Attributes) -> Option<Vec<&Volume>> {
    let volumes = seen.server.volumes.as_deref()?.iter();
    let data: Vec<_> = volumes.filter(|v| v.data == Some(true)).collect();
    // A server without a data volume has nothing that could be well or unwell.
    if data.is_empty() { None } else { Some(data) }
}

/// A volume's mount point, for people.
pub(super) fn mount(volume: &Volume) -> &str {
    volume.mount.as_deref().unwrap_or("?")
}

/// Connections used and allowed.
pub(super) fn connections(seen: &Attributes) -> Option<(u64, u64)> {
    let connections = seen.resource.connections.as_ref()?;
    let (used, allowed) = (connections.used?, connections.allowed?);
    (allowed > 0).then_some((used, allowed))
}

/// Whether the cluster follows another: what is to be written is its leader's matter.
pub(super) fn in_recovery(seen: &Attributes) -> bool {
    seen.resource.in_recovery == Some(true)
}

/// How archiving goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Archiver {
    /// Whether this cluster archives: a follower leaves it to its leader, unless it is
    /// to do it `always`.
    pub(super) on: bool,
    /// Segments that wait; `None` if the role may not count them.
    pub(super) ready: Option<u64>,
    pub(super) last_archived_at: Option<DateTime<Utc>>,
    pub(super) last_failed_at: Option<DateTime<Utc>>,
}

impl Archiver {
    /// Whether the last attempt, as far as known, was a failure.
    pub(super) fn failing(&self) -> bool {
        match (self.last_failed_at, self.last_archived_at) {
            (Some(failed), Some(archived)) => failed > archived,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

pub(super) fn archiver(seen: &Attributes) -> Option<Archiver> {
    let archiver = seen.resource.archiver.as_ref()?;
    let mode = archiver.mode.as_deref()?;
    Some(Archiver {
        on: mode == "always" || mode != "off" && !in_recovery(seen),
        ready: archiver.ready,
        last_archived_at: archiver.last_archived_at?,
        last_failed_at: archiver.last_failed_at?,
    })
}

/// Something that the cloud will do to a server's instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scheduled {
    /// The cloud's word: `instance-retirement` …
    pub(crate) code: String,
    /// Not before; `None`: the cloud does not say.
    pub(crate) not_before: Option<DateTime<Utc>>,
    description: String,
}

impl Scheduled {
    /// The same for people.
    pub(crate) fn words(&self) -> String {
        let when = match self.not_before {
            Some(at) => format!("not before {}", at.format("%Y-%m-%d %H:%M UTC")),
            None => "at a time that it does not say".into(),
        };
        match self.description.as_str() {
            "" => format!("{}, {when}", self.code),
            description => format!("{}, {when}: {description}", self.code),
        }
    }
}

/// What takes the hardware away from under an instance for a while, or for good.
const TAKES_HARDWARE: [&str; 5] = [
    "instance-retirement",
    "instance-stop",
    "instance-reboot",
    "system-reboot",
    "system-maintenance",
];

/// What EC2 puts before the description of an event that is over.
const OVER: [&str; 2] = ["[Completed]", "[Canceled]"];

/// What the cloud will do to the hardware, the soonest first; `None` if it was not
/// asked, or did not say.
pub(crate) fn scheduled(seen: &Attributes) -> Option<Vec<Scheduled>> {
    let events = seen.server.cloud.as_ref()?.events.as_deref()?;
    let mut scheduled: Vec<Scheduled> = events.iter().filter_map(matters).collect();
    scheduled.sort_by_key(|event| (event.not_before.is_none(), event.not_before));
    Some(scheduled)
}

fn matters(event: &model::CloudEvent) -> Option<Scheduled> {
    let code = event.code.as_deref()?;
    let description = event.description.as_deref().unwrap_or_default();
    let matters =
        TAKES_HARDWARE.contains(&code) && !OVER.iter().any(|over| description.starts_with(over));
    matters.then(|| Scheduled {
        code: code.to_owned(),
        not_before: event.not_before,
        description: description.chars().take(200).collect(),
    })
}
