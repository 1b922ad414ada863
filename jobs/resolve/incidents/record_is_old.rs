//! `record_is_old`: servers know more than the record does.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// While it is open nothing is changed anywhere, whoever has asked for it: what the record says
/// may have been true once.
pub const PLAYBOOK: Playbook = Playbook {
    title: "the record is older than what the servers know, or another's copy",
    opened_when: "a server has obeyed a newer word than the record knows of, or the control database is another one than before",
    severity: Severity::Critical,
    ..Playbook::of(IncidentKind::RecordIsOld)
};
