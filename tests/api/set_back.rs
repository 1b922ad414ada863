//! The control database's clock is set back by an hour: what was written before bears times that
//! are still to come.

use std::time::Duration;

use drover::model::{Attributes, Cause, ObservationId, PublicId, Rules, State, SubjectId};
use drover::store::queue::{self, Mended};
use drover::store::{observations, scenes};
use drover_jobs::think::think;
use drover_tests::{Says, Shows, sql};
use serde_json::json;

use crate::world::{Deployment, well};

fn id(subject: &str) -> SubjectId {
    subject.parse::<PublicId>().unwrap().id
}

impl Deployment {
    /// In how many seconds a subject's token is due.
    async fn due_in(&self, id: SubjectId) -> f64 {
        let sql =
            "select extract(epoch from run_at - now())::float8 from apalis.jobs where id = $1";
        sql::scalar(&self.pool, sql, [id]).await
    }

    async fn mended(&self) -> Mended {
        let mut db = self.pool.acquire().await.unwrap();
        queue::keep(&mut db).await.unwrap()
    }
}

#[tokio::test]
async fn tokens_that_are_due_in_an_hour_are_due_now_and_are_counted() {
    let (drover, server, db) = Deployment::with_app().await;
    let (server, db) = (id(&server), id(&db));
    let later = "update apalis.jobs set run_at = now() + $2 * interval '1 second' where id = $1";
    sql::run(&drover.pool, later, (server, 3600.0)).await;
    // As late as the longest cadence with its jitter lets it be.
    sql::run(&drover.pool, later, (db, 41.0)).await;
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"ahead": 1, "astray": 0}));
    let health = drover.get("/healthz").await.is(503);
    health.text.says(["1 tokens are due later", "set back"]);
    drover
        .get("/metrics")
        .await
        .text
        .says(["drover_tokens_ahead 1"]);

    let ahead = Mended {
        ahead: 1,
        ..Mended::default()
    };
    assert_eq!(drover.mended().await, ahead);
    assert!(drover.due_in(server).await <= 0.0);
    assert!(drover.due_in(db).await > 35.0);
    assert_eq!(drover.mended().await, Mended::default());
    // The numbers are read once a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    drover
        .get("/v1/ring")
        .await
        .json()
        .shows(json!({"ahead": 0}));
    drover.get("/healthz").await.is(200);
}

#[tokio::test]
async fn what_resolves_is_not_kept_waiting_either_and_dead_workers_do_not_live_on() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop", "plan": "starter"});
    drover.created("resource", body).await;
    // Creating the server and the database: two operations, and two subjects.
    let sql = "update apalis.jobs set run_at = now() + interval '50 minutes'
               where job_type = 'resolve'";
    assert_eq!(sql::run(&drover.pool, sql, ()).await, 2);
    let sql = "insert into apalis.workers (id, worker_type, storage_name, last_seen)
               values ('dead', 'feel', 'test', now() + interval '50 minutes')";
    sql::run(&drover.pool, sql, ()).await;
    let sql = "update apalis.jobs set status = 'Queued', lock_by = 'dead',
                      lock_at = now() + interval '50 minutes'
               where job_type = 'feel'";
    assert_eq!(sql::run(&drover.pool, sql, ()).await, 2);
    let mut db = drover.pool.acquire().await.unwrap();
    assert!(queue::count_workers(&mut db).await.unwrap().is_empty());

    let wanted = Mended {
        ahead: 2,
        stuck: 2,
        ..Mended::default()
    };
    assert_eq!(drover.mended().await, wanted);
}

#[tokio::test]
async fn what_is_still_to_come_decides_nothing() {
    let (drover, _, app) = Deployment::with_app().await;
    let id = id(&app);
    let seen = drover.feel(&app, well()).await;
    drover.turns(&app, "uncertain", "available", seen).await;
    // Seen an hour ago, by a clock that was an hour ahead.
    let future = ObservationId::generate();
    let sql = "insert into observations (id, created_at, subject_id, worker, feelers, attributes)
               values ($1, now() + interval '50 minutes', $2, 'tester', 1, $3)";
    let attributes = serde_json::to_value(well()).unwrap();
    sql::run(&drover.pool, sql, (future, id, attributes)).await;
    let sql = "update subjects set state = 'available' where kind = 'server'";
    sql::run(&drover.pool, sql, ()).await;
    let failed = Attributes::failed(Cause::Refused, "connection refused");
    let failure = drover.feel(&app, failed).await;

    let scene = scenes::load(&drover.pool, &[id]).await.unwrap().remove(0);
    let recent: Vec<_> = scene.recent.iter().map(|seen| seen.id).collect();
    assert_eq!(recent, [failure, seen]);
    let change = think(&scene, &Rules::default()).change.unwrap();
    assert_eq!((change.to, change.because), (State::Uncertain, failure));
    let mut db = drover.pool.acquire().await.unwrap();
    let newest = observations::newest(&mut db, &[id]).await.unwrap();
    assert_eq!(newest[0].1.id, failure);
    let sql = "update apalis.jobs set done_at = now() + interval '50 minutes'";
    sql::run(&drover.pool, sql, ()).await;
    // Nor does it tell that the ring's promise is kept.
    let census = queue::token_census(&mut db).await.unwrap();
    let age = census.oldest_observation_s.unwrap();
    assert!((0.0..60.0).contains(&age), "{age}");
    // People can read it.
    let list = drover
        .get(&format!("/v1/resources/{app}/observations"))
        .await
        .json();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}
