//! Scenes are read by index, whatever the planner knows of today's observations: it
//! knows nothing each midnight, and for longer after a restart.

use std::time::Duration;

use drover::model::SubjectId;
use drover::store::scenes::{self, Scene};
use drover_tests::{sql, when};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool};

use super::herd::Herd;

/// In today's partition, besides the herd's.
const STRANGERS: i64 = 30_000;
const FOLLOWERS: usize = 10;
/// Observations of each subject of the herd.
const EACH: i64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn without_statistics() {
    let (herd, worker) = young_herd().await;
    fill(&herd, STRANGERS).await;
    assert_by_index(&herd, &worker, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_statistics_of_a_few_rows() {
    let (herd, worker) = young_herd().await;
    fill(&herd, 10).await;
    run(&herd.pool, "analyze observations").await;
    fill(&herd, STRANGERS).await;
    assert_by_index(&herd, &worker, 8).await;
}

/// The worst of all: PostgreSQL takes it for known that the partition is empty, and a
/// worker keeps the plan that this gave while the partition fills.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_plan_from_when_the_day_was_empty() {
    let (herd, worker) = young_herd().await;
    run(&herd.pool, "vacuum analyze observations").await;
    for _ in 0..8 {
        let scenes = scenes::load(&worker, &herd.ids).await.unwrap();
        assert!(scenes.iter().all(|scene| scene.recent.is_empty()));
    }
    fill(&herd, STRANGERS).await;
    assert_by_index(&herd, &worker, 1).await;
}

/// Resources, some of them followers, and a worker with one connection.
async fn young_herd() -> (Herd, PgPool) {
    let herd = Herd::of(10 + FOLLOWERS).await;
    // Nobody but the test may make statistics.
    run(&herd.pool, "alter system set autovacuum = off").await;
    run(&herd.pool, "select pg_reload_conf()").await;
    let followers: Vec<String> = herd.ids[11..].iter().map(SubjectId::to_string).collect();
    let sql = "update resources set leader_id = $1 where id = any($2)";
    sql::run(&herd.pool, sql, (herd.ids[1], followers)).await;
    let options = herd.pool.connect_options().as_ref().clone();
    let worker = PgPoolOptions::new().max_connections(1);
    let worker = worker.connect_with(options).await.unwrap();
    (herd, worker)
}

/// Compiling a statement takes a hundred times as long as running it, and a missing
/// statistic is enough to have it compiled.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_drovers_is_compiled() {
    let herd = Herd::of(0).await;
    let jit: String = sql::scalar(&herd.pool, "show jit", ()).await;
    assert_eq!(jit, "off");
}

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

async fn fill(herd: &Herd, strangers: i64) {
    let ids: Vec<String> = herd.ids.iter().map(SubjectId::to_string).collect();
    let sql = "insert into observations (id, created_at, subject_id, worker, feelers, attributes)
         select lpad(n::text, 26, '0'), now() - n * interval '1 ms', subject, 'w', 1,
                '{\"service_available\": true, \"lsn\": \"0/3000060\"}'
         from (select s as subject, n from unnest($1::text[]) s, generate_series(1, $2) n
               union all
               select 'stranger-' || n, n from generate_series(1, $3) n) x";
    sql::run(&herd.pool, sql, (ids, EACH, strangers)).await;
}

/// Reads the scenes this often, and fails unless every row of an observation that was
/// touched is one that a scene has.
async fn assert_by_index(herd: &Herd, worker: &PgPool, times: usize) {
    let (none, before) = touched(&herd.pool).await;
    assert_eq!(none, 0);
    let mut wanted = 0;
    for _ in 0..times {
        let scenes = scenes::load(worker, &herd.ids).await.unwrap();
        assert_eq!(scenes.len(), herd.ids.len());
        assert!(scenes.iter().all(|scene| !scene.recent.is_empty()));
        assert_eq!(
            scenes.iter().filter(|s| s.leader.is_some()).count(),
            FOLLOWERS
        );
        wanted += scenes.iter().map(rows_of).sum::<i64>();
    }
    // PostgreSQL adds up what a session has touched when it waits, or ends.
    sql::run(worker, "select pg_sleep(1.1)", ()).await;
    worker.acquire().await.unwrap().ping().await.unwrap();
    let told = || async {
        let (whole, by_index) = touched(&herd.pool).await;
        assert_eq!(whole, 0, "rows were read that no index led to");
        let by_index = by_index - before;
        when(by_index >= wanted, by_index)
    };
    let what = format!("{wanted} rows touched");
    let (by_index, _) = drover_tests::until(&what, Duration::from_secs(20), told)
        .await
        .unwrap();
    // A merge of partitions looks at one row of each before it takes the first.
    assert!(by_index <= wanted * 2, "{by_index} rows for {wanted}");
}

fn rows_of(scene: &Scene) -> i64 {
    let leaders = scene.leader.as_ref();
    let of_leader = leaders.map_or(0, |l| l.positions.len() + usize::from(l.seen.is_some()));
    i64::try_from(scene.recent.len() + scene.positions.len() + of_leader).unwrap()
}

/// Rows of observations that were read so far: by reading whole partitions, and by
/// index.
async fn touched(pool: &PgPool) -> (i64, i64) {
    let sql = "select sum(seq_tup_read)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint
         from pg_stat_user_tables where relname like 'observations\\_%'";
    sql::row(pool, sql, ()).await
}
