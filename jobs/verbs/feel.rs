//! Feel: read the world about a subject, write down what was seen, and pass the
//! token on to think.

use std::sync::Arc;
use std::time::Duration;

use drover::model::SubjectId;
use drover::model::{Attributes, Cause, ObservationId, SecretKey};
use drover::store;
use drover::store::queue::{self, FeelStep, Lock};
use drover::store::subjects::{self, SubjectRow};
use sqlx::PgPool;

use crate::feel::Feeler;
use crate::ring::{BATCH, Batcher, LINGER, Work, WorkError, loader, report_lost, subject_of};

/// The longest a feel may take. Feelers have shorter limits of their own; this
/// one holds even if they forget.
const LIMIT: Duration = Duration::from_secs(25);

pub(super) struct Feel<F> {
    subjects: Batcher<SubjectId, Option<SubjectRow>>,
    commits: Batcher<FeelStep, ()>,
    secret_key: SecretKey,
    feeler: Arc<F>,
}

impl<F> Clone for Feel<F> {
    fn clone(&self) -> Self {
        Self {
            subjects: self.subjects.clone(),
            commits: self.commits.clone(),
            secret_key: self.secret_key.clone(),
            feeler: self.feeler.clone(),
        }
    }
}

impl<F: Feeler> Feel<F> {
    pub(super) fn new(pool: PgPool, secret_key: SecretKey, feeler: Arc<F>) -> Self {
        let load = |pool: PgPool, ids: Vec<SubjectId>| async move {
            subjects::load(&mut *pool.acquire().await?, &ids).await
        };
        Self {
            subjects: loader(pool.clone(), load, SubjectRow::id),
            commits: Batcher::spawn(BATCH, LINGER, move |steps: Vec<FeelStep>| {
                let pool = pool.clone();
                async move {
                    let mut tx = store::hurried(&pool).await?;
                    let moved = queue::commit_feels(&mut tx, &steps).await?;
                    tx.commit().await?;
                    report_lost(steps.len() - moved.len());
                    Ok(steps.iter().map(|_| ()).collect())
                }
            }),
            secret_key,
            feeler,
        }
    }
}

impl<F: Feeler> Work for Feel<F> {
    async fn step(&self, lock: Lock) -> Result<(), WorkError> {
        let Some(row) = self.subjects.submit(subject_of(&lock)?).await? else {
            // Forgotten since it was claimed; its token is gone too.
            return Ok(());
        };
        let known = row.open(&self.secret_key)?;
        let attributes = match tokio::time::timeout(LIMIT, self.feeler.feel(&known)).await {
            Ok(attributes) => attributes,
            Err(_) => Attributes::failed(Cause::Timeout, format!("not felt within {LIMIT:?}")),
        };
        let observation = ObservationId::generate();
        self.commits
            .submit(FeelStep {
                lock,
                observation,
                attributes,
            })
            .await?;
        Ok(())
    }
}
