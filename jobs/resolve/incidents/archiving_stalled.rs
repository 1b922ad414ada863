//! `archiving_stalled`: the archiver of a cluster fails, or falls behind.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "WAL of a database is not archived",
    opened_when: "archiving fails twice in a row, or over limits.archive_ready segments wait",
    severity: Severity::Error,
    budget: Budget::new(3, 900),
    blast_radius: Blast::Resource,
    remedies: &[Remedy::new(
        "restart_archiving",
        "end what hangs under the archiver, reload, switch to a new segment, and watch it \
         catch up",
        OperationKind::RestartArchiver,
    )
    .tried(2)
    .settling(Duration::from_secs(20))],
    ..Playbook::of(IncidentKind::ArchivingStalled)
};
