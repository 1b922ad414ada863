//! `disk_critical`: a data volume of a server is almost full.
//!
//! The order: with next to nothing free, the databases are made read-only before
//! anything else, for what follows takes time and PostgreSQL without room stops
//! altogether. Then what is nobody's loss goes first. If nothing made room and it
//! has become too little meanwhile, read-only is also what guards the other databases
//! there: it is tried whatever calls a human, and while one is needed. The first step of
//! each remedy looks whether there is room by now, and skips it.

use std::time::Duration;

use drover::model::{Incident, IncidentKind, Observation, OperationKind, Rules, Severity};
use serde_json::{Value, json};

use super::playbook::{Blast, Budget, Escalation, Playbook, Remedy};
use crate::think;

pub const PLAYBOOK: Playbook = Playbook {
    title: "a data volume is almost full",
    opened_when: "a data volume is used up to `limits.disk_used_ratio` or more, or has less than \
                  `limits.disk_free_bytes` free",
    severity: Severity::Error,
    budget: Budget::new(8, 600),
    blast_radius: Blast::Server,
    remedies: &[
        read_only(
            "read_only",
            "make the databases read-only, if next to nothing is free",
        ),
        Remedy::new(
            "remove_logs",
            "remove rotated logs",
            OperationKind::RemoveLogs,
        )
        .settling(Duration::from_secs(10)),
        Remedy::new(
            "drop_slots",
            "drop inactive replication slots that hold too much WAL",
            OperationKind::DropSlots,
        )
        .settling(Duration::from_secs(15)),
        Remedy::new(
            "grow_volume",
            "grow the volume by a quarter",
            OperationKind::Grow,
        )
        .tried(2)
        .settling(Duration::from_secs(30)),
    ],
    guard: Some(read_only(
        "read_only_at_last",
        "make the databases read-only, if next to nothing is free by now",
    )),
    undo: Some(
        Remedy::new(
            "read_write",
            "let the databases be written to again",
            OperationKind::SetReadWrite,
        )
        .tried(5)
        .settling(Duration::from_secs(5))
        .asking(owed),
    ),
    escalation: Escalation::TicketAndPage,
    ..Playbook::of(IncidentKind::DiskCritical)
};

/// What it makes is time, and no room, so that nothing is waited for.
const fn read_only(name: &'static str, does: &'static str) -> Remedy {
    Remedy::new(name, does, OperationKind::SetReadOnly)
        .settling(Duration::from_secs(1))
        .asking(owed)
}

/// Whether a volume with next to nothing free has filled further since a human was called.
pub fn worsens(incident: &Incident, recent: &[Observation], rules: &Rules) -> bool {
    think::fills(recent, incident.state_since, &rules.limits)
}

/// What was made read-only before, and what stood there.
fn owed(incident: &Incident) -> Value {
    let owed = &incident.memo["read_only"];
    match owed.is_null() {
        true => json!({}),
        false => json!({ "owed": owed }),
    }
}
