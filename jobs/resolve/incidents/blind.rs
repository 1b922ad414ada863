//! `blind`: too much fails at once, more likely for the observer than for the herd.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// While it is open, no remedy of any incident is begun.
pub const PLAYBOOK: Playbook = Playbook {
    title: "too much fails at once: more likely drover is blind than the herd is down",
    opened_when: "two servers or more, and over 30 % of a zone's or the herd's, turn bad within a minute",
    severity: Severity::Critical,
    ..Playbook::of(IncidentKind::Blind)
};
