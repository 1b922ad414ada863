//! `resource_down`: a resource is unavailable, though its server is there.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};
use serde_json::json;

use super::fail_over;
use super::followers::REBUILD;
use super::playbook::{Blast, Budget, Escalation, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "a database does not answer, though its server does",
    opened_when: "the resource is unavailable and its server is available",
    severity: Severity::Critical,
    budget: Budget::new(5, 180),
    blast_radius: Blast::Resource,
    remedies: &[
        Remedy::new(
            "restart_fast",
            "restart the cluster, letting sessions end (stop mode fast)",
            OperationKind::Restart,
        )
        .tried(2)
        .settling(Duration::from_secs(20))
        .asking(|_| json!({ "how": "fast" })),
        Remedy::new(
            "restart_immediate",
            "restart the cluster, killing what does not stop (stop mode immediate)",
            OperationKind::Restart,
        )
        .tried(2)
        .settling(Duration::from_secs(20))
        .asking(|_| json!({ "how": "immediate" })),
        fail_over::REMEDY,
        // For a follower only.
        REBUILD,
    ],
    escalation: Escalation::TicketAndPage,
    ..Playbook::of(IncidentKind::ResourceDown)
};
