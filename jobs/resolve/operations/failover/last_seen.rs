//! What was last seen of a leader that is gone. It can forbid a promotion, and never
//! allows one: who may lead says live how far it has come.

use drover::model::Observation;

use super::Lsn;

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
                .filter(|follower| follower.streams())
                .filter_map(|follower| follower.name.clone())
                .collect(),
        })
    }
}
