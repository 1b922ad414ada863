//! A herd in the record, and claims on its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drover::model::{Attributes, Cause, Kind, ObservationId, State, SubjectId, TransitionId};
use drover::store::queue::{self, Change, FeelStep, Lock, Queue, ThinkStep, Token};
use drover::store::subjects::{self, Known, NewResource, NewServer};
use drover_jobs::feel::Feeler;
use drover_jobs::verbs::Config;
pub use drover_tests::records::{SECRET_KEY, key, new_resource, new_server};
use drover_tests::{Postgres, records, sql};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

pub struct Herd {
    pub pool: PgPool,
    pub postgres: Postgres,
    pub ids: Vec<SubjectId>,
}

pub async fn adopt(pool: &PgPool, new: &NewServer) -> Result<SubjectId, subjects::AdoptError> {
    let mut tx = pool.begin().await?;
    let id = subjects::adopt_server(&mut tx, &key(), new).await?;
    tx.commit().await?;
    Ok(id)
}

impl Herd {
    /// One server and this many resources on it, all of them available.
    pub async fn of(resources: usize) -> Self {
        drover_tests::init();
        let (postgres, _, pool) = Postgres::with_record().await.unwrap();
        let server = adopt(&pool, &new_server("srv", "192.0.2.1")).await.unwrap();
        let mut ids = vec![server];
        for n in 0..resources {
            let new = NewResource {
                database: format!("app{n}"),
                ..new_resource(server, &format!("db-{n}"))
            };
            ids.push(records::adopt(&pool, &new).await);
        }
        Self {
            pool,
            postgres,
            ids,
        }
    }

    /// Claims a token as apalis does, and returns the lock.
    pub async fn claim(&self, worker: &str, queue: Queue) -> Option<Lock> {
        self.register(worker, queue).await;
        let sql =
            "select id, floor(extract(epoch from lock_at))::bigint from apalis.get_jobs($1, $2, 1)";
        let row: Option<(String, i64)> = sql::first(&self.pool, sql, (worker, queue)).await;
        row.map(|(id, at)| Lock {
            token: Token::Subject(id.parse().unwrap()),
            worker: worker.into(),
            at,
        })
    }

    pub async fn register(&self, worker: &str, queue: Queue) {
        let sql = "insert into apalis.workers (id, worker_type, storage_name, last_seen)
             values ($1, $2, 'test', now()) on conflict (id) do update set last_seen = now()";
        sql::run(&self.pool, sql, (worker, queue)).await;
    }

    pub async fn observations(&self) -> i64 {
        sql::scalar(&self.pool, "select count(*) from observations", ()).await
    }

    pub async fn transitions(&self) -> i64 {
        sql::scalar(&self.pool, "select count(*) from transitions", ()).await
    }

    /// Fails unless tokens and live subjects are the same set.
    pub async fn assert_whole(&self) {
        let mut db = self.pool.acquire().await.unwrap();
        let census = queue::token_census(&mut db).await.unwrap();
        let seen = (census.tokens, census.astray);
        assert_eq!(seen, (census.subjects, 0), "{census:?}");
        assert_eq!(census.subjects, self.ids.len() as i64);
    }
}

pub fn seen_well(lock: Lock) -> FeelStep {
    FeelStep {
        lock,
        observation: ObservationId::generate(),
        attributes: Attributes::available(1.0),
    }
}

/// Commits a feel that found all well; tells how many were written.
pub async fn feels(db: &mut PgConnection, lock: Lock) -> usize {
    let done = queue::commit_feels(db, &[seen_well(lock)]).await;
    done.unwrap().len()
}

/// Commits a thought; tells the same.
pub async fn thinks(db: &mut PgConnection, step: ThinkStep) -> usize {
    let done = queue::commit_thinks(db, &[step]).await;
    done.unwrap().len()
}

pub fn thought(lock: Lock, change: Option<(State, State)>) -> ThinkStep {
    ThinkStep {
        silent: false,
        lock,
        seen: None,
        after: Duration::ZERO,
        change: change.map(|(from, to)| Change {
            id: TransitionId::generate(),
            from,
            to,
            reason: "a test says so".into(),
            observation: ObservationId::generate(),
            opens: None,
        }),
        wake: None,
        pin: None,
        opens: vec![],
    }
}

pub fn ring_config(cadence: Duration) -> Config {
    Config {
        concurrency: 20,
        secret_key: key(),
        rules: json!({}),
        drain: Duration::from_secs(10),
        poll: Duration::from_millis(20),
        notify: Default::default(),
        cadence: Some(cadence),
        tools: None,
    }
}

/// Feels at once; on demand slowly, badly, oddly or not at all.
#[derive(Clone, Default)]
pub struct Puppet {
    pub feels: Arc<AtomicUsize>,
    pub pause: Duration,
    pub first_at_once: bool,
    pub panics_once: bool,
    pub odd: bool,
}

impl Puppet {
    /// One that takes so long, but the first time.
    pub fn slow(seconds: u64) -> Self {
        Self {
            pause: Duration::from_secs(seconds),
            first_at_once: true,
            ..Self::default()
        }
    }
}

impl Feeler for Puppet {
    async fn feel(&self, known: &Known) -> Attributes {
        let before = self.feels.fetch_add(1, Ordering::SeqCst);
        assert!(!(self.panics_once && before == 0), "as the test wants");
        if !(self.first_at_once && before == 0) {
            tokio::time::sleep(self.pause).await;
        }
        if self.odd {
            let mut odd = Attributes::failed(Cause::Protocol, "a \0 in the middle");
            odd.server.notes = Some(vec!["\0".into()]);
            odd.server.host_key = Some("\0".into());
            return odd;
        }
        match known.subject().kind {
            Kind::Server | Kind::Resource => Attributes::available(1.0),
        }
    }
}
