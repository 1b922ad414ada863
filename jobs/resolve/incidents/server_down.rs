//! `server_down`: a server is unavailable.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};
use serde_json::json;

use super::fail_over;
use super::playbook::{Blast, Budget, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "a server does not answer",
    opened_when: "the server is unavailable",
    severity: Severity::Critical,
    budget: Budget::new(4, 900),
    blast_radius: Blast::Server,
    looks_round: true,
    remedies: &[
        // Nothing that mends a server is quicker than a follower.
        fail_over::REMEDY,
        Remedy::new("reboot", "reboot the server", OperationKind::Reboot)
            .settling(Duration::from_secs(60))
            .asking(|_| json!({ "if_silent": true })),
        STOP_START.asking(|_| json!({ "if_silent": true })),
    ],
    ..Playbook::of(IncidentKind::ServerDown)
};

/// To stop a server and start it again, which moves it to other hardware where
/// there is any.
pub(super) const STOP_START: Remedy = Remedy::new(
    "stop_start",
    "stop the server and start it again, on other hardware if there is any",
    OperationKind::StopStart,
)
.tried(2)
.settling(Duration::from_secs(90));
