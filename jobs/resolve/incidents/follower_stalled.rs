//! `follower_stalled`: a follower does not stream from its leader.

use drover::model::{IncidentKind, Severity};

use super::followers::{REBUILD, RESTART_FOLLOWER, RESTART_RECEIVER};
use super::playbook::{Blast, Budget, Playbook};

pub const PLAYBOOK: Playbook = Playbook {
    title: "a follower does not stream from its leader",
    opened_when: "its receiver does not stream, twice in a row and for 30 s, though its leader is in service",
    severity: Severity::Error,
    budget: Budget::new(4, 900),
    blast_radius: Blast::Resource,
    remedies: &[RESTART_RECEIVER, RESTART_FOLLOWER, REBUILD],
    ..Playbook::of(IncidentKind::FollowerStalled)
};
