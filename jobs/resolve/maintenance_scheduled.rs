//! `maintenance_scheduled`: the cloud will take the hardware away from under a server.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Tells, Tiers};

/// The operation goes on by itself, once a minute; a human is told why it does not
/// come to its end. `retry` has it tried at once.
pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::MaintenanceScheduled,
    title: "the cloud will take the hardware away from under a server",
    opened_when: "the cloud says so of the instance",
    tiers: Tiers::All,
    severity: Severity::Warning,
    budget: Budget {
        attempts: 0,
        deadline: Duration::from_secs(60),
    },
    blast_radius: Blast::Nothing,
    looks_round: false,
    remedies: &[],
    undo: None,
    tells: Tells::Page,
};
