//! `archiving_stalled`: the archiver of a cluster fails, or falls behind.

use std::time::Duration;

use drover::model::{IncidentKind, Resource, Server, Severity};
use drover::store::subjects::Known;
use serde::Deserialize;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Ended, Outcome, Turn, follows, superuser};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::ArchivingStalled,
    title: "WAL of a database is not archived",
    opened_when: "archiving fails twice in a row, or over limits.archive_ready segments wait",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 3,
        deadline: Duration::from_secs(900),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[Remedy {
        name: "restart_archiving",
        does: "end what hangs under the archiver, reload, switch to a new segment, and watch it \
               catch up",
        attempts: 2,
        settle: Duration::from_secs(20),
        steps: &[
            Step::new("look"),
            Step::new("restart"),
            Step::watching("catch_up"),
        ],
    }],
    undo: None,
    tells: Tells::Page,
};

/// How long one segment of 16 MiB may be under way, in seconds: longer than any
/// archive that keeps up with anything would take.
const HUNG_S: &str = "60";
/// How long a restarted archiver may take to archive one: it is started again
/// after 10 s, and looks for itself every 60 s.
const PROGRESS_S: i64 = 75;

const PROCESSES: &str = include_str!("../../host/scripts/prelude/archiver.sh");

const STATUS: &str = include_str!("../../host/scripts/prelude/archiver_status.sh");

const LOOK: &str = include_str!("../../host/scripts/look_archiver.sh");

const RESTART: &str = include_str!("../../host/scripts/restart_archiver.sh");

/// What a script tells.
#[derive(Debug, Deserialize)]
struct Told {
    on: bool,
    /// A follower, which archives nothing of its own.
    left_to_leader: bool,
    configured: bool,
    archived: i64,
    failed: i64,
    failing: bool,
    ready: u64,
    segment: Option<String>,
    /// Seconds of the server's clock.
    clock: i64,
    archiver: Option<String>,
    /// What hangs under it.
    hung: String,
    /// The log's last word on it.
    log: String,
    /// How many processes were ended.
    ended: String,
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has an archiver");
    };
    let rest = match turn.step {
        "restart" => RESTART,
        _ => LOOK,
    };
    let script = format!("{PROCESSES}{STATUS}{rest}");
    let told = superuser::ask(turn, (resource, server), &script, &[HUNG_S]).await;
    let told: Told = match told.map(serde_json::from_value) {
        Ok(Ok(told)) => told,
        Ok(Err(e)) => return Outcome::failed(format!("psql told no figures: {e}")),
        Err(outcome) => return outcome,
    };
    match turn.step {
        "look" => look(&told, resource),
        "restart" => restarted(&told, resource, server),
        _ => catch_up(&told, turn),
    }
}

fn look(told: &Told, resource: &Resource) -> Outcome {
    if !told.on {
        return Outcome::done("archiving is off");
    }
    if told.left_to_leader {
        return Outcome::passed_over(follows(resource.leader, true).unwrap_or_default());
    }
    if !told.configured {
        return Outcome::passed_over(
            "archiving is on, but there is no archive_command: somebody has to say where to",
        );
    }
    Outcome::done(why(told))
}

/// What is wrong with it, for people.
fn why(told: &Told) -> String {
    let mut words = Vec::new();
    if told.archiver.is_none() {
        words.push("there is no archiver".into());
    }
    if !told.hung.trim().is_empty() {
        words.push(format!("under the archiver hangs {}", told.hung.trim()));
    }
    if told.failing {
        let segment = told.segment.as_deref().unwrap_or("a segment");
        let said = match told.log.as_str() {
            "" => "the archive command fails",
            said => said,
        };
        words.push(format!("{said}, last for {segment}"));
    }
    words.push(format!("{} segments wait", told.ready));
    words.join("; ")
}

fn restarted(told: &Told, resource: &Resource, server: &Server) -> Outcome {
    let ended = match told.ended.as_str() {
        "" | "0" => "nothing hung".into(),
        ended => format!("ended {ended} hung processes"),
    };
    Outcome::done(format!("{ended}, reloaded and switched to a new segment"))
        .touching(format!(
            "archiver of {} on {}",
            resource.subject.name, server.subject.name
        ))
        .remember("archived", told.archived)
        .remember("failed", told.failed)
        .remember("progress_at", told.clock)
}

/// Waits for as long as segments go: a long queue is no failure.
fn catch_up(told: &Told, turn: &Turn<'_>) -> Outcome {
    let memo = |name: &str| turn.incident.memo[name].as_i64();
    let archived = memo("archived").unwrap_or(told.archived);
    let failed = memo("failed").unwrap_or(told.failed);
    let progress_at = memo("progress_at").unwrap_or(told.clock);
    let again = Ended::Again(Duration::from_secs(2));
    if !told.on || !told.failing && told.ready <= turn.rules.limits.archive_ready / 2 {
        return Outcome::done(format!("archiving keeps up: {} segments wait", told.ready));
    }
    if told.archived > archived {
        return Outcome::new(again, format!("{} segments wait", told.ready))
            .remember("archived", told.archived)
            .remember("failed", told.failed)
            .remember("progress_at", told.clock);
    }
    // The one that was ended may count as failed itself.
    if told.failed > failed + 1 || told.clock - progress_at > PROGRESS_S {
        return Outcome::failed(why(told));
    }
    Outcome::new(again, why(told)).remember("progress_at", progress_at)
}
