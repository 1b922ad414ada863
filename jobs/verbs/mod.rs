//! Which work belongs to which queue. The only file that knows all of it.

mod feel;
mod notify;
mod think;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drover::config::NotifyConfig;
use drover::model::{Cadence, SecretKey};
use drover::store::queue::Queue;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::feel::Feeler;
use crate::resolve::operations::places;
use crate::resolve::{Resolve, Tools, incidents};
use crate::ring::{Settings, supervise};

/// What the workers of one process need.
#[derive(Clone)]
pub struct Config {
    /// Jobs at work at once, per queue.
    pub concurrency: u32,
    /// From the call to stop until what is still at work is given back.
    pub drain: Duration,
    /// The longest an idle worker waits before it looks for tokens again.
    pub poll: Duration,
    /// Opens the subjects' secrets.
    pub secret_key: SecretKey,
    /// The deployment's rules, laid over the built-in ones.
    pub rules: Value,
    /// Whom messages go to.
    pub notify: NotifyConfig,
    /// Cadence to use for every state instead of the rules' (benchmarks); like theirs,
    /// at most [`Cadence::LONGEST`].
    pub cadence: Option<Duration>,
    /// What resolvers work with; without it, nothing is mended here.
    pub tools: Option<Tools>,
}

/// The queues that workers for these work at.
pub fn served(queues: &[Queue]) -> BTreeSet<Queue> {
    let mut served: BTreeSet<Queue> = queues.iter().copied().collect();
    if served.contains(&Queue::Feel) {
        served.insert(Queue::Silent);
    }
    served
}

/// Works at these queues until `stop`, then drains: no new claims, what is at
/// work finishes within [`Config::drain`], what is left goes back.
///
/// # Errors
/// If the cadence is too long, or TLS cannot be set up for a provider.
pub async fn run(
    pool: PgPool,
    config: Config,
    feeler: impl Feeler,
    queues: &[Queue],
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if let Some(cadence) = config.cadence {
        Cadence::check("cadence", cadence).map_err(anyhow::Error::msg)?;
    }
    let settings = Settings {
        concurrency: config.concurrency,
        drain: config.drain,
        poll: config.poll,
    };
    let mut workers = tokio::task::JoinSet::new();
    let feel = feel::Feel::new(pool.clone(), config.secret_key.clone(), Arc::new(feeler));
    for queue in served(queues) {
        let (pool, stop) = (pool.clone(), stop.clone());
        match queue {
            Queue::Feel | Queue::Silent => {
                workers.spawn(supervise(pool, settings, queue, feel.clone(), stop));
            }
            Queue::Think => {
                let rules = config.rules.clone();
                let think = think::Think::new(pool.clone(), rules, config.cadence);
                workers.spawn(supervise(pool, settings, queue, think, stop));
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
                    let published = places::publish(&db, &clouds);
                    stopped.run_until_cancelled(published).await;
                });
                let resolve = Resolve::new(pool.clone(), tools);
                workers.spawn(supervise(pool, settings, queue, resolve, stop));
            }
            Queue::Notify => {
                let notify = notify::Notify::new(pool.clone(), &config.notify)?;
                workers.spawn(supervise(pool, settings, queue, notify, stop));
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
        drover::store::resolvers::publish(&mut db, &incidents::catalogue()).await
    };
    if let Err(error) = published.await {
        tracing::warn!(%error, "the catalogue of resolvers could not be published");
    }
}
