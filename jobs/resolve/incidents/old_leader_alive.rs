//! `old_leader_alive`: a lead was taken over from one that may live, and nothing has stopped that
//! one yet.

use drover::model::{IncidentKind, Severity};

use super::playbook::{Escalation, Playbook};

/// The operation that makes it a follower fences it first, and tries that for as long as it
/// lives.
pub const PLAYBOOK: Playbook = Playbook {
    title: "the leader before this one may live",
    opened_when: "a follower took the lead though nothing proved that the old leader is stopped",
    severity: Severity::Critical,
    escalation: Escalation::PageAtOnce,
    ..Playbook::of(IncidentKind::OldLeaderAlive)
};
