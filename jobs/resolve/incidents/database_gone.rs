//! `database_gone`: a cluster answers, and the customer's database is not in it any more.

use drover::model::{IncidentKind, Severity};

use super::playbook::{Escalation, Playbook};

/// Nothing is done: no restart brings it back, and an empty one in its place would hide what
/// was lost.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a database is not in its cluster any more",
    opened_when: "the cluster answers, and has no database of that name",
    severity: Severity::Critical,
    escalation: Escalation::TicketAndPage,
    ..Playbook::of(IncidentKind::DatabaseGone)
};
