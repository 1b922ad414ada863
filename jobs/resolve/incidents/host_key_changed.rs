//! `host_key_changed`: a server shows another host key than the pinned one.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Escalation, Playbook};

/// Nothing connects to such a server any more, so nothing can be done to it: it may
/// be somebody else.
pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::HostKeyChanged,
    title: "a server shows another host key than the pinned one",
    opened_when: "the server's host key is not the pinned one",
    severity: Severity::Critical,
    budget: Budget {
        attempts: 0,
        deadline: Duration::from_secs(60),
    },
    blast_radius: Blast::Nothing,
    looks_round: false,
    remedies: &[],
    undo: None,
    escalation: Escalation::Page,
};
