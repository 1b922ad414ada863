//! The clock finds what is missing, gone or stuck, and keeps the days.

use std::time::Duration;

use drover::config::ClockConfig;
use drover::store::queue::{self, Mended, Queue};
use drover::store::{lead, partitions};
use drover_tests::{sql, until, when};
use tokio_util::sync::CancellationToken;

use super::herd::Herd;

const SOON: Duration = Duration::from_secs(10);

fn clock(herd: &Herd, stop: &CancellationToken) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    let config = ClockConfig { retention_days: 14 };
    tokio::spawn(drover::clock::run(herd.pool.clone(), config, stop.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_ring_is_left_alone() {
    let herd = Herd::of(5).await;
    herd.claim("a", Queue::Feel).await.unwrap();
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::keep(&mut db).await.unwrap(), Mended::default());
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_ring_is_mended_by_a_running_clock() {
    let herd = Herd::of(5).await;
    let missing = herd.ids[1].to_string();
    let sql = "delete from apalis.jobs where id = $1";
    sql::run(&herd.pool, sql, [&missing]).await;
    let sql = "insert into apalis.jobs (id, job_type, job, status)
         values ('01ARZ3NDEKTSV4RRFFQ69G5FAV', 'feel', '{}', 'Pending')";
    sql::run(&herd.pool, sql, ()).await;
    let stuck = herd.claim("alive-but-stuck", Queue::Feel).await.unwrap();
    let sql = "update apalis.jobs set lock_at = now() - interval '3 minutes' where id = $1";
    sql::run(&herd.pool, sql, [stuck.token]).await;
    let stop = CancellationToken::new();
    let clocks = [clock(&herd, &stop), clock(&herd, &stop)];
    let held = "select count(*) from apalis.jobs where status = 'Queued'";
    let what = "the stuck token freed";
    sql::until(&herd.pool, what, SOON, held, |n: &i64| *n == 0).await;
    herd.assert_whole().await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::keep(&mut db).await.unwrap(), Mended::default());
    stop.cancel();
    for clock in clocks {
        clock.await.unwrap().unwrap();
    }
    assert_nobody_leads(&herd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_stopped_as_it_takes_the_lead_does_not_keep_it() {
    let herd = Herd::of(0).await;
    for n in 0..100 {
        let stop = CancellationToken::new();
        let clock = clock(&herd, &stop);
        tokio::time::sleep(Duration::from_micros(50 * n)).await;
        stop.cancel();
        clock.await.unwrap().unwrap();
        assert_nobody_leads(&herd).await;
    }
}

async fn assert_nobody_leads(herd: &Herd) {
    let leads = "select count(*) from clock_lead";
    let nobody = |n: &i64| *n == 0;
    sql::until(&herd.pool, "the lead given up", SOON, leads, nobody).await;
}

/// As one that is frozen, or cut off: nobody hears of it, and nobody can tell it anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_silent_leads_no_longer_than_it_said() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert!(!lead::is_held(&mut db).await.unwrap());
    assert!(lead::take(&mut db, "silent").await.unwrap());
    assert!(lead::is_held(&mut db).await.unwrap());
    assert!(!lead::take(&mut db, "another").await.unwrap());
    assert!(lead::take(&mut db, "silent").await.unwrap(), "it keeps it");
    let past = "update clock_lead set leads_until = now() - interval '1 ms'";
    sql::run(&mut *db, past, ()).await;
    assert!(!lead::is_held(&mut db).await.unwrap());
    assert!(lead::take(&mut db, "another").await.unwrap());
    assert!(!lead::take(&mut db, "silent").await.unwrap(), "too late");
    lead::resign(&mut db, "silent").await.unwrap();
    assert!(lead::is_held(&mut db).await.unwrap(), "it was another's");
    // The database's own clock was set back.
    let ahead = "update clock_lead set leads_until = now() + interval '1 hour'";
    sql::run(&mut *db, ahead, ()).await;
    assert!(!lead::is_held(&mut db).await.unwrap());
    assert!(lead::take(&mut db, "silent").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_made_ahead_and_dropped_when_old() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let made = partitions::create_ahead(&mut db).await.unwrap();
    assert_eq!(made, 0, "migrate made them");
    let sql = "select create_observations_day((now() at time zone 'UTC')::date - n) from generate_series(13, 16) n";
    sql::run(&herd.pool, sql, ()).await;
    let dropped = partitions::drop_old(&mut db, 14).await.unwrap();
    assert_eq!(dropped.len(), 2, "days 15 and 16 went: {dropped:?}");
    assert!(partitions::drop_old(&mut db, 14).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_no_day_stood_ready_moves_to_its_day() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    for n in 0..3 {
        let sql = "insert into observations
                 (id, created_at, subject_id, worker, feelers, attributes)
             values ($1, now() + interval '10 days', 'x', 'w', 1, '{\"service_available\": true}')";
        sql::run(&mut *db, sql, [n.to_string()]).await;
    }
    let strays = "select count(*) from observations_default";
    let count: i64 = sql::scalar(&mut *db, strays, ()).await;
    assert_eq!(count, 3);
    let sql = "select create_observations_day((now() at time zone 'UTC')::date + n) from generate_series(8, 11) n";
    sql::run(&mut *db, sql, ()).await;
    let count: i64 = sql::scalar(&mut *db, strays, ()).await;
    assert_eq!(count, 0);
    assert_eq!(herd.observations().await, 3, "none was lost");
    let truncate = ["truncate observations", "truncate observations_default"];
    sql::cannot_be_changed(&herd.pool, &truncate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_analysed_as_it_fills_and_an_empty_one_never() {
    let herd = Herd::of(0).await;
    sql::run(&herd.pool, "alter system set autovacuum = off", ()).await;
    sql::run(&herd.pool, "select pg_reload_conf()", ()).await;
    let stop = CancellationToken::new();
    let clock = clock(&herd, &stop);
    for rows in [5_000, 20_000] {
        let sql = "insert into observations (id, subject_id, worker, feelers, attributes)
             select 'o-' || $1 || n, 's-' || n, 'w', 1, '{}' from generate_series(1, $1) n";
        sql::run(&herd.pool, sql, [rows]).await;
        let known = || async {
            let sql = "select relname::text, reltuples from pg_class
                 where relname ~ '^observations_.*[0-9t]$' and relkind = 'r' order by 1";
            let known: Vec<(String, f32)> = sql::rows(&herd.pool, sql, ()).await;
            let unknown = known.iter().filter(|(_, n)| *n < 0.0).count();
            let enough = known.iter().any(|(_, n)| *n >= rows as f32);
            when(enough, (unknown, known.len()))
        };
        let known = until("the rows known", Duration::from_secs(30), known).await;
        let ((unknown, all), _) = known.unwrap();
        assert_eq!(unknown, all - 1, "the others are empty");
    }
    stop.cancel();
    clock.await.unwrap().unwrap();
}
