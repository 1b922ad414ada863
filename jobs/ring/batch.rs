//! Many small requests, one statement: what comes within a few milliseconds, or
//! while the last statement runs, goes to the database together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Why a request of a batch failed. Shared, because a batch fails together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BatchError {
    /// The database failed.
    #[error("{0}")]
    Database(Arc<sqlx::Error>),
    /// The batcher is gone: the process is going down.
    #[error("the process is stopping")]
    Stopped,
}

impl From<sqlx::Error> for BatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// Gathers requests of type `I` and answers each with an `O`.
pub struct Batcher<I, O> {
    requests: mpsc::Sender<(I, oneshot::Sender<Result<O, BatchError>>)>,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
        }
    }
}

impl<I: Clone + Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Starts a batcher that takes up to `most` requests at a time, waits
    /// `linger` for company, and hands them to `work`, which answers them in
    /// their order. It ends when the last handle is dropped.
    pub fn spawn<W, F>(most: usize, linger: Duration, work: W) -> Self
    where
        W: Fn(Vec<I>) -> F + Send + Sync + 'static,
        F: Future<Output = sqlx::Result<Vec<O>>> + Send + 'static,
    {
        let (requests, mut inbox) = mpsc::channel(most * 4);
        tokio::spawn(async move {
            let mut gathered = Vec::with_capacity(most);
            while inbox.recv_many(&mut gathered, most).await > 0 {
                if gathered.len() < most && !linger.is_zero() {
                    tokio::time::sleep(linger).await;
                    let room = most - gathered.len();
                    let mut more = Vec::new();
                    while more.len() < room {
                        let Ok(request) = inbox.try_recv() else { break };
                        more.push(request);
                    }
                    gathered.append(&mut more);
                }
                let (items, answers): (Vec<I>, Vec<_>) = gathered.drain(..).unzip();
                answer(&work, items, answers).await;
            }
        });
        Self { requests }
    }

    /// Puts a request in, and waits for its answer.
    ///
    /// # Errors
    /// [`BatchError::Database`] if the statement failed for this request.
    pub async fn submit(&self, item: I) -> Result<O, BatchError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send((item, answer))
            .await
            .map_err(|_| BatchError::Stopped)?;
        answered.await.map_err(|_| BatchError::Stopped)?
    }
}

async fn answer<I, O, W, F>(
    work: &W,
    items: Vec<I>,
    answers: Vec<oneshot::Sender<Result<O, BatchError>>>,
) where
    I: Clone,
    W: Fn(Vec<I>) -> F,
    F: Future<Output = sqlx::Result<Vec<O>>>,
{
    match work(items.clone()).await {
        Ok(done) => {
            for (answer, done) in answers.into_iter().zip(done) {
                let _ = answer.send(Ok(done));
            }
        }
        // One bad request must not fail its neighbours: when the database
        // refuses the statement, each is tried alone.
        Err(sqlx::Error::Database(_)) if items.len() > 1 => {
            for (item, answer) in items.into_iter().zip(answers) {
                let alone = work(vec![item]).await;
                let _ = answer.send(match alone {
                    Ok(mut done) => done.pop().ok_or(BatchError::Stopped),
                    Err(e) => Err(BatchError::Database(Arc::new(e))),
                });
            }
        }
        Err(e) => {
            let error = BatchError::Database(Arc::new(e));
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_gets_its_own_answer() {
        let batcher: Batcher<u32, u32> =
            Batcher::spawn(10, Duration::from_millis(2), |items: Vec<u32>| async move {
                assert!(items.len() <= 10);
                Ok(items.into_iter().map(|i| i * 2).collect())
            });
        let all = (0..100).map(|i| {
            let batcher = batcher.clone();
            tokio::spawn(async move { (i, batcher.submit(i).await.unwrap()) })
        });
        for one in futures::future::join_all(all).await {
            let (asked, answered) = one.unwrap();
            assert_eq!(answered, asked * 2);
        }
    }

    #[tokio::test]
    async fn an_unreachable_database_fails_all_of_them() {
        let batcher: Batcher<u32, u32> = Batcher::spawn(10, Duration::ZERO, |_| async {
            Err(sqlx::Error::PoolTimedOut)
        });
        assert!(matches!(
            batcher.submit(1).await,
            Err(BatchError::Database(_))
        ));
    }
}
