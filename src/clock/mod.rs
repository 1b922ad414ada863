//! The clock: keeps time, and keeps the ring.
//!
//! Any number of clocks may run; one leads, by an advisory lock, and only the
//! leader does chores. Every chore may be done twice without harm.

mod chore;
mod leader;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use apalis_cron::CronScheduler;
use cron::Schedule;
use futures::StreamExt;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::config::ClockConfig;
pub use chore::Chore;
use leader::Leader;

/// The longest a chore may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Does the chores on their schedules, while it leads, until `stop`.
///
/// # Errors
/// If a schedule cannot be read.
pub async fn run(pool: PgPool, config: ClockConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let leader = Arc::new(Leader::new(pool.clone()));
    let mut chores = tokio::task::JoinSet::new();
    for chore in Chore::ALL.iter().copied() {
        let schedule = Schedule::from_str(chore.schedule())?;
        chores.spawn(keep_time(
            chore,
            schedule,
            pool.clone(),
            config.clone(),
            leader.clone(),
            stop.clone(),
        ));
    }
    while let Some(ended) = chores.join_next().await {
        ended?;
    }
    leader.resign().await;
    Ok(())
}

/// Does one chore at the start and at every tick of its schedule.
async fn keep_time(
    chore: Chore,
    schedule: Schedule,
    pool: PgPool,
    config: ClockConfig,
    leader: Arc<Leader>,
    stop: CancellationToken,
) {
    let first = tokio::time::sleep(chore.first_after());
    if stop.run_until_cancelled(first).await.is_none() {
        return;
    }
    let mut ticks = std::pin::pin!(CronScheduler::new(schedule).into_stream());
    loop {
        tokio::select! {
            () = once(chore, &pool, &config, &leader) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            tick = ticks.next() => match tick {
                Some(Ok(_)) => {}
                Some(Err(e)) => {
                    tracing::warn!(%chore, error = %e, "the schedule stumbled");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

async fn once(chore: Chore, pool: &PgPool, config: &ClockConfig, leader: &Leader) {
    if !leader.leads().await {
        return;
    }
    match tokio::time::timeout(LIMIT, chore.run(pool, config)).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(%chore, error = %e, "a chore failed"),
        Err(_) => tracing::warn!(%chore, limit = ?LIMIT, "a chore took too long"),
    }
}
