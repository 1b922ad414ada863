//! `connections_exhausted`: no connection is left in a cluster, or almost none.

use std::time::Duration;

use drover::model::{IncidentKind, Resource, Server, Severity};
use drover::store::subjects::Known;
use serde::Deserialize;
use serde_json::Value;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Outcome, Turn, own_role, superuser};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::ConnectionsExhausted,
    title: "a database has no connection left, or almost none",
    opened_when: "over limits.connections_ratio of the connections are used, or drover is \
                  refused for want of one",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 3,
        deadline: Duration::from_secs(300),
    },
    blast_radius: Blast::Sessions,
    looks_round: false,
    remedies: &[Remedy {
        name: "end_idle_in_transaction",
        does: "end sessions that idle in a transaction for longer than \
               limits.idle_in_transaction",
        attempts: 3,
        settle: Duration::from_secs(15),
        steps: &[Step::new("end")],
    }],
    undo: None,
    tells: Tells::Ticket,
};

const END: &str = include_str!("../../host/scripts/end_idle_sessions.sql");

/// `$2` is how long a session may idle in a transaction, in seconds.
fn script() -> String {
    format!("sql -v idle_s=\"$2\" <<'END' || exit 5\n{END}\nEND\n")
}

/// What [`END`] tells.
#[derive(Debug, Deserialize)]
struct Told {
    /// Whether the role may see and end sessions of others.
    may: bool,
    ended: u32,
    /// Whose those were.
    of: Vec<String>,
    /// Sessions that only a superuser may end.
    not_ours: u32,
    /// Connections that are left in use.
    used: u32,
    allowed: u32,
    reserved: u32,
    held_by: Option<String>,
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has connections");
    };
    let idle = turn.rules.limits.idle_in_transaction;
    // Its own role first: it needs nothing of the server.
    let mut told = match ours(resource, server, idle).await {
        Ok(told) if told.may && told.not_ours == 0 => return outcome(&told, turn),
        Ok(told) => Some(told),
        Err(_) => None,
    };
    match theirs(turn, resource, server, idle).await {
        Ok(mut all) => {
            if let Some(own) = told.take() {
                all.ended += own.ended;
                all.of.extend(own.of);
            }
            outcome(&all, turn)
        }
        Err(outcome) => outcome,
    }
}

async fn ours(resource: &Resource, server: &Server, idle: Duration) -> Result<Told, String> {
    let sql = END.replace(":idle_s", &idle.as_secs_f64().to_string());
    let session = own_role::log_in(resource, server)
        .await
        .map_err(|e| e.to_string())?;
    let text = own_role::ask(session, &sql)
        .await
        .map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// As the superuser, for whom PostgreSQL keeps connections free.
async fn theirs(
    turn: &Turn<'_>,
    resource: &Resource,
    server: &Server,
    idle: Duration,
) -> Result<Told, Outcome> {
    let idle = idle.as_secs_f64().to_string();
    let told: Value = superuser::ask(turn, (resource, server), &script(), &[&idle]).await?;
    serde_json::from_value(told).map_err(|e| Outcome::failed(format!("psql told no figures: {e}")))
}

fn outcome(told: &Told, turn: &Turn<'_>) -> Outcome {
    let limits = &turn.rules.limits;
    let idle = limits.idle_in_transaction;
    let room = format!("{} of {} connections are used", told.used, told.allowed);
    let held = told.held_by.as_deref().unwrap_or("nobody");
    if told.ended > 0 {
        let (ended, of) = (told.ended, told.of.join(", "));
        return Outcome::done(format!(
            "ended {ended} sessions idle in a transaction for over {idle:?} ({of}); now {room} \
             ({held})"
        ))
        .touching(format!("{ended} sessions: {of}"));
    }
    let ratio = f64::from(told.used) / f64::from(told.allowed.max(1));
    if ratio <= limits.connections_ratio && told.used + told.reserved < told.allowed {
        // Nothing to do any more: the work of a turn that was cut off, or of theirs.
        return Outcome::done(format!("nothing is to be ended, and {room}"));
    }
    Outcome::passed_over(format!(
        "no session idles in a transaction for over {idle:?}, and {room} ({held})"
    ))
}
