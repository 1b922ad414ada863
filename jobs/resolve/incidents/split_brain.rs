//! `split_brain`: a node takes writes that by the record follows.

use drover::model::{IncidentKind, Severity};

use super::followers::FENCE;
use super::playbook::{Blast, Budget, Escalation, Playbook, Remedy};

/// Each moment more is more that is written at two places, of which one is lost: it is
/// stopped first, and a human is called whatever comes of it.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a database takes writes, and should follow another",
    opened_when: "it is seen once to take writes, and the record says that it follows",
    severity: Severity::Critical,
    budget: Budget::new(2, 600),
    blast_radius: Blast::Resource,
    remedies: &[FENCE],
    // However often it comes back: whoever writes there loses what they write.
    guard: Some(
        Remedy {
            name: "fence_at_last",
            ..FENCE
        }
        .tried(1),
    ),
    escalation: Escalation::PageAtOnce,
    ..Playbook::of(IncidentKind::SplitBrain)
};
