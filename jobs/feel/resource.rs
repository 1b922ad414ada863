//! The resource's feeler: connect over the PostgreSQL protocol, `select 1`, and
//! what tells how the cluster is.

use std::io;
use std::time::{Duration, Instant};

use drover::model::{Attributes, Cause, ClusterIdentity, Resource, ResourceFigures, Server};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::postgres::{Login, PostgresError, Session};

/// From the first packet until the login is done.
const CONNECT: Duration = Duration::from_secs(5);
/// For each of the statements, before the server itself ends it.
const STATEMENT: Duration = Duration::from_secs(5);
/// For the server's own word that it ended a statement.
const GRACE: Duration = Duration::from_millis(500);

/// A role's or database's own search path must not put other functions before
/// PostgreSQL's.
const OPTIONS: &str = "-c statement_timeout=5000 -c search_path=pg_catalog";

/// The same, with the customer's database, which the details are about.
fn options(resource: &Resource) -> String {
    let Some(customer) = &resource.customer else {
        return OPTIONS.to_owned();
    };
    let mut options = format!("{OPTIONS} -c drover.database=");
    for c in customer.database.chars() {
        // As PostgreSQL takes options apart.
        if c.is_whitespace() || c == '\\' {
            options.push('\\');
        }
        options.push(c);
    }
    options
}

/// Each of these has its field in [`ResourceFigures`]; what has none is lost. Sizes in
/// bytes, ages in seconds, xid ages in transactions. `allowed` connections
/// are those that ordinary sessions may have: what is kept back (for superusers, and
/// since PostgreSQL 16 for `pg_use_reserved_connections`) is out of their reach.
/// `oldest_transaction_s` is that of the oldest transaction other than ours.
/// `drover.database` is the customer's database, where that is another than drover's own; one
/// whose `drop database` was cut off has -2 connections. A
/// role without pg_monitor sees that there are other sessions, but not of what
/// type they are nor since when they are in a transaction, and cannot count the
/// segments that wait to be archived.
const DETAILS: &str = "
select jsonb_build_object(
    'in_recovery', pg_is_in_recovery(),
    'read_only', current_setting('default_transaction_read_only')::bool,
    'server_version', current_setting('server_version'),
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'data_directory', case when pg_has_role('pg_read_all_settings', 'usage')
        then current_setting('data_directory') end,
    'started_at', pg_postmaster_start_time(),
    'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                else pg_current_wal_lsn() end,
    'connections', jsonb_build_object(
        'used', (
            select count(*) from pg_stat_activity
            where backend_type = 'client backend' or backend_type is null and datid is not null),
        'allowed', current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true), '0')::int,
        'max', current_setting('max_connections')::int),
    'oldest_transaction_s', (
        select round(extract(epoch from max(clock_timestamp() - xact_start))::numeric, 3)
        from pg_stat_activity where pid <> pg_backend_pid()),
    'commits_wait_s', (
        select round(extract(epoch from clock_timestamp() - min(state_change))::numeric, 3)
        from pg_stat_activity where wait_event = 'SyncRep'),
    'synchronous_standby_names', case when not pg_is_in_recovery()
        then nullif(current_setting('synchronous_standby_names'), '') end,
    'xid_age', (select max(age(datfrozenxid)) from pg_database),
    'mxid_age', (select max(mxid_age(datminmxid)) from pg_database),
    'database_gone', not exists (select from pg_database where datconnlimit <> -2
        and datname = coalesce(current_setting('drover.database', true), current_database())),
    'timeline', case when pg_is_in_recovery()
        then (select timeline_id from pg_control_checkpoint())
        else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end,
    'followers', case when not pg_is_in_recovery() then coalesce((
        select jsonb_agg(jsonb_build_object(
            'name', application_name, 'state', state, 'sync_state', sync_state,
            'sent_lsn', sent_lsn, 'flush_lsn', flush_lsn, 'replay_lsn', replay_lsn,
            'lag_bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn),
            'silent_s', round(extract(epoch from clock_timestamp() - reply_time)::numeric, 3))
            order by application_name)
        from pg_stat_replication where application_name like 'f\\_%'), '[]') end,
    'receiver', case when pg_is_in_recovery() then coalesce((
        select jsonb_build_object(
            'status', status, 'slot', slot_name, 'sender', sender_host,
            'timeline', received_tli, 'flushed_lsn', flushed_lsn,
            'latest_end_lsn', latest_end_lsn,
            'lag_bytes', pg_wal_lsn_diff(latest_end_lsn, pg_last_wal_replay_lsn()),
            'silent_s', round(extract(epoch from clock_timestamp() - last_msg_receipt_time)::numeric, 3))
        from pg_stat_wal_receiver), jsonb_build_object('status', case
            when exists (select from pg_settings where name = 'primary_conninfo' and setting = '')
            then 'follows nobody'
            when exists (select from pg_stat_activity where backend_type = 'walreceiver')
            then 'connecting' else 'not running' end))
        || jsonb_build_object('replay_lsn', pg_last_wal_replay_lsn(),
            'last_replay_s', round(extract(epoch from
                clock_timestamp() - pg_last_xact_replay_timestamp())::numeric, 3)) end,
    'archiver', (
        select jsonb_build_object(
            'mode', current_setting('archive_mode'), 'archived', archived_count,
            'failed', failed_count, 'last_archived_at', last_archived_time,
            'last_failed_at', last_failed_time)
        from pg_stat_archiver),
    'replication_slots', coalesce((
        select jsonb_agg(jsonb_build_object(
            'name', slot_name, 'type', slot_type, 'active', active,
            'wal_status', to_jsonb(s) ->> 'wal_status', 'restart_lsn', restart_lsn,
            'retained_bytes', case when not pg_is_in_recovery()
                then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) end))
        from pg_replication_slots s), '[]'))
    || case when pg_has_role('pg_read_all_stats', 'usage') then '{}' else jsonb_build_object(
        'details_missing', 'oldest_transaction_s: the role is not in pg_monitor') end";

