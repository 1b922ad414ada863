//! The resource's feeler: connect over the PostgreSQL protocol, `select 1`, and
//! one further query that tells how the cluster is.

use std::time::{Duration, Instant};

use drover::model::{Attributes, Cause, ExposeSecret, Resource, Server, TlsMode};
use serde_json::{Map, Value, json};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

/// From the first packet until the login is done.
const CONNECT: Duration = Duration::from_secs(5);
/// For each of the two statements.
const STATEMENT: Duration = Duration::from_secs(5);

/// Sizes in bytes, ages in seconds, xid ages in transactions.
/// `oldest_transaction_s` is that of the oldest transaction other than ours.
const DETAILS: &str = "
select jsonb_build_object(
    'in_recovery', pg_is_in_recovery(),
    'read_only', current_setting('default_transaction_read_only')::bool,
    'server_version', current_setting('server_version'),
    'started_at', pg_postmaster_start_time(),
    'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                else pg_current_wal_lsn() end,
    'connections', jsonb_build_object(
        'used', (select count(*) from pg_stat_activity where backend_type = 'client backend'),
        'allowed', current_setting('max_connections')::int),
    'oldest_transaction_s', (
        select round(extract(epoch from max(clock_timestamp() - xact_start))::numeric, 3)
        from pg_stat_activity where pid <> pg_backend_pid()),
    'xid_age', (select max(age(datfrozenxid)) from pg_database),
    'database_bytes', pg_database_size(current_database()),
    'archiver', (
        select jsonb_build_object(
            'mode', current_setting('archive_mode'), 'archived', archived_count,
            'failed', failed_count, 'last_archived_at', last_archived_time,
            'last_failed_at', last_failed_time)
        from pg_stat_archiver),
    'replication_slots', coalesce((
        select jsonb_agg(jsonb_build_object(
            'name', slot_name, 'type', slot_type, 'active', active,
            'wal_status', wal_status, 'restart_lsn', restart_lsn,
            'retained_bytes', case when not pg_is_in_recovery()
                then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) end))
        from pg_replication_slots), '[]'))::text";

/// Feels a resource. It is in service if it lets us in and answers `select 1`.
pub(super) async fn feel(resource: &Resource, server: &Server) -> Attributes {
    let began = Instant::now();
    let options = options(resource, server);
    let mut connection = match timeout(CONNECT, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(e)) => return failed(&e),
        Err(_) => {
            let message = format!("no login on port {} within {CONNECT:?}", resource.port);
            return Attributes::failed(Cause::Timeout, message);
        }
    };
    let one = sqlx::query_scalar::<_, i32>("select 1").persistent(false);
    let seen = match timeout(STATEMENT, one.fetch_one(&mut connection)).await {
        Ok(Ok(1)) => {
            let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
            Attributes::available(
                (latency_ms * 100.0).round() / 100.0,
                details(&mut connection).await,
            )
        }
        Ok(Ok(other)) => {
            Attributes::failed(Cause::Protocol, format!("`select 1` answered {other}"))
        }
        Ok(Err(e)) => failed(&e),
        Err(_) => Attributes::failed(
            Cause::Timeout,
            format!("no `select 1` within {STATEMENT:?}"),
        ),
    };
    // Politely if it can be done at once; the socket closes either way.
    let _ = timeout(Duration::from_millis(500), connection.close()).await;
    seen
}

/// How the cluster is. That it cannot be told does not make it unavailable.
async fn details(connection: &mut PgConnection) -> Map<String, Value> {
    let query = sqlx::query_scalar::<_, String>(DETAILS).persistent(false);
    let missing = match timeout(STATEMENT, query.fetch_one(connection)).await {
        Ok(Ok(text)) => match serde_json::from_str(&text) {
            Ok(Value::Object(details)) => return details,
            Ok(_) | Err(_) => "the answer is no JSON object".to_owned(),
        },
        Ok(Err(e)) => failed(&e).message.unwrap_or_default(),
        Err(_) => format!("no answer within {STATEMENT:?}"),
    };
    Map::from_iter([("details_missing".to_owned(), json!(missing))])
}

fn options(resource: &Resource, server: &Server) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.address)
        .port(resource.port)
        .username(&resource.role)
        .password(resource.password.expose_secret())
        .database(&resource.database)
        .application_name("drover")
        .statement_cache_capacity(0)
        .ssl_mode(match resource.tls_mode {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .options([("statement_timeout", STATEMENT.as_millis().to_string())]);
    if let Some(pem) = &resource.tls_root_cert {
        options = options.ssl_root_cert_from_pem(pem.clone().into_bytes());
    }
    options
}

fn failed(error: &sqlx::Error) -> Attributes {
    let (cause, message) = tell_apart(error);
    Attributes::failed(cause, message.chars().take(300).collect::<String>())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx may add kinds of errors"
)]
/// Which of the causes an error is, and what a person is told.
fn tell_apart(error: &sqlx::Error) -> (Cause, String) {
    match error {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default();
            (
                by_sqlstate(&code, e.message()),
                format!("{} ({code})", e.message()),
            )
        }
        sqlx::Error::Io(e) => (by_io(e), e.to_string()),
        sqlx::Error::Tls(e) => (Cause::Tls, e.to_string()),
        // The only settings that can be wrong are the certificates.
        sqlx::Error::Configuration(e) => (Cause::Tls, e.to_string()),
        other => (Cause::Protocol, other.to_string()),
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
        "XX001" | "XX002" => Cause::Corrupt,
        _ if code.starts_with("28") => Cause::Authentication,
        _ => Cause::Error,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "std has more kinds than matter here"
)]
fn by_io(error: &std::io::Error) -> Cause {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Cause::Refused,
        ErrorKind::TimedOut => Cause::Timeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Cause::NoRoute,
        _ if error.to_string().contains("lookup") => Cause::NoRoute,
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
        assert_eq!(cause("3D000", "database does not exist"), Cause::Error);
    }
}
