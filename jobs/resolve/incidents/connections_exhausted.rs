//! `connections_exhausted`: no connection is left in a cluster, or almost none.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};

use super::playbook::{Blast, Budget, Escalation, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "a database has no connection left, or almost none",
    opened_when: "over limits.connections_ratio of the connections are used, or drover is \
                  refused for want of one",
    severity: Severity::Error,
    budget: Budget::new(3, 300),
    blast_radius: Blast::Sessions,
    remedies: &[Remedy::new(
        "end_idle_in_transaction",
        "end sessions that idle in a transaction for longer than limits.idle_in_transaction",
        OperationKind::EndSessions,
    )
    .tried(3)
    .settling(Duration::from_secs(15))],
    escalation: Escalation::Ticket,
    ..Playbook::of(IncidentKind::ConnectionsExhausted)
};
