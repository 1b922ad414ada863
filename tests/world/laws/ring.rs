//! The ring itself, with real workers: failures, panics, odd answers, restarts of
//! the database, and the end.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drover::store::queue::Queue;
use drover_tests::{sql, until, when};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::herd::{Herd, Puppet, ring_config};

const BOTH: [Queue; 2] = [Queue::Feel, Queue::Think];

struct Turning {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn turn(herd: &Herd, puppet: &Puppet, cadence: Duration) -> Turning {
    let stop = CancellationToken::new();
    let task = tokio::spawn(drover_jobs::verbs::run(
        herd.pool.clone(),
        ring_config(cadence),
        puppet.clone(),
        &BOTH,
        stop.clone(),
    ));
    Turning { stop, task }
}

impl Turning {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits until each subject has at least this many observations.
async fn laps(herd: &Herd, wanted: i64) {
    let sql = "select min((select count(*) from observations o where o.subject_id = s.id))
             from subjects s";
    let what = format!("{wanted} laps of each");
    let enough = |fewest: &i64| *fewest >= wanted;
    sql::until(&herd.pool, &what, Duration::from_secs(60), sql, enough).await;
}

const HELD: &str =
    "select count(*) from apalis.jobs where status <> 'Pending' or lock_by is not null";

async fn held(pool: &PgPool) -> i64 {
    sql::scalar(pool, HELD, ()).await
}

/// Waits until so many are held.
async fn until_held(herd: &Herd, what: &str, seconds: u64, is: RangeInclusive<i64>) {
    let deadline = Duration::from_secs(seconds);
    sql::until(&herd.pool, what, deadline, HELD, |held| is.contains(held)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subject_goes_round_and_round() {
    let herd = Herd::of(30).await;
    let turning = turn(&herd, &Puppet::default(), Duration::from_millis(50));
    laps(&herd, 10).await;
    turning.end().await;
    herd.assert_whole().await;
    assert_eq!(held(&herd.pool).await, 0, "stopping gave everything back");
    let workers: i64 = sql::scalar(&herd.pool, "select count(*) from apalis.workers", ()).await;
    assert_eq!(workers, 0, "stopped workers do not count as alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_feeler_costs_a_delay_and_nothing_else() {
    let herd = Herd::of(3).await;
    let puppet = Puppet {
        panics_once: true,
        ..Puppet::default()
    };
    let turning = turn(&herd, &puppet, Duration::from_millis(50));
    laps(&herd, 3).await;
    turning.end().await;
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jsonb_cannot_hold_is_written_all_the_same() {
    let herd = Herd::of(2).await;
    let puppet = Puppet {
        odd: true,
        ..Puppet::default()
    };
    let turning = turn(&herd, &puppet, Duration::from_millis(50));
    laps(&herd, 2).await;
    turning.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_come_through_a_restart_of_the_database() {
    let herd = Herd::of(10).await;
    let turning = turn(&herd, &Puppet::default(), Duration::from_millis(100));
    laps(&herd, 3).await;
    for _ in 0..3 {
        herd.postgres.restart_immediate().unwrap();
        let before = herd.observations().await;
        let wanted = before / herd.ids.len() as i64 + 5;
        laps(&herd, wanted).await;
        herd.assert_whole().await;
    }
    turning.end().await;
    herd.assert_whole().await;
}

/// Somebody has locked a token that is at work, and does not go on: that one waits, and nobody
/// else.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_locked_keeps_no_other_waiting() {
    let herd = Herd::of(20).await;
    let turning = turn(&herd, &Puppet::slow(1), Duration::from_millis(50));
    laps(&herd, 1).await;
    let lock = || async {
        let mut tx = herd.pool.begin().await?;
        let sql = "select id from apalis.jobs where status = 'Queued' limit 1
             for update skip locked";
        let found: Option<(String,)> = sql::first(&mut *tx, sql, ()).await;
        Ok(found
            .map(|(id,)| (id, tx))
            .ok_or("nobody is at work".to_owned()))
    };
    let locked = until("a token locked", Duration::from_secs(10), lock).await;
    let ((id, tx), _) = locked.unwrap();
    let stale = "select count(*) from subjects s where id <> $1 and not exists
             (select from observations o where o.subject_id = s.id
                 and o.created_at > now() - interval '10 s')";
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let others: i64 = sql::scalar(&herd.pool, stale, [&id]).await;
        assert_eq!(others, 0);
    }
    tx.rollback().await.unwrap();
    laps(&herd, 20).await;
    turning.end().await;
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_what_is_at_work() {
    let herd = Herd::of(10).await;
    let puppet = Puppet {
        pause: Duration::from_secs(2),
        ..Puppet::default()
    };
    let turning = turn(&herd, &puppet, Duration::from_secs(30));
    let begun = || async {
        let feels = puppet.feels.load(Ordering::SeqCst);
        when(feels == herd.ids.len(), format!("{feels} begun"))
    };
    let all = until("all feels begun", Duration::from_secs(20), begun);
    all.await.unwrap();
    turning.end().await;
    // Each begun feel was committed.
    assert_eq!(herd.observations().await, herd.ids.len() as i64);
    assert_eq!(held(&herd.pool).await, 0);
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_workers_tokens_are_rescued() {
    let herd = Herd::of(5).await;
    for _ in 0..3 {
        herd.claim("killed", Queue::Feel).await.unwrap();
    }
    let sql = "update apalis.workers set last_seen = now() - interval '20 s'";
    sql::run(&herd.pool, sql, ()).await;
    let turning = turn(&herd, &Puppet::default(), Duration::from_millis(100));
    laps(&herd, 2).await;
    turning.end().await;
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_outlives_the_database_puts_back_what_it_could_not_commit() {
    let herd = Herd::of(40).await;
    // Twenty at a time, the first done at once: a second batch is in the buffer,
    // and a worker with a full buffer does not notice that the database is gone.
    let puppet = Puppet::slow(2);
    let turning = turn(&herd, &puppet, Duration::from_millis(20));
    until_held(&herd, "more claimed than at work", 20, 21..=40).await;
    herd.postgres.pg_ctl(&["stop", "-m", "immediate"]).unwrap();
    // Longer than a commit and then a first try to put back wait for a connection.
    tokio::time::sleep(Duration::from_secs(24)).await;
    herd.postgres.pg_ctl(&["start"]).unwrap();
    // No clock runs here that would free what is stuck.
    laps(&herd, 2).await;
    turning.end().await;
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_with_a_full_buffer_is_not_taken_for_dead() {
    let herd = Herd::of(40).await;
    // Twenty at a time. The first is done at once, so its place is taken from a
    // new batch, and the rest of that waits in the buffer for 20 s: apalis's own
    // heartbeat goes without a word until the buffer is empty.
    let puppet = Puppet::slow(20);
    let turning = turn(&herd, &puppet, Duration::from_secs(38));
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(19) {
        let sql = "select coalesce(max(extract(epoch from now() - last_seen)), 0)::float8
             from apalis.workers";
        let silent: f64 = sql::scalar(&herd.pool, sql, ()).await;
        assert!(silent < 15.0, "silent for {silent} s");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    laps(&herd, 1).await;
    turning.end().await;
    // Nobody was felt twice.
    assert_eq!(herd.observations().await, herd.ids.len() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_slow_subject_is_given_back_at_once() {
    let herd = Herd::of(40).await;
    // Twenty at a time, the first done at once: a second batch is in the buffer.
    let puppet = Puppet::slow(8);
    let turning = turn(&herd, &puppet, Duration::from_secs(38));
    until_held(&herd, "a full buffer", 7, 21..=40).await;
    turning.stop.cancel();
    until_held(&herd, "an empty one", 2, 19..=20).await;
    turning.end().await;
    // What was at work was committed.
    let begun = puppet.feels.load(Ordering::SeqCst) as i64;
    assert_eq!(herd.observations().await, begun);
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_full_buffer_rescues_others() {
    let herd = Herd::of(45).await;
    for _ in 0..5 {
        herd.claim("killed", Queue::Feel).await.unwrap();
    }
    let puppet = Puppet::slow(20);
    let turning = turn(&herd, &puppet, Duration::from_secs(38));
    let theirs = "select count(*) from apalis.jobs where lock_by = 'killed'";
    let time = Duration::from_secs(16);
    sql::until(&herd.pool, "all are freed", time, theirs, |n: &i64| *n == 0).await;
    turning.end().await;
    herd.assert_whole().await;
}
