//! What was last seen of a leader that is gone. It can forbid a promotion, and never
//! allows one: who may lead says live how far it has come.

use drover::model::{Follower, Observation};

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
        let seen = &seen.attributes.resource;
        let followers = seen.followers.as_deref().unwrap_or_default();
        Some(Self {
            lsn: seen.lsn.as_deref()?.parse().ok()?,
            timeline: u32::try_from(seen.timeline?).ok()?,
            streaming: followers
                .iter()
                .filter(|follower| streams(follower))
                .filter_map(|follower| follower.name.clone())
                .collect(),
        })
    }
}

/// Its word bears its own server's time: one that is far ahead says as little as one
/// that is far behind.
fn streams(follower: &Follower) -> bool {
    follower.state.as_deref() == Some("streaming")
        && follower.silent_s.is_some_and(|s| s.abs() < SILENT_S)
}
