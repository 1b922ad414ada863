//! What is done with a claimed token, and the one place where a failure puts it
//! back.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use apalis::prelude::Task;
use drover::model::SubjectId;
use drover::store;
use drover::store::queue::{self, Lock, PutBack, STUCK_AFTER, Token};
use futures::FutureExt;
use sqlx::PgPool;

use super::batch::{BatchError, Batcher};

/// How long a handler may take, waiting for the database included.
const LIMIT: Duration = Duration::from_secs(40);
/// Most requests that go into one statement.
pub(crate) const BATCH: usize = 500;
/// How long a request waits for company.
pub(crate) const LINGER: Duration = Duration::from_millis(2);

/// The work of one queue.
pub trait Work: Clone + Send + Sync + 'static {
    /// Does one step under this lock and commits it. A step whose lock is lost
    /// writes nothing and is a success.
    fn step(&self, lock: Lock) -> impl Future<Output = Result<(), WorkError>> + Send;
}

/// Why a step failed. It is put back with a delay; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Reading or committing failed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A token in a queue where it has no business.
    #[error("a token of the wrong sort: {0:?}")]
    Stray(Token),
    /// Another worker has the token by now: nothing is written, and that is no failure.
    #[error("the lock is lost")]
    LockLost,
    /// The subject's record cannot be used.
    #[error("{0:#}")]
    Record(#[from] anyhow::Error),
}

impl From<sqlx::Error> for WorkError {
    fn from(error: sqlx::Error) -> Self {
        Self::Batch(error.into())
    }
}

/// Runs a step; if it fails, panics or takes too long, says so once and puts the
/// token back.
pub(super) async fn handle<W: Work>(work: W, pool: PgPool, task: Task<Token>) {
    let Some(lock) = lock_of(&task) else {
        tracing::error!(token = ?task.task_id(), "a claimed token bears no lock; left for rescue");
        return;
    };
    let attempt = task.attempt();
    let step = AssertUnwindSafe(work.step(lock.clone())).catch_unwind();
    let problem = match tokio::time::timeout(LIMIT, step).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(e))) => e.to_string(),
        Ok(Err(_)) => "the handler panicked".to_owned(),
        Err(_) => format!("not done within {LIMIT:?}"),
    };
    let after = delay(attempt);
    tracing::warn!(token = %lock.token, %problem, ?after, "step failed; its token goes back");
    put_back(&pool, PutBack { lock, after }).await;
}

/// Puts a token back, trying again for as long as the clock would leave it: a
/// living worker's locks are freed by nobody else, and what failed the step is
/// often a database that is away for a moment. The fence makes a late try harmless.
async fn put_back(pool: &PgPool, step: PutBack) {
    let began = tokio::time::Instant::now();
    let mut rest = Duration::from_millis(200);
    loop {
        let tried = async {
            let mut tx = store::hurried(pool).await?;
            queue::put_back(&mut tx, std::slice::from_ref(&step)).await?;
            tx.commit().await
        };
        let Err(e) = tried.await else { return };
        if began.elapsed() + rest > STUCK_AFTER {
            tracing::warn!(token = %step.lock.token, error = %e, "the token stays locked; \
                the clock or another worker frees it");
            return;
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(Duration::from_secs(5));
    }
}

/// 1 s, 2 s, 4 s … up to 30 s.
fn delay(attempt: usize) -> Duration {
    let exponent = u32::try_from(attempt.min(5)).unwrap_or(5);
    Duration::from_secs(2_u64.pow(exponent)).min(Duration::from_secs(30))
}

fn lock_of(task: &Task<Token>) -> Option<Lock> {
    Some(Lock {
        token: task.args,
        worker: task.lock_by()?.to_owned(),
        at: i64::try_from(task.lock_at()?).ok()?,
    })
}

/// The subject whose token this is.
pub(crate) fn subject_of(lock: &Lock) -> Result<SubjectId, WorkError> {
    let subject = lock.token.subject();
    subject.ok_or(WorkError::Stray(lock.token))
}

/// A loader: reads records for many subjects with one statement, and answers
/// `None` for those that are gone.
pub(crate) fn loader<T, L, F>(
    pool: PgPool,
    load: L,
    id_of: fn(&T) -> SubjectId,
) -> Batcher<SubjectId, Option<T>>
where
    T: Clone + Send + 'static,
    L: Fn(PgPool, Vec<SubjectId>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = sqlx::Result<Vec<T>>> + Send + 'static,
{
    Batcher::spawn(BATCH, LINGER, move |ids: Vec<SubjectId>| {
        let (load, pool) = (load.clone(), pool.clone());
        async move {
            let mut found: std::collections::HashMap<SubjectId, T> = load(pool, ids.clone())
                .await?
                .into_iter()
                .map(|t| (id_of(&t), t))
                .collect();
            Ok(ids.iter().map(|id| found.remove(id)).collect())
        }
    })
}

pub(crate) fn report_lost(steps: usize) {
    if steps > 0 {
        tracing::info!(
            steps,
            "locks were lost before their steps could commit; nothing was written"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_token_is_tried_less_and_less_often() {
        let delays: Vec<u64> = (0..8).map(|n| delay(n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
