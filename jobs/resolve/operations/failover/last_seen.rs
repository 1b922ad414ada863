//! What was last seen of a leader that is gone. It can forbid a promotion, and never
//! allows one: who may lead says live how far it has come.

use drover::model::Observation;
use serde_json::Value;

use super::Lsn;

/// How long a follower may have been silent that its leader calls a streaming one. It
/// speaks once a second (`wal_receiver_status_interval`), and its leader keeps the
/// connection of one that is cut off for a minute (`wal_sender_timeout`).
const SILENT_S: f64 = 5.0;

/// How a leader was seen last while it was in service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LastSeen {
    /// Where its WAL ended.
    pub(super) lsn: Lsn,
    pub(super) timeline: u32,
    /// Who streamed from it, by the names of their connections.
    pub(super) streaming: Vec<String>,
}

impl LastSeen {
    /// `None` if the observation does not say where its WAL ended.
    pub(super) fn of(seen: &Observation) -> Option<Self> {
        let details = &seen.attributes.details;
        let timeline = details.get("timeline")?.as_u64()?;
        let followers = details.get("followers").and_then(Value::as_array);
        Some(Self {
            lsn: details.get("lsn")?.as_str()?.parse().ok()?,
            timeline: u32::try_from(timeline).ok()?,
            streaming: followers
                .into_iter()
                .flatten()
                .filter(|follower| streams(follower))
                .filter_map(|follower| Some(follower.get("name")?.as_str()?.to_owned()))
                .collect(),
        })
    }
}

/// Its word bears its own server's time: one that is far ahead says as little as one
/// that is far behind.
fn streams(follower: &Value) -> bool {
    let silent = follower.get("silent_s").and_then(Value::as_f64);
    follower.get("state").and_then(Value::as_str) == Some("streaming")
        && silent.is_some_and(|seconds| seconds.abs() < SILENT_S)
}
