//! `leader_in_recovery`: a database that leads takes no writes, for it is in recovery.

use drover::model::{IncidentKind, Severity};

use super::playbook::{Escalation, Playbook};

/// Nothing is done: it answers, and who put it there knows why.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a database that leads is in recovery",
    opened_when: "it is seen twice to be in recovery, and the record says that it leads",
    severity: Severity::Critical,
    escalation: Escalation::PageAtOnce,
    ..Playbook::of(IncidentKind::LeaderInRecovery)
};
