//! What the clock does, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::config::ClockConfig;
use crate::model::{OperationKind, named};
use crate::store::operations::{self, NewOperation};
use crate::store::{drover_root, gameday, idempotency, partitions, provider_calls, queue};

named! {
    /// A thing that has to be done from time to time.
    Chore {
        /// Tokens that are missing, of no subject, or stuck.
        KeepRing = "keep_ring",
        /// The next days' partitions, and those that are too old.
        Partitions = "partitions",
        /// The planner's figures of the days that fill.
        Analyze = "analyze",
        /// The queue table's dead rows.
        Vacuum = "vacuum",
        /// Workers and notify jobs that are long done.
        Prune = "prune",
        /// Has the clouds compared with the record.
        Reconcile = "reconcile",
        /// Has an old drover-root replaced.
        RenewDroverRoot = "renew_drover_root",
        /// Has taken back what was broken on purpose, when its time is up.
        Heal = "heal",
    }
}

impl Chore {
    /// Second, minute, hour, day of month, month, day of week; UTC.
    pub(super) fn schedule(self) -> &'static str {
        match self {
            Chore::KeepRing => "*/30 * * * * *",
            Chore::Partitions => "10 7 * * * *",
            Chore::Analyze => "5/10 * * * * *",
            Chore::Vacuum => "20 * * * * *",
            Chore::Prune => "40 */10 * * * *",
            Chore::Reconcile => "50 */5 * * * *",
            Chore::RenewDroverRoot => "35 * * * * *",
            Chore::Heal => "*/5 * * * * *",
        }
    }

    /// How long after the start of a clock it is done first.
    pub(super) fn first_after(self) -> Duration {
        match self {
            Chore::KeepRing
            | Chore::Partitions
            | Chore::Analyze
            | Chore::Vacuum
            | Chore::Prune
            | Chore::RenewDroverRoot
            | Chore::Heal => Duration::ZERO,
            // Those who start a deployment have it do other things first.
            Chore::Reconcile => Duration::from_secs(10),
        }
    }

    pub(super) async fn run(self, pool: &PgPool, config: &ClockConfig) -> sqlx::Result<()> {
        match self {
            Chore::KeepRing => keep_ring(pool).await,
            Chore::Partitions => keep_days(pool, config).await,
            Chore::Analyze => analyze(pool).await,
            Chore::Vacuum => queue::vacuum(pool).await,
            Chore::Prune => prune(pool).await,
            Chore::Reconcile => reconcile(pool).await,
            Chore::RenewDroverRoot => renew_drover_root(pool).await,
            Chore::Heal => heal(pool).await,
        }
    }
}

async fn keep_ring(pool: &PgPool) -> sqlx::Result<()> {
    let mended = queue::keep(&mut *pool.acquire().await?).await?;
    if mended == queue::Mended::default() {
        tracing::debug!("the ring is whole");
    } else {
        let queue::Mended {
            missing,
            gone,
            stuck,
            ahead,
        } = mended;
        tracing::warn!(missing, gone, stuck, ahead, "the ring had to be mended");
    }
    Ok(())
}

async fn keep_days(pool: &PgPool, config: &ClockConfig) -> sqlx::Result<()> {
    let mut db = pool.acquire().await?;
    let made = partitions::create_ahead(&mut db).await?;
    if made > 0 {
        tracing::info!(made, "days' partitions made");
    }
    for day in partitions::drop_old(&mut db, config.retention_days).await? {
        tracing::info!(%day, "observations dropped: past their retention");
    }
    Ok(())
}

async fn analyze(pool: &PgPool) -> sqlx::Result<()> {
    let mut db = pool.acquire().await?;
    for partition in partitions::analyze_grown(&mut db).await? {
        tracing::debug!(%partition, "analysed: it has grown");
    }
    Ok(())
}

async fn prune(pool: &PgPool) -> sqlx::Result<()> {
    let mut db = pool.acquire().await?;
    let workers = queue::prune_workers(&mut db).await?;
    let jobs = queue::prune_finished(&mut db).await?;
    let calls = provider_calls::prune(&mut db).await?;
    let keys = idempotency::prune(&mut db).await?;
    if workers + jobs + calls + keys > 0 {
        tracing::info!(workers, jobs, calls, keys, "pruned");
    }
    Ok(())
}

/// The clock has no access to clouds: it asks for the comparison, and a resolve worker
/// does it.
async fn reconcile(pool: &PgPool) -> sqlx::Result<()> {
    let wanted = NewOperation::new(None, OperationKind::Reconcile, "clock");
    let mut tx = pool.begin().await?;
    if operations::open(&mut tx, &wanted).await?.is_none() {
        tracing::debug!("the last comparison with the clouds is not done yet");
    }
    tx.commit().await
}

/// The clock reads what was felt, and asks; a resolve worker replaces it.
async fn renew_drover_root(pool: &PgPool) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    for server in drover_root::renew_old(&mut tx).await? {
        tracing::info!(server = %server, "its drover-root is old: a newer one is asked for");
    }
    tx.commit().await
}

/// The clock touches no server either: a resolve worker takes it back.
async fn heal(pool: &PgPool) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    if gameday::heal_what_is_due(&mut tx).await? {
        tracing::info!("a game day's time is up: what it broke is taken back");
    }
    tx.commit().await
}
