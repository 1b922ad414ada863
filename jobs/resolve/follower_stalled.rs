//! `follower_stalled`: a follower does not stream from its leader.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Tells, Tiers};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::FollowerStalled,
    title: "a follower does not stream from its leader",
    opened_when: "its receiver does not stream, though its leader is in service",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 0,
        deadline: Duration::from_secs(60),
    },
    blast_radius: Blast::Nothing,
    looks_round: false,
    remedies: &[],
    undo: None,
    tells: Tells::Page,
};
