//! Think: read the record about a subject, decide, and pass the token on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drover::model::{Rules, SubjectId, TransitionId};
use drover::store::queue::{self, Change, Lock, Queue, ThinkStep};
use drover::store::scenes::{self, Scene};
use drover::store::tiers;
use serde_json::Value;
use sqlx::PgPool;

use super::feel::report_lost;
use super::{BATCH, Batcher, LINGER, Work, WorkError, loader, subject_of};
use crate::ring::RingConfig;
use crate::think::think;

#[derive(Clone)]
pub(in crate::ring) struct Think {
    scenes: Batcher<SubjectId, Option<Scene>>,
    commits: Batcher<ThinkStep, ()>,
    rules: Arc<Tiers>,
    cadence: Option<Duration>,
}

impl Think {
    pub(in crate::ring) fn new(pool: PgPool, config: &RingConfig) -> Self {
        let load = |pool: PgPool, ids: Vec<SubjectId>| async move {
            scenes::load(&mut *pool.acquire().await?, &ids).await
        };
        Self {
            scenes: loader(pool.clone(), load, |scene: &Scene| scene.subject.id),
            rules: Arc::new(Tiers::new(pool.clone(), config.rules.clone())),
            commits: Batcher::spawn(BATCH, LINGER, move |steps: Vec<ThinkStep>| {
                let pool = pool.clone();
                async move {
                    let mut tx = pool.begin().await?;
                    let moved = queue::commit_thinks(&mut tx, &steps).await?;
                    tx.commit().await?;
                    report_lost(steps.len() - moved.len());
                    Ok(steps.iter().map(|_| ()).collect())
                }
            }),
            cadence: config.cadence,
        }
    }
}

impl Work for Think {
    async fn step(&self, lock: Lock) -> Result<(), WorkError> {
        let Some(scene) = self.scenes.submit(subject_of(&lock)?).await? else {
            return Ok(());
        };
        let rules = self.rules.of(&scene.subject.tier).await?;
        let decision = think(&scene, &rules);
        let subject = &scene.subject;
        let change = decision.change.map(|verdict| {
            tracing::info!(
                subject = %drover::model::PublicId::new(subject.kind, subject.id),
                name = %subject.name,
                from = %subject.state,
                to = %verdict.to,
                reason = %verdict.reason,
                opens = verdict.opens.map(drover::model::IncidentKind::as_str),
                "state changes"
            );
            Change {
                id: TransitionId::generate(),
                from: subject.state,
                to: verdict.to,
                reason: verdict.reason,
                observation: verdict.because,
                opens: verdict.opens,
            }
        });
        let after = jitter(self.cadence.unwrap_or(decision.after));
        let step = ThinkStep {
            lock,
            next: Queue::Feel,
            after,
            change,
            wake: decision.wake,
            pin: decision.pin,
            opens: decision.opens,
        };
        self.commits.submit(step).await?;
        Ok(())
    }
}

/// ± 10 %, so that the herd never stampedes; but never so late that a subject
/// would miss its minute.
fn jitter(cadence: Duration) -> Duration {
    cadence
        .mul_f64(rand::random_range(0.9..=1.1))
        .min(Duration::from_secs(57))
}

/// The rules of each tier, read again every few seconds.
pub(super) struct Tiers {
    pool: PgPool,
    deployment: Value,
    known: Mutex<Option<Known>>,
    /// Only one of the handlers reads them at a time.
    reading: tokio::sync::Mutex<()>,
}

/// When the rules were read, and what they were.
struct Known {
    read: Instant,
    rules: HashMap<String, Arc<Rules>>,
}

impl Tiers {
    const FRESH: Duration = Duration::from_secs(5);

    pub(super) fn new(pool: PgPool, deployment: Value) -> Self {
        Self {
            pool,
            deployment,
            known: Mutex::new(None),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) async fn of(&self, tier: &str) -> Result<Arc<Rules>, WorkError> {
        if let Some(rules) = self.known(tier) {
            return Ok(rules);
        }
        let _one = self.reading.lock().await;
        if let Some(rules) = self.known(tier) {
            return Ok(rules);
        }
        let mut db = self.pool.acquire().await?;
        let mut known = HashMap::new();
        for (name, layer) in tiers::all(&mut db).await? {
            let rules = Rules::layered(&[&self.deployment, &layer]).or_else(|e| {
                // Its subjects go by the deployment's rules rather than by none.
                tracing::error!(tier = %name, error = %e, "the tier's rules cannot be used");
                Rules::layered(&[&self.deployment]).map_err(|e| anyhow::anyhow!(e))
            })?;
            known.insert(name, Arc::new(rules));
        }
        let rules = known.get(tier).cloned();
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = Some(Known {
            read: Instant::now(),
            rules: known,
        });
        rules.ok_or_else(|| anyhow::anyhow!("there is no tier {tier}").into())
    }

    fn known(&self, tier: &str) -> Option<Arc<Rules>> {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let Known { read, rules } = known.as_ref()?;
        if read.elapsed() > Self::FRESH {
            None
        } else {
            rules.get(tier).cloned()
        }
    }
}
