//! The figures in an observation's details, as far as they are there.
//!
//! Details are what a stranger said, or what an older version wrote: each figure
//! is there with its right type, or it is unknown.

use chrono::{DateTime, Utc};
use drover::model::Attributes;
use serde_json::Value;

/// What is known of a volume that holds a cluster's data directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DataVolume<'a> {
    pub(super) mount: &'a str,
    /// Used, of what an ordinary user can ever use.
    pub(super) used_ratio: Option<f64>,
    pub(super) free_bytes: Option<u64>,
    /// Whether it is mounted for writing.
    pub(super) writable: Option<bool>,
    pub(super) probe: Option<Probe>,
}

/// What became of the small write with fsync.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Probe {
    /// It was done in so many milliseconds.
    Done { ms: f64 },
    /// It hangs, or the device gave an error.
    Stuck,
    /// The filesystem is read-only.
    ReadOnly,
    /// No space is left.
    NoSpace,
    /// The login may not write there.
    Denied,
}

/// The data volumes; `None` if it is not known which they are.
pub(super) fn data_volumes(seen: &Attributes) -> Option<Vec<DataVolume<'_>>> {
    let volumes = seen.details.get("volumes")?.as_array()?;
    let data: Vec<_> = volumes
        .iter()
        .filter(|v| v.get("data").and_then(Value::as_bool) == Some(true))
        .map(|v| DataVolume {
            mount: v.get("mount").and_then(Value::as_str).unwrap_or("?"),
            used_ratio: ratio(v, "used_ratio"),
            free_bytes: v.get("available_bytes").and_then(Value::as_u64),
            writable: v.get("writable").and_then(Value::as_bool),
            probe: probe(v),
        })
        .collect();
    // A server without a data volume has nothing that could be well or unwell.
    if data.is_empty() { None } else { Some(data) }
}

fn probe(volume: &Value) -> Option<Probe> {
    match volume.get("fsync")?.as_str()? {
        "ok" => Some(Probe::Done {
            ms: ratio(volume, "fsync_ms")?,
        }),
        "stuck" | "failed" => Some(Probe::Stuck),
        "read_only" => Some(Probe::ReadOnly),
        "no_space" => Some(Probe::NoSpace),
        "denied" => Some(Probe::Denied),
        _ => None,
    }
}

fn ratio(of: &Value, name: &str) -> Option<f64> {
    of.get(name)?.as_f64().filter(|n| n.is_finite())
}

/// Connections used and allowed.
pub(super) fn connections(seen: &Attributes) -> Option<(u64, u64)> {
    let connections = seen.details.get("connections")?;
    let used = connections.get("used")?.as_u64()?;
    let allowed = connections.get("allowed")?.as_u64()?;
    (allowed > 0).then_some((used, allowed))
}

/// Whether the cluster follows another: what is to be written is its leader's matter.
pub(super) fn in_recovery(seen: &Attributes) -> bool {
    seen.details.get("in_recovery").and_then(Value::as_bool) == Some(true)
}

/// Age of the oldest transaction id, in transactions.
pub(super) fn xid_age(seen: &Attributes) -> Option<u64> {
    seen.details.get("xid_age")?.as_u64()
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
    let archiver = seen.details.get("archiver")?;
    let mode = archiver.get("mode")?.as_str()?;
    Some(Archiver {
        on: mode == "always" || mode != "off" && !in_recovery(seen),
        ready: archiver.get("ready").and_then(Value::as_u64),
        last_archived_at: time(archiver, "last_archived_at")?,
        last_failed_at: time(archiver, "last_failed_at")?,
    })
}

/// A time or null; anything else is no answer.
fn time(of: &Value, name: &str) -> Option<Option<DateTime<Utc>>> {
    match of.get(name)? {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.parse().ok()?)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
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
    let events = seen.details.get("cloud")?.get("events")?.as_array()?;
    let mut scheduled: Vec<Scheduled> = events
        .iter()
        .filter_map(|event| {
            let text = |name| event.get(name).and_then(Value::as_str).unwrap_or_default();
            let (code, description) = (text("code"), text("description"));
            let matters = TAKES_HARDWARE.contains(&code)
                && !OVER.iter().any(|over| description.starts_with(over));
            matters.then(|| Scheduled {
                code: code.to_owned(),
                not_before: time(event, "not_before").flatten(),
                description: description.chars().take(200).collect(),
            })
        })
        .collect();
    scheduled.sort_by_key(|event| (event.not_before.is_none(), event.not_before));
    Some(scheduled)
}
