//! `follower_lagging`: a follower is too far behind, and does not gain.

use drover::model::{IncidentKind, Severity};

use super::followers::{RESTART_FOLLOWER, RESTART_RECEIVER};
use super::playbook::{Blast, Budget, Escalation, Playbook};

/// It is never made anew for that: a copy would begin as far behind.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a follower is too far behind its leader",
    opened_when: "it is behind by more than its limit for 5 minutes, and does not gain",
    severity: Severity::Warning,
    budget: Budget::new(3, 1800),
    blast_radius: Blast::Resource,
    remedies: &[RESTART_RECEIVER, RESTART_FOLLOWER],
    escalation: Escalation::Ticket,
    ..Playbook::of(IncidentKind::FollowerLagging)
};
