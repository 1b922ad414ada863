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

/// Chooses and ends in one statement, so that no pid can be another's by then. A
/// role that may not see or end the sessions of others chooses none; that of a
/// superuser is ended by a superuser only. Walsenders are no client backends, and
/// drover's own sessions bear its name.
const END: &str = "
with may as (
    select current_setting('is_superuser')::bool as all_of_them,
        pg_has_role('pg_signal_backend', 'usage') and pg_has_role('pg_read_all_stats', 'usage')
            as ordinary
), idle as materialized (
    select a.pid, a.backend_start, a.usename, a.datname,
        all_of_them or ordinary and not r.rolsuper as ours
    from may, pg_stat_activity a join pg_roles r on r.oid = a.usesysid
    where a.backend_type = 'client backend'
        and a.state in ('idle in transaction', 'idle in transaction (aborted)')
        and a.state_change < clock_timestamp() - interval '1 second' * :idle_s
        and a.pid <> pg_backend_pid()
        and a.application_name not in ('drover', 'drover_freeze')
), ended as materialized (
    select *, pg_terminate_backend(pid) as gone from idle where ours
)
select jsonb_build_object(
    'may', (select ordinary or all_of_them from may),
    'ended', (select count(*) from ended where gone),
    'of', (
        select coalesce(jsonb_agg(format('%s in %s: %s', usename, datname, n)), '[]')
        from (
            select usename, datname, count(*) as n from ended where gone
            group by 1, 2 order by 3 desc limit 6) each_of),
    'not_ours', (select count(*) from idle where not ours),
    'used', (
        select count(*) from pg_stat_activity a
        where (backend_type = 'client backend' or backend_type is null and datid is not null)
            and pid <> pg_backend_pid()
            and not exists (select from ended e where gone and e.pid = a.pid)),
    'allowed', current_setting('max_connections')::int,
    'reserved', current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int,
    'held_by', (
        select left(string_agg(
            format('%s in %s, %s: %s', usename, datname, coalesce(state, '?'), n), ', '
            order by n desc), 500)
        from (
            select usename, datname, state, count(*) as n
            from pg_stat_activity a
            where backend_type = 'client backend' and pid <> pg_backend_pid()
                and not exists (select from ended e where gone and e.pid = a.pid)
            group by 1, 2, 3 order by 4 desc limit 6) most))";

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