/// WAL segments that wait to be archived. Asked for alone: PostgreSQL refuses the
/// whole statement to a role that may not call this function, called or not.
/// Takes long where a database has very many files: of its own, so that it costs no other figure.
const SIZE: &str = "select pg_database_size(oid) from pg_database
    where datname = coalesce(current_setting('drover.database', true), current_database())";

const READY: &str = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'";

/// Feels a resource. It is in service if it lets us in and answers `select 1`.
pub(super) async fn feel(resource: &Resource, server: &Server) -> Attributes {
    let began = Instant::now();
    let options = options(resource);
    let login = Login {
        address: &server.address,
        port: resource.port,
        database: &resource.database,
        role: &resource.role,
        password: &resource.password,
        tls_mode: resource.tls_mode,
        tls_root_cert: resource.tls_root_cert.as_deref(),
        require_auth: resource.require_auth,
        options: &options,
    };
    let connect = super::connect_limit(&resource.subject, CONNECT);
    let mut session = match timeout(connect, Session::open(&login)).await {
        Ok(Ok(session)) => session,
        Ok(Err(e)) => return failed(&e),
        Err(_) => {
            let message = format!("no login on port {} within {connect:?}", resource.port);
            return Attributes::failed(Cause::Timeout, message);
        }
    };
    let seen = match timeout(STATEMENT + GRACE, session.ask("select 1")).await {
        Ok(Ok(one)) if one == "1" => {
            let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
            let mut figures = figures(&mut session).await;
            let known = resource.cluster.as_ref();
            let gone = figures.database_gone.take() == Some(true);
            let told = match told_apart(known, &mut figures) {
                Ok(()) if gone => {
                    figures.database_gone = Some(true);
                    Attributes::failed(Cause::DatabaseGone, is_gone(resource))
                }
                Ok(()) => Attributes::available((latency_ms * 100.0).round() / 100.0),
                Err(words) => Attributes::failed(Cause::AnotherCluster, words),
            };
            Attributes {
                resource: Box::new(figures),
                ..told
            }
        }
        Ok(Ok(other)) => {
            let message = format!("`select 1` answered {other:?}");
            Attributes::failed(Cause::Protocol, short(&message))
        }
        Ok(Err(e)) => failed(&e),
        Err(_) => Attributes::failed(
            Cause::Timeout,
            format!("no `select 1` within {STATEMENT:?}"),
        ),
    };
    // Politely if it can be done at once; the socket closes either way.
    let _ = timeout(Duration::from_millis(500), session.close()).await;
    seen
}

/// What a person is told of a database that is not there.
fn is_gone(resource: &Resource) -> String {
    let customer = resource.customer.as_ref();
    let name = customer.map_or(&resource.database, |customer| &customer.database);
    short(&format!(
        "the cluster answers, and has no database {name} any more"
    ))
}

/// Whether it may be the cluster that is known: one that does not say who it is may. What is
/// known already is not told again.
fn told_apart(
    known: Option<&ClusterIdentity>,
    figures: &mut ResourceFigures,
) -> Result<(), String> {
    let seen = figures.system_identifier.take();
    let seen = seen.filter(|seen| {
        (1..=20).contains(&seen.len()) && seen.bytes().all(|byte| byte.is_ascii_digit())
    });
    let at = figures.data_directory.take();
    let at = at.filter(|at| at.starts_with('/') && at.len() <= 4096);
    let Some(seen) = seen else { return Ok(()) };
    let told = match known {
        None => Ok(()),
        Some(known) if known.system_identifier != seen => Err(format!(
            "another cluster answers: its system identifier is {seen}, not {}",
            known.system_identifier
        )),
        Some(known) => match (&known.data_directory, &at) {
            (Some(known), Some(at)) if known != at => Err(format!(
                "another copy of the cluster answers: its data directory is {at}, not {known}"
            )),
            (Some(_) | None, _) => return Ok(()),
        },
    };
    (figures.system_identifier, figures.data_directory) = (Some(seen), at);
    told.map_err(|words| short(&words))
}

