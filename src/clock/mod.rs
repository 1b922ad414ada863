//! The clock: keeps time, and keeps the ring.
//!
//! Any number of clocks may run; one leads, by a row that it renews, and only the
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
        let (pool, config, leader) = (pool.clone(), config.clone(), leader.clone());
        let stop = stop.clone();
        chores.spawn(async move {
            let first = tokio::time::sleep(chore.first_after());
            if stop.run_until_cancelled(first).await.is_none() {
                return;
            }
            let does = || once(chore, &pool, &config, &leader);
            stop.run_until_cancelled(keep_time(chore, schedule, does))
                .await;
        });
    }
    while let Some(ended) = chores.join_next().await {
        ended?;
    }
    leader.resign().await;
    Ok(())
}

/// Does one chore at the start and at every tick of its schedule. A tick that goes by while it
/// is at it is skipped.
async fn keep_time<D: Future<Output = ()>>(chore: Chore, schedule: Schedule, does: impl Fn() -> D) {
    loop {
        does().await;
        // A new one each time: one that has missed a tick keeps it, and never gives another.
        let mut ticks = std::pin::pin!(CronScheduler::new(schedule.clone()).into_stream());
        match ticks.next().await {
            Some(Ok(_)) => {}
            Some(Err(e)) => {
                tracing::warn!(%chore, error = %e, "the schedule stumbled");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            None => return,
        }
    }
}

async fn once(chore: Chore, pool: &PgPool, config: &ClockConfig, leader: &Arc<Leader>) {
    if !leader.leads().await {
        return;
    }
    match tokio::time::timeout(LIMIT, chore.run(pool, config)).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(%chore, error = %e, "a chore failed"),
        Err(_) => tracing::warn!(%chore, limit = ?LIMIT, "a chore took too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Else it would never be done again.
    #[tokio::test]
    async fn a_chore_that_is_longer_than_its_period_skips_ticks() {
        let schedule = Schedule::from_str("* * * * * *").unwrap();
        let done = AtomicU32::new(0);
        let does = || async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            done.fetch_add(1, Ordering::Relaxed);
        };
        let keeps = keep_time(Chore::ALL[0], schedule, does);
        let _ = tokio::time::timeout(Duration::from_secs(15), keeps).await;
        let done = done.load(Ordering::Relaxed);
        assert!((4..=10).contains(&done), "{done}");
    }
}
