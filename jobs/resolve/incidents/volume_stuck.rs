//! `volume_stuck`: a data volume takes no writes, or takes them far too slowly.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Remedy};
use super::server_down::STOP_START;

pub const PLAYBOOK: Playbook = Playbook {
    title: "a data volume takes no writes, or takes seconds for a small one",
    opened_when: "a data volume is mounted read-only, or a small write with fsync takes over \
                  `limits.fsync` twice in a row",
    severity: Severity::Critical,
    budget: Budget::new(2, 900),
    blast_radius: Blast::Server,
    looks_round: true,
    remedies: &[
        STOP_START.tried(1),
        Remedy::new(
            "reattach",
            "stop the server, detach the volume and attach it again, start the server",
            OperationKind::Reattach,
        )
        .settling(Duration::from_secs(90)),
    ],
    ..Playbook::of(IncidentKind::VolumeStuck)
};