/// How the cluster is. That it cannot be told does not make it unavailable.
async fn figures(session: &mut Session) -> ResourceFigures {
    let mut figures = match known(session).await {
        Ok(figures) => figures,
        Err(why) => {
            return ResourceFigures {
                details_missing: Some(why),
                ..ResourceFigures::default()
            };
        }
    };
    match timeout(STATEMENT + GRACE, session.ask(SIZE)).await {
        Ok(size) => figures.database_bytes = size.ok().and_then(|text| text.parse().ok()),
        // What it may still say would be taken for the next answer.
        Err(_) => return figures,
    }
    let Some(archiver) = &mut figures.archiver else {
        return figures;
    };
    if archiver.mode.as_deref().is_none_or(|mode| mode == "off") {
        return figures;
    }
    let ready = match timeout(STATEMENT + GRACE, session.ask(READY)).await {
        Ok(Ok(text)) => text.parse().map_err(|_| "no number".to_owned()),
        Ok(Err(e)) => Err(short(&e.to_string())),
        Err(_) => Err(format!("no answer within {STATEMENT:?}")),
    };
    match ready {
        Ok(ready) => archiver.ready = Some(ready),
        Err(why) => archiver.ready_missing = Some(why),
    }
    figures
}

/// The figures, or why they are not known.
async fn known(session: &mut Session) -> Result<ResourceFigures, String> {
    let text = match timeout(STATEMENT + GRACE, session.ask(DETAILS)).await {
        Ok(Ok(text)) => text,
        Ok(Err(e)) => return Err(short(&e.to_string())),
        Err(_) => return Err(format!("no answer within {STATEMENT:?}")),
    };
    let object: Result<Map<String, Value>, _> = serde_json::from_str(&text);
    let figures = object.and_then(|figures| serde_json::from_value(figures.into()));
    figures.map_err(|_| "the answer is no JSON object".into())
}

fn failed(error: &PostgresError) -> Attributes {
    Attributes::failed(cause(error), short(&error.to_string()))
}

/// Enough for a person.
fn short(message: &str) -> String {
    message.chars().take(300).collect()
}

fn cause(error: &PostgresError) -> Cause {
    match error {
        PostgresError::Server { sqlstate, message } => by_sqlstate(sqlstate, message),
        PostgresError::NoAddress(_) => Cause::NoRoute,
        PostgresError::Io(e) => by_io(e.kind()),
        PostgresError::Tls(_) => Cause::Tls,
        PostgresError::Login(_) => Cause::Authentication,
        PostgresError::Protocol(_) => Cause::Protocol,
    }
}

/// Codes as in PostgreSQL's appendix "Error Codes".
fn by_sqlstate(code: &str, message: &str) -> Cause {
    match code {
        "57P03" if message.contains("shutting down") => Cause::ShuttingDown,
        "57P03" if message.contains("starting up") => Cause::StartingUp,
        "57P03" => Cause::Recovery,
        "57P01" | "57P02" => Cause::ShuttingDown,
        "57014" => Cause::Timeout,
        "53300" => Cause::TooManyConnections,
        "53100" => Cause::DiskFull,
        "25006" => Cause::ReadOnly,
        "3D000" => Cause::DatabaseGone,
        "XX001" | "XX002" => Cause::Corrupt,
        _ if code.starts_with("28") => Cause::Authentication,
        _ => Cause::Error,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "std has more kinds than matter here"
)]
fn by_io(kind: io::ErrorKind) -> Cause {
    use io::ErrorKind;
    match kind {
        ErrorKind::ConnectionRefused => Cause::Refused,
        ErrorKind::TimedOut => Cause::Timeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Cause::NoRoute,
        _ => Cause::Disconnected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_are_told_apart() {
        let cause = |code, message| by_sqlstate(code, message);
        assert_eq!(
            cause("57P03", "the database system is starting up"),
            Cause::StartingUp
        );
        assert_eq!(
            cause("57P03", "the database system is shutting down"),
            Cause::ShuttingDown
        );
        assert_eq!(
            cause("57P03", "the database system is in recovery mode"),
            Cause::Recovery
        );
        assert_eq!(
            cause("53300", "sorry, too many clients already"),
            Cause::TooManyConnections
        );
        assert_eq!(
            cause("28P01", "password authentication failed"),
            Cause::Authentication
        );
        assert_eq!(cause("53100", "could not extend file"), Cause::DiskFull);
        assert_eq!(cause("25006", "cannot execute"), Cause::ReadOnly);
        assert_eq!(cause("XX001", "invalid page"), Cause::Corrupt);
        assert_eq!(
            cause("3D000", "database does not exist"),
            Cause::DatabaseGone
        );
        assert_eq!(cause("42P01", "relation does not exist"), Cause::Error);
    }

    #[test]
    fn what_the_network_says_is_told_apart() {
        use nix::errno::Errno;
        let cause = |errno: Errno| by_io(io::Error::from(errno).kind());
        assert_eq!(cause(Errno::ECONNREFUSED), Cause::Refused);
        assert_eq!(cause(Errno::ETIMEDOUT), Cause::Timeout);
        assert_eq!(cause(Errno::EHOSTUNREACH), Cause::NoRoute);
        assert_eq!(cause(Errno::ENETUNREACH), Cause::NoRoute);
        assert_eq!(cause(Errno::ECONNRESET), Cause::Disconnected);
    }
}
