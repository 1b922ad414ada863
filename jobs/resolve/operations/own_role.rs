//! A session as drover's own role, with time limits.

use std::time::Duration;

use drover::model::{Resource, Server};
use tokio::time::timeout;

use super::Context;
use crate::postgres::{Login, PostgresError, Session};

const CONNECT: Duration = Duration::from_secs(5);
const STATEMENT: Duration = Duration::from_secs(6);

/// The server ends a statement before we stop waiting for it, and before the lease ends.
const ENDS: Duration = Duration::from_secs(5);

/// Logs in, if the turn has its lease still, for as long as it has.
///
/// # Errors
/// As PostgreSQL refuses, or if it takes too long.
pub(super) async fn log_in(
    turn: &Context<'_>,
    resource: &Resource,
    server: &Server,
) -> Result<Session, PostgresError> {
    let left = turn.still_leased().await;
    let left = left.map_err(|why| PostgresError::Io(std::io::Error::other(why)))?;
    let ends = left.saturating_sub(CONNECT).min(ENDS).as_millis().max(1);
    let options = format!("-c statement_timeout={ends} -c search_path=pg_catalog");
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
    timeout(CONNECT, Session::open(&login))
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// Asks for one value, and ends the session.
///
/// # Errors
/// As PostgreSQL refuses, or if it takes too long.
pub(super) async fn ask(mut session: Session, sql: &str) -> Result<String, PostgresError> {
    let answer = timeout(STATEMENT, session.ask(sql))
        .await
        .unwrap_or_else(|_| Err(late()));
    leave(session).await;
    answer
}

/// Says goodbye, if that can be done at once.
pub(super) async fn leave(session: Session) {
    let _ = timeout(Duration::from_millis(500), session.close()).await;
}

fn late() -> PostgresError {
    PostgresError::Io(std::io::ErrorKind::TimedOut.into())
}
