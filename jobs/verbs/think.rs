//! Think: read the record about a subject, decide, and pass the token on.

use std::sync::Arc;
use std::time::Duration;

use drover::model::{State, SubjectId, TransitionId};
use drover::store;
use drover::store::queue::{self, Change, Lock, ThinkStep};
use drover::store::scenes::{self, Scene};
use serde_json::Value;
use sqlx::PgPool;

use crate::ring::{
    BATCH, Batcher, LINGER, Tiers, Work, WorkError, loader, report_lost, subject_of,
};
use crate::think::think;

#[derive(Clone)]
pub(super) struct Think {
    scenes: Batcher<SubjectId, Option<Scene>>,
    commits: Batcher<ThinkStep, ()>,
    rules: Arc<Tiers>,
    cadence: Option<Duration>,
}

impl Think {
    pub(super) fn new(pool: PgPool, rules: Value, cadence: Option<Duration>) -> Self {
        let load =
            |pool: PgPool, ids: Vec<SubjectId>| async move { scenes::load(&pool, &ids).await };
        Self {
            scenes: loader(pool.clone(), load, |scene: &Scene| scene.subject.id),
            rules: Arc::new(Tiers::new(pool.clone(), rules)),
            commits: Batcher::spawn(BATCH, LINGER, move |steps: Vec<ThinkStep>| {
                let pool = pool.clone();
                async move {
                    let mut tx = store::hurried(&pool).await?;
                    let moved = queue::commit_thinks(&mut tx, &steps).await?;
                    tx.commit().await?;
                    report_lost(steps.len() - moved.len());
                    Ok(steps.iter().map(|_| ()).collect())
                }
            }),
            cadence,
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
        let state = change.as_ref().map_or(subject.state, |change| change.to);
        let step = ThinkStep {
            lock,
            silent: state == State::Unavailable,
            seen: scene.recent.first().map(|seen| seen.created_at),
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

/// ± 10 %, so that the herd never stampedes.
fn jitter(cadence: Duration) -> Duration {
    cadence.mul_f64(rand::random_range(0.9..=1.1))
}
