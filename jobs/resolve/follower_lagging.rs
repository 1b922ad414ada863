//! `follower_lagging`: a follower is too far behind its leader.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Tells, Tiers};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::FollowerLagging,
    title: "a follower is too far behind its leader",
    opened_when: "it is behind by more than its limit for 5 minutes, and does not gain",
    tiers: Tiers::All,
    severity: Severity::Warning,
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
