//! `creation_stuck`: a server or a resource that was asked for is not being made.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Escalation, Playbook};

/// The operation goes on by itself, once a minute; a human is told why it does not
/// come to its end. `retry` has it tried at once.
pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::CreationStuck,
    title: "what was asked for is not being made",
    opened_when: "the deadline of a creation passes, or a cloud refuses it",
    severity: Severity::Error,
    budget: Budget {
        attempts: 0,
        deadline: Duration::from_secs(60),
    },
    blast_radius: Blast::Nothing,
    looks_round: false,
    remedies: &[],
    undo: None,
    escalation: Escalation::Page,
};
