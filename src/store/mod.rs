//! SQL, a file per table: functions over a connection, so that callers own the
//! transactions.
//!
//! Architecture Invariant: every statement that touches `apalis.jobs` or
//! `apalis.workers` is in `queue.rs`.

pub mod brake;
pub mod changes;
pub mod counted;
pub mod creation;
pub mod drover_root;
pub mod gameday;
pub mod history;
pub mod idempotency;
pub mod incidents;
pub mod instance_statuses;
pub mod lead;
pub mod leader_changes;
pub mod leases;
pub mod letters;
pub mod logins;
pub mod modes;
pub mod observations;
pub mod old_record;
pub mod operations;
pub mod orphans;
pub mod outbox;
pub mod partitions;
pub mod places;
pub mod plans;
pub mod provider_calls;
pub mod queue;
pub mod quotas;
pub mod resolvers;
pub mod ring;
pub mod runs;
pub mod scenes;
mod snapshot;
mod statement;
pub mod subjects;
pub mod tiers;
pub mod transitions;
pub mod words;

pub use snapshot::{Transaction, snapshot};

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};

use crate::model::{Note, RowId};
use statement::{only_value, run};

/// The oldest PostgreSQL that can hold the record: `server_version_num`.
const OLDEST: i32 = 130_000;

/// Why the control database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `DATABASE_URL` is not a URL of PostgreSQL's.
    #[error("DATABASE_URL is no PostgreSQL URL (postgres://user@host:port/database): {0}")]
    Url(String),
    /// Nobody answers there, or refuses us.
    #[error("the control database cannot be reached: {0}")]
    Unreachable(sqlx::Error),
    /// It answers, but is too old.
    #[error("the control database is PostgreSQL {0}; drover needs 13 or newer")]
    TooOld(String),
    /// It lacks our tables.
    #[error("the control database has no drover tables, or old ones; run: drover migrate")]
    NotMigrated,
}

/// Opens a pool on the control database and checks its version.
///
/// # Errors
/// See [`ConnectError`]; after at most eleven seconds.
pub async fn connect(url: &str, size: u32) -> Result<PgPool, ConnectError> {
    let options = options(url)?;
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(10))
        .after_release(|db, _| Box::pin(is_at_rest(db)))
        .connect_with(options.clone())
        .await;
    let pool = match pool {
        Ok(pool) => pool,
        // The pool waits for a database that restarts, and then says only that
        // it waited. One more try tells why.
        Err(e @ sqlx::Error::PoolTimedOut) => {
            let again = PgConnection::connect_with(&options);
            let why = tokio::time::timeout(Duration::from_secs(1), again).await;
            return Err(ConnectError::Unreachable(match why {
                Ok(Err(why)) => why,
                Ok(Ok(_)) | Err(_) => e,
            }));
        }
        Err(e) => return Err(ConnectError::Unreachable(e)),
    };
    let version: String = sqlx::query_scalar("show server_version_num")
        .fetch_one(&pool)
        .await
        .map_err(ConnectError::Unreachable)?;
    if version.parse::<i32>().is_ok_and(|v| v < OLDEST) {
        let name: String = sqlx::query_scalar("show server_version")
            .fetch_one(&pool)
            .await
            .map_err(ConnectError::Unreachable)?;
        return Err(ConnectError::TooOld(name));
    }
    Ok(pool)
}

/// Whether a connection that comes back to the pool is in no transaction and may write; one
/// that is not gets closed. Whoever is dropped while it begins a transaction (a client hangs up,
/// a time limit passes, a worker stops while apalis claims for it) leaves it open in sqlx 0.9.0
/// (<https://github.com/transact-rs/sqlx/issues/4393>): what the next one writes on that
/// connection would be lost. And a session that began while the control database took no writes
/// takes none for as long as it lives.
async fn is_at_rest(db: &mut PgConnection) -> sqlx::Result<bool> {
    // In the simple protocol, a statement and the transaction it is alone in begin at once.
    let sql = "select now() = statement_timestamp()
                      and current_setting('transaction_read_only') = 'off'";
    sqlx::raw_sql(sql).fetch_one(db).await?.try_get(0)
}

