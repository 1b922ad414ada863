//! `split_brain`: two nodes of one database accept writes.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Tells, Tiers};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::SplitBrain,
    title: "two nodes of one database accept writes",
    opened_when: "a node that the record knows as a follower accepts writes",
    tiers: Tiers::All,
    severity: Severity::Critical,
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
