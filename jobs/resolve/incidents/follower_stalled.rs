//! `follower_stalled`: a follower does not stream from its leader.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::followers::{REBUILD, RESTART_FOLLOWER, RESTART_RECEIVER};
use super::playbook::{Blast, Budget, Escalation, Playbook};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::FollowerStalled,
    title: "a follower does not stream from its leader",
    opened_when: "its receiver does not stream, twice in a row and for 30 s, though its leader is in service",
    severity: Severity::Error,
    budget: Budget {
        attempts: 4,
        deadline: Duration::from_secs(900),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[RESTART_RECEIVER, RESTART_FOLLOWER, REBUILD],
    undo: None,
    escalation: Escalation::Page,
};
