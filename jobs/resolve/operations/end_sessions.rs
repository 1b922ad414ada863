//! `end_sessions`: sessions of a resource's cluster that idle in a transaction for
//! longer than `limits.idle_in_transaction` are ended.

use std::time::Duration;

use drover::model::{Limits, OperationKind, Resource, Server};
use serde::Deserialize;

use super::kind::{Context, NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::{own_role, script};
use crate::host::scripts::{END_IDLE_SESSIONS, END_IDLE_SESSIONS_SQL};

/// Sessions that idle in a transaction are ended.
pub(super) struct EndSessions;

impl Operation for EndSessions {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::EndSessions;
    const STEPS: &'static [Step<Self>] =
        &[step!("end", "end sessions that idle in a transaction" => end).may_end()];
}

/// What [`END_IDLE_SESSIONS`] tells.
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

async fn end(turn: &mut Turn<'_, EndSessions>) -> Work {
    let on = turn.resource()?;
    let limits = &turn.rules.limits;
    let idle = limits.idle_in_transaction;
    // Its own role first: it needs nothing of the server.
    let own = match ours(turn, on, idle).await {
        Ok(told) if told.may && told.not_ours == 0 => return Ok(outcome(&told, limits)),
        Ok(told) => Some(told),
        Err(_) => None,
    };
    let mut all = theirs(turn, on, idle).await?;
    if let Some(own) = own {
        all.ended += own.ended;
        all.of.extend(own.of);
    }
    Ok(outcome(&all, limits))
}

async fn ours(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    idle: Duration,
) -> Result<Told, String> {
    let sql = END_IDLE_SESSIONS_SQL.replace(":idle_s", &idle.as_secs_f64().to_string());
    let session = own_role::log_in(turn, resource, server)
        .await
        .map_err(|e| e.to_string())?;
    let text = own_role::ask(session, &sql)
        .await
        .map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// As the superuser, for whom PostgreSQL keeps connections free.
async fn theirs(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    idle: Duration,
) -> Result<Told, Outcome> {
    let idle = idle.as_secs_f64().to_string();
    let arguments = [idle.as_str(), END_IDLE_SESSIONS_SQL];
    script::ask(turn, on, END_IDLE_SESSIONS, &arguments).await
}

fn outcome(told: &Told, limits: &Limits) -> Outcome {
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
    Outcome::skipped(format!(
        "no session idles in a transaction for over {idle:?}, and {room} ({held})"
    ))
}