fn options(url: &str) -> Result<PgConnectOptions, ConnectError> {
    // sqlx takes any scheme, and then a host of that URL's.
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        let problem = "it does not begin with postgres://";
        return Err(ConnectError::Url(problem.into()));
    }
    Ok(PgConnectOptions::from_str(url)
        .map_err(|e| ConnectError::Url(e.to_string()))?
        .application_name("drover")
        // Every statement of drover's is a short one. Where the planner takes it for a
        // long one, as it does of a table without statistics, compiling it takes a
        // hundred times as long as running it, at each execution.
        //
        // Whatever the role or the database have set: names are ours, and so are time limits.
        // A host that falls silent is given up by its own side too, and so is a process that
        // stops in the middle of a transaction: what others wait for is free then.
        .options([
            ("jit", "off"),
            ("search_path", "public"),
            ("default_transaction_isolation", "read committed"),
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "60000"),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "20000"),
        ])
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::from_secs(1)))
}

/// Opens a pool on a control database whose tables are this version's or newer.
///
/// # Errors
/// As [`connect`], and [`ConnectError::NotMigrated`].
pub async fn connect_migrated(url: &str, size: u32) -> Result<PgPool, ConnectError> {
    let pool = connect(url, size).await?;
    let newest = MIGRATIONS
        .iter()
        .map(|m| m.version)
        .max()
        .unwrap_or_default();
    let there: Result<Option<i64>, _> =
        sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&pool)
            .await;
    match there {
        Ok(Some(version)) if version >= newest => Ok(pool),
        Ok(_) => Err(ConnectError::NotMigrated),
        // 42P01: undefined table
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => {
            Err(ConnectError::NotMigrated)
        }
        Err(e) => Err(ConnectError::Unreachable(e)),
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Brings apalis's tables and ours to this version; safe to run again and by
/// several at once.
///
/// # Errors
/// What the database said.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    use anyhow::Context;
    apalis_postgres::PostgresStorage::setup(pool)
        .await
        .context("setting up the queue's tables")?;
    MIGRATIONS
        .run(pool)
        .await
        .context("setting up drover's tables")?;
    make_ready(pool).await
}

/// The same up to this migration, as an earlier version left it: for tests of what comes
/// after.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_to(pool: &PgPool, version: i64) -> anyhow::Result<()> {
    apalis_postgres::PostgresStorage::setup(pool).await?;
    MIGRATIONS.run_to(version, pool).await?;
    make_ready(pool).await
}

async fn make_ready(pool: &PgPool) -> anyhow::Result<()> {
    use anyhow::Context;
    let mut db = pool.acquire().await?;
    partitions::create_ahead(&mut db)
        .await
        .context("creating the days' partitions")?;
    Ok(())
}

/// Begins a transaction that many others stand behind: it waits for no lock longer than a second.
pub async fn hurried(pool: &PgPool) -> sqlx::Result<Transaction> {
    pool.begin_with("begin; set local lock_timeout = '1s'")
        .await
}

/// What the control database's clock says: when this transaction began.
pub async fn now(db: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    only_value(db, "select now()", ()).await
}

/// What the control database's clock says at this very moment, however long ago
/// the transaction began.
pub async fn clock(db: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    only_value(db, "select clock_timestamp()", ()).await
}

/// Makes others who do the same wait until this transaction ends; what it is has a name.
async fn one_at_a_time(db: &mut PgConnection, what: &str) -> sqlx::Result<()> {
    let sql = "select pg_advisory_xact_lock(hashtextextended($1, 0))";
    run(db, sql, [what]).await
}

/// Writes an event into the timeline of an incident or an operation, by this statement.
async fn write_note(
    db: &mut PgConnection,
    sql: &'static str,
    of: String,
    actor: &str,
    note: &Note,
) -> sqlx::Result<()> {
    let Note { kind, text, detail } = note;
    run(db, sql, (RowId::generate(), of, kind, actor, text, detail)).await
}
