//! The ring's machinery: apalis workers that claim tokens, and the two batchers
//! every step goes through, the loader and the committer.
//!
//! ```text
//!  apalis.jobs ──claim──▶ handler ──▶ loader ──▶ feel / think ──▶ committer ──▶ apalis.jobs
//!                            └───────── failed, panicked, too late ──▶ put back with a delay
//! ```
//!
//! Resolve and notify do without the batchers: each of their turns has transactions
//! of its own, which begin by holding the token.
//!
//! Architecture Invariant: a handler changes the record only in a transaction that
//! moves its token or holds it, under its lock.

mod batch;
mod handler;
mod name;
mod poll;
mod worker;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use drover::config::NotifyConfig;
use drover::model::{Attributes, SecretKey};
use drover::store::queue::Queue;
use drover::store::subjects::Known;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::operate;
use crate::resolve::{self, Tools};

pub use batch::{BatchError, Batcher};
pub use name::WorkerName;

/// What the workers of one process need.
#[derive(Clone)]
pub struct RingConfig {
    /// Jobs at work at once, per queue.
    pub concurrency: u32,
    /// Opens the subjects' secrets.
    pub secret_key: SecretKey,
    /// The deployment's rules, laid over the built-in ones.
    pub rules: Value,
    /// From the call to stop until what is still at work is given back.
    pub drain: Duration,
    /// The longest an idle worker waits before it looks for tokens again.
    pub poll: Duration,
    /// Whom messages go to.
    pub notify: NotifyConfig,
    /// Cadence to use for every state instead of the rules' (benchmarks).
    pub cadence: Option<Duration>,
    /// What resolvers work with; without it, nothing is mended here.
    pub tools: Option<Tools>,
}

/// Reads the world about one subject. A failure is an answer like any other.
pub trait Feeler: Send + Sync + 'static {
    /// What it saw.
    fn feel(&self, known: &Known) -> impl Future<Output = Attributes> + Send;
}

/// Works at these queues until `stop`, then drains: no new claims, what is at
/// work finishes within [`RingConfig::drain`], what is left goes back.
///
/// # Errors
/// If TLS cannot be set up for a provider.
pub async fn run(
    pool: PgPool,
    config: RingConfig,
    feeler: impl Feeler,
    queues: &[Queue],
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let feeler = Arc::new(feeler);
    let mut workers = tokio::task::JoinSet::new();
    for queue in queues.iter().copied().collect::<HashSet<_>>() {
        let (pool, config, stop) = (pool.clone(), config.clone(), stop.clone());
        match queue {
            Queue::Feel => {
                let feel = handler::Feel::new(pool.clone(), &config, feeler.clone());
                workers.spawn(worker::supervise(pool, config, queue, feel, stop));
            }
            Queue::Think => {
                let think = handler::Think::new(pool.clone(), &config);
                workers.spawn(worker::supervise(pool, config, queue, think, stop));
            }
            Queue::Resolve => {
                let Some(tools) = config.tools.clone() else {
                    workers.spawn(async move { stop.cancelled().await });
                    continue;
                };
                publish(&pool).await;
                let (db, clouds) = (pool.clone(), tools.context.clouds.clone());
                let stopped = stop.clone();
                // Beside the work: a cloud that does not answer keeps nobody waiting.
                workers.spawn(async move {
                    let published = operate::places::publish(&db, &clouds);
                    stopped.run_until_cancelled(published).await;
                });
                let resolve = handler::Resolve::new(pool.clone(), &config, tools);
                workers.spawn(worker::supervise(pool, config, queue, resolve, stop));
            }
            Queue::Notify => {
                let notify = handler::Notify::new(pool.clone(), &config)?;
                workers.spawn(worker::supervise(pool, config, queue, notify, stop));
            }
        }
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    Ok(())
}

/// Tells web what these workers can mend. Without it everything works but the
/// catalogue.
async fn publish(pool: &PgPool) {
    let published = async {
        let mut db = pool.acquire().await?;
        drover::store::resolvers::publish(&mut db, &resolve::catalogue()).await
    };
    if let Err(error) = published.await {
        tracing::warn!(%error, "the catalogue of resolvers could not be published");
    }
}
