//! `change_stuck`: what was asked for does not come to its end; destroying too.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// The operation goes on by itself, once a minute; a human is told why it does not
/// come to its end. `retry` has it tried at once.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a change that was asked for does not come to its end",
    opened_when: "the deadline of a change or a destruction passes, or a cloud refuses it",
    severity: Severity::Error,
    ..Playbook::of(IncidentKind::ChangeStuck)
};
