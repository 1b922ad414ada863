//! The processes: migrate, web and clock.

use drover::config::{ClockConfig, Env, WebConfig, database_url};
use drover::{clock, log, store, web};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, say};

/// Connections of a web process: its requests are short, and wait for one.
const WEB_POOL: u32 = 10;
/// Connections of a clock.
const CLOCK_POOL: u32 = 4;

/// `drover migrate`.
pub async fn migrate(env: Env<'_>) -> Result<(), Failure> {
    let url = database_url(env)?;
    log::init(env)?;
    let pool = store::connect(&url, 2).await?;
    store::migrate(&pool).await?;
    pool.close().await;
    say("the control database is ready")
}

/// `drover web`.
pub async fn web(env: Env<'_>) -> Result<(), Failure> {
    let (url, config) = (database_url(env)?, WebConfig::from_env(env)?);
    log::init(env)?;
    let pool = store::connect_migrated(&url, WEB_POOL).await?;
    Ok(web::run(pool, config, shutdown()?).await?)
}

/// `drover clock`.
pub async fn clock(env: Env<'_>) -> Result<(), Failure> {
    let (url, config) = (database_url(env)?, ClockConfig::from_env(env)?);
    log::init(env)?;
    let pool = store::connect_migrated(&url, CLOCK_POOL).await?;
    Ok(clock::run(pool, config, shutdown()?).await?)
}

/// Fires at the first SIGTERM or SIGINT.
fn shutdown() -> Result<CancellationToken, Failure> {
    let token = CancellationToken::new();
    let fire = token.clone();
    let listen = |kind| {
        signal(kind).map_err(|e| Failure::Failed(format!("signals cannot be listened to: {e}")))
    };
    let (mut term, mut int) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("told to stop");
        fire.cancel();
    });
    Ok(token)
}
