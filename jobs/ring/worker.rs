//! One apalis worker for one queue, started again for as long as it is wanted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use apalis::prelude::{PollWith, Task, WorkerBuilder, WorkerBuilderExt, WorkerError};
use apalis_postgres::{Config, PostgresStorage};
use drover::store::old_record;
use drover::store::queue::{self, HEARTBEAT, Queue, Token};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::handler::{Work, handle};
use super::poll::PollIdle;
use super::{Settings, WorkerName};

/// Waits between two lives of a worker that the database failed.
const SHORTEST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// How long a worker that was asked to stop tries to give back what it holds.
const FAREWELL: Duration = Duration::from_secs(4);

/// Keeps a worker at a queue until `stop`: any error in a claim or heartbeat ends
/// an apalis worker, and then a new one takes its place, under a new name.
pub(crate) async fn supervise<W: Work>(
    pool: PgPool,
    settings: Settings,
    queue: Queue,
    work: W,
    stop: CancellationToken,
) {
    let mut rest = SHORTEST_REST;
    while !stop.is_cancelled() {
        let name = WorkerName::new(queue);
        let born = tokio::time::Instant::now();
        if let Err(error) = recognise(&pool).await {
            tracing::warn!(%error, "the control database does not say which one it is");
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
            rest = (rest * 2).min(LONGEST_REST);
            continue;
        }
        tracing::info!(worker = name.as_str(), "worker starts");
        let ended = live(&pool, settings, queue, &name, work.clone(), &stop).await;
        if born.elapsed() > LONGEST_REST {
            rest = SHORTEST_REST;
        }
        if let (Err(reason), false) = (ended, stop.is_cancelled()) {
            tracing::warn!(worker = name.as_str(), %reason, "worker ended; another follows");
        }
        // While the database does not answer, a new life would end like this
        // one; and what this one held should not wait until it is found dead.
        let mut farewell = None;
        while !give_back(&pool, &name).await {
            let asked = || stop.is_cancelled().then(tokio::time::Instant::now);
            farewell = farewell.or_else(asked);
            if farewell.is_some_and(|since| since.elapsed() > FAREWELL) {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => tokio::time::sleep(SHORTEST_REST).await,
            }
            rest = (rest * 2).min(LONGEST_REST);
        }
        tracing::info!(worker = name.as_str(), "worker stopped");
        if !stop.is_cancelled() {
            tokio::time::sleep(rest).await;
        }
    }
}

/// Each life begins with a look at whose life it is: the database may have been restored, or
/// another's copy put in its place, since the last one ended.
async fn recognise(pool: &PgPool) -> sqlx::Result<()> {
    old_record::recognise(&mut *pool.acquire().await?).await
}

/// One life: from registration until an error, or until `stop` and the drain.
async fn live<W: Work>(
    pool: &PgPool,
    settings: Settings,
    queue: Queue,
    name: &WorkerName,
    work: W,
    stop: &CancellationToken,
) -> Result<(), WorkerError> {
    let concurrency = settings.concurrency as usize;
    let storage = PostgresStorage::<Token>::new(pool).with_config(
        Config::default()
            .queue(queue.as_str())
            .batch_size(concurrency)
            .heartbeat_interval(HEARTBEAT * 2)
            .missed_heartbeats(3)
            .lock_tasks(false)
            .persist_results(false),
    );
    let handler_pool = pool.clone();
    let at_work = AtWork::default();
    let begun = at_work.clone();
    let worker = WorkerBuilder::new(name.as_str())
        .backend(PollWith::new(storage, PollIdle::new(settings.poll)))
        .concurrency(concurrency)
        .build(tower::service_fn(move |task: Task<Token>| {
            let place = begun.enter(task.args);
            let done = handle(work.clone(), handler_pool.clone(), task);
            tokio::spawn(async move {
                let _place = place;
                done.await;
            })
        }));
    let heart = tokio::spawn(beat(pool.clone(), name.clone(), queue));
    let ended = tokio::select! {
        ended = worker.run() => ended,
        () = stop.cancelled() => Ok(()),
    };
    if stop.is_cancelled() {
        drain(pool, settings.drain, name, &at_work).await;
    }
    heart.abort();
    ended
}

/// Waits for what is at work, and gives back at once what is claimed and not begun.
/// apalis would give that back behind the rest: after one slow subject, the others
/// would miss their minute.
async fn drain(pool: &PgPool, limit: Duration, name: &WorkerName, at_work: &AtWork) {
    let done = async {
        loop {
            let begun = at_work.ids();
            let release = async {
                let mut db = pool.acquire().await?;
                queue::release_waiting(&mut db, name.as_str(), &begun).await
            };
            if let Err(error) = release.await {
                tracing::warn!(worker = name.as_str(), %error, "what waits cannot be given back yet");
            }
            if begun.is_empty() {
                return;
            }
            // Again and again: a claim that was on its way may get in between.
            tokio::time::sleep(SHORTEST_REST).await;
        }
    };
    if tokio::time::timeout(limit, done).await.is_err() {
        tracing::warn!(
            worker = name.as_str(),
            "not drained in time; what is left goes back"
        );
    }
}

/// The tokens whose handlers run.
#[derive(Clone, Default)]
struct AtWork(Arc<Mutex<HashSet<String>>>);

impl AtWork {
    /// Until the place is dropped.
    fn enter(&self, token: Token) -> Place {
        let id = token.to_string();
        self.lock().insert(id.clone());
        Place(self.clone(), id)
    }

    fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

struct Place(AtWork, String);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// apalis's own heartbeat rests while claimed tokens wait in the worker's buffer
/// for a free slot; this one does not, so that a worker with slow subjects is not taken
/// for dead, and rescues others in time.
async fn beat(pool: PgPool, name: WorkerName, queue: Queue) {
    let mut every = tokio::time::interval(HEARTBEAT);
    loop {
        every.tick().await;
        let beat = async {
            let mut db = pool.acquire().await?;
            queue::heartbeat(&mut db, name.as_str()).await?;
            queue::rescue(&mut db, queue).await
        };
        match beat.await {
            Ok(0) => {}
            Ok(rescued) => tracing::info!(%queue, rescued, "tokens of dead workers freed"),
            // Whether the worker goes on without its database is apalis's to say.
            Err(error) => tracing::debug!(worker = name.as_str(), %error, "no heartbeat"),
        }
    }
}

/// Frees what a worker that is no more still holds, and takes it off the list;
/// tells whether that was done.
async fn give_back(pool: &PgPool, name: &WorkerName) -> bool {
    let give = async {
        let mut db = pool.acquire().await?;
        queue::retire(&mut db, name.as_str()).await
    };
    match tokio::time::timeout(Duration::from_secs(3), give).await {
        Ok(Ok(off)) => off,
        Ok(Err(e)) => {
            tracing::warn!(worker = name.as_str(), error = %e, "tokens cannot be given back yet");
            false
        }
        Err(_) => {
            tracing::warn!(
                worker = name.as_str(),
                "tokens cannot be given back yet: no answer"
            );
            false
        }
    }
}
