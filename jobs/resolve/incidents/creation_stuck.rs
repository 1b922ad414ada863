//! `creation_stuck`: a server or a resource that was asked for is not being made.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// The operation goes on by itself, once a minute; a human is told why it does not
/// come to its end. `retry` has it tried at once.
pub const PLAYBOOK: Playbook = Playbook {
    title: "what was asked for is not being made",
    opened_when: "the deadline of a creation passes, or a cloud refuses it",
    severity: Severity::Error,
    ..Playbook::of(IncidentKind::CreationStuck)
};
