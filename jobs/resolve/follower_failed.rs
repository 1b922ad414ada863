//! `follower_failed`: a follower cannot follow any more.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Tells, Tiers};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::FollowerFailed,
    title: "a follower cannot follow any more",
    opened_when: "it has diverged, its slot is lost, or it does not start",
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
