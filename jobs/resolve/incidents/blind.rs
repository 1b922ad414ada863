//! `blind`: too much fails at once, more likely for the observer than for the herd.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Escalation, Playbook};

/// While it is open, no remedy of any incident is begun.
pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::Blind,
    title: "too much fails at once: more likely drover is blind than the herd is down",
    opened_when: "two servers or more, and over 30 % of a zone's or the herd's, turn bad within a minute",
    severity: Severity::Critical,
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
