//! `disk_critical`: a data volume of a server is almost full.
//!
//! The order: with next to nothing free, the databases are made read-only before
//! anything else, for what follows takes time and PostgreSQL without room stops
//! altogether. Then what is nobody's loss goes first. If nothing made room and it
//! has become too little meanwhile, read-only is also the last resort. The first
//! step of each remedy looks whether there is room by now, and passes it over.

mod grow;
mod logs;
mod read_only;
mod room;
mod slots;

use std::time::Duration;

use drover::model::{IncidentKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::server_down::power;
use super::{Outcome, Turn, instance};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::DiskCritical,
    title: "a data volume is almost full",
    opened_when: "a data volume is used up to `limits.disk_used_ratio` or more, or has less than \
                  `limits.disk_free_bytes` free",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 8,
        deadline: Duration::from_secs(600),
    },
    blast_radius: Blast::Server,
    looks_round: false,
    remedies: &[
        Remedy {
            name: "read_only",
            does: "make the databases read-only, if next to nothing is free",
            ..READ_ONLY
        },
        Remedy {
            name: "remove_logs",
            does: "remove rotated logs",
            attempts: 1,
            settle: Duration::from_secs(10),
            steps: &[Step::new("look"), Step::new("remove")],
        },
        Remedy {
            name: "drop_slots",
            does: "drop inactive replication slots that hold too much WAL",
            attempts: 1,
            settle: Duration::from_secs(15),
            steps: &[Step::new("look"), power("drop"), power("checkpoint")],
        },
        Remedy {
            name: "grow_volume",
            does: "grow the volume by a quarter",
            attempts: 2,
            settle: Duration::from_secs(30),
            steps: &[Step::new("target"), power("grow"), Step::new("extend")],
        },
        Remedy {
            name: "read_only_at_last",
            does: "make the databases read-only, if next to nothing is free by now",
            ..READ_ONLY
        },
    ],
    undo: Some(Remedy {
        name: "read_write",
        does: "let the databases be written to again",
        attempts: 5,
        settle: Duration::from_secs(5),
        steps: &[power("reset")],
    }),
    tells: Tells::TicketAndPage,
};

/// What it makes is time, and no room, so that nothing is waited for.
const READ_ONLY: Remedy = Remedy {
    name: "",
    does: "",
    attempts: 1,
    settle: Duration::from_secs(1),
    steps: &[Step::new("look"), power("set")],
};

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let server = match instance::server(turn) {
        Ok(server) => server,
        Err(outcome) => return outcome,
    };
    let done = match (turn.remedy, turn.step) {
        ("remove_logs", "look") => logs::look(turn, server).await,
        ("remove_logs", _) => logs::remove(turn, server).await,
        ("drop_slots", "look") => slots::look(turn, server).await,
        ("drop_slots", "drop") => slots::drop_them(turn, server).await,
        ("drop_slots", _) => slots::checkpoint(turn, server).await,
        ("grow_volume", "target") => grow::target(turn, server).await,
        ("grow_volume", "grow") => grow::grow(turn, server).await,
        ("grow_volume", _) => grow::extend(turn, server).await,
        (_, "look") => read_only::look(turn, server).await,
        (_, "set") => read_only::set(turn, server).await,
        _ => read_only::reset(turn, server).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}
