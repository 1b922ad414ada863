//! Incidents and leases: opened with the thought that found them, one at a time,
//! never lost; one resolver at a subject.

use std::time::Duration;

use drover::model::{IncidentId, IncidentKind, Kind, Mode, Opening, OperationId, SubjectId};
use drover::store::queue::{self, Queue};
use drover::store::{incidents, leases, modes, subjects};
use drover_tests::{records, sql};
use sqlx::PgPool;

use super::herd::{Herd, feels, thinks, thought};

fn down() -> Opening {
    Opening {
        kind: IncidentKind::ResourceDown,
        reason: "refused".into(),
    }
}

async fn open(pool: &PgPool, subject: SubjectId) -> Option<IncidentId> {
    records::opened(pool, Some(subject), &down(), "tester").await
}

async fn close(pool: &PgPool, id: IncidentId, by: &str) {
    let mut tx = pool.begin().await.unwrap();
    let mut incident = incidents::lock(&mut tx, id).await.unwrap().unwrap();
    let closed = incidents::close(&mut tx, &mut incident, by, "tester", "over").await;
    assert!(closed.unwrap());
    tx.commit().await.unwrap();
}

async fn tokens(pool: &PgPool) -> i64 {
    let sql = "select count(*) from apalis.jobs where job_type = 'resolve'";
    sql::scalar(pool, sql, ()).await
}

async fn open_and_tokens(pool: &PgPool) -> (i64, i64) {
    let sql = "select count(*) from incidents where state <> 'resolved'";
    (sql::scalar(pool, sql, ()).await, tokens(pool).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_opened_with_the_thought_that_found_it_or_not_at_all() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let lock = herd.claim("f", Queue::Feel).await.unwrap();
    feels(&mut db, lock).await;
    let lock = herd.claim("t", Queue::Think).await.unwrap();
    let mut step = thought(lock.clone(), None);
    step.opens = vec![down()];

    let mut tx = herd.pool.begin().await.unwrap();
    thinks(&mut tx, step.clone()).await;
    tx.rollback().await.unwrap();
    assert_eq!(open_and_tokens(&herd.pool).await, (0, 0));

    let mut stale = step.clone();
    stale.lock.at -= 1;
    // A lost lock opens nothing.
    for (step, opened) in [(stale, 0), (step, 1)] {
        let mut tx = herd.pool.begin().await.unwrap();
        assert_eq!(thinks(&mut tx, step).await, opened);
        tx.commit().await.unwrap();
        let opened = opened as i64;
        assert_eq!(open_and_tokens(&herd.pool).await, (opened, opened));
    }
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_openings_at_once_one_is_made() {
    let herd = Herd::of(1).await;
    let race = (0..20).map(|_| {
        let (pool, subject) = (herd.pool.clone(), herd.ids[1]);
        tokio::spawn(async move { open(&pool, subject).await })
    });
    let opened = futures::future::join_all(race).await;
    let made = opened.into_iter().filter(|r| r.as_ref().unwrap().is_some());
    assert_eq!(made.count(), 1);
    assert_eq!(open_and_tokens(&herd.pool).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_returns_within_ten_minutes_is_the_same_and_counted() {
    let herd = Herd::of(1).await;
    let first = open(&herd.pool, herd.ids[1]).await.unwrap();
    let sql = "update incidents set attempts = 3, remedy = 'restart_immediate', paged_at = now()";
    sql::run(&herd.pool, sql, ()).await;
    close(&herd.pool, first, "observation").await;
    assert_eq!(tokens(&herd.pool).await, 0);
    let again = open(&herd.pool, herd.ids[1]).await;
    assert_eq!(again, Some(first), "the same one");
    let mut db = herd.pool.acquire().await.unwrap();
    let again = incidents::load(&mut db, first).await.unwrap().unwrap();
    assert_eq!((again.reopened, again.attempts), (1, 0));
    assert_eq!(again.paged_at, None);
    close(&herd.pool, first, "observation").await;
    let sql = "update incidents set resolved_at = now() - interval '11 minutes'";
    sql::run(&herd.pool, sql, ()).await;
    let new = open(&herd.pool, herd.ids[1]).await.unwrap();
    assert_ne!(new, first, "later it is another one");
}

/// Else a human would be called at once when the hold is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_returns_during_a_hold_is_not_counted() {
    let herd = Herd::of(1).await;
    let id = open(&herd.pool, herd.ids[1]).await.unwrap();
    let mut db = herd.pool.acquire().await.unwrap();
    for (mode, counted) in [(Mode::Hold, 0), (Mode::Advise, 0), (Mode::Act, 1)] {
        modes::set(&mut db, "herd", mode, "a test").await.unwrap();
        close(&herd.pool, id, "observation").await;
        assert_eq!(open(&herd.pool, herd.ids[1]).await, Some(id));
        let again = incidents::load(&mut db, id).await.unwrap().unwrap();
        assert_eq!(again.reopened, counted, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_holds_until_the_state_changes_or_an_hour_has_passed() {
    let herd = Herd::of(1).await;
    let first = open(&herd.pool, herd.ids[1]).await.unwrap();
    close(&herd.pool, first, "operator").await;
    assert_eq!(open(&herd.pool, herd.ids[1]).await, None);
    let change = |sql: &'static str| sql::run(&herd.pool, sql, ());
    change("update incidents set resolved_at = now() - interval '61 minutes'").await;
    let second = open(&herd.pool, herd.ids[1]).await.unwrap();
    assert_ne!(first, second);
    close(&herd.pool, second, "operator").await;
    change("update subjects set state_since = clock_timestamp()").await;
    let anew = open(&herd.pool, herd.ids[1]).await;
    assert_eq!(anew, Some(second), "it went down anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_token_comes_back_and_a_stray_one_goes() {
    let herd = Herd::of(1).await;
    let id = open(&herd.pool, herd.ids[1]).await.unwrap();
    let sql = "delete from apalis.jobs where job_type = 'resolve'";
    sql::run(&herd.pool, sql, ()).await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::keep(&mut db).await.unwrap().missing, 1);
    assert_eq!(tokens(&herd.pool).await, 1);
    let sql =
        "update incidents set state = 'resolved', resolved_at = now(), resolved_by = 'operator'";
    sql::run(&herd.pool, sql, ()).await;
    assert_eq!(queue::keep(&mut db).await.unwrap().gone, 1);
    assert_eq!(tokens(&herd.pool).await, 0);
    assert!(incidents::load(&mut db, id).await.unwrap().is_some());
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_herd_takes_its_incidents_along() {
    let herd = Herd::of(1).await;
    let id = open(&herd.pool, herd.ids[1]).await.unwrap();
    let sql = "update incidents set state = 'needs_human', paged_at = now()";
    sql::run(&herd.pool, sql, ()).await;
    let mut tx = herd.pool.begin().await.unwrap();
    subjects::forget(&mut tx, Kind::Resource, herd.ids[1])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut db = herd.pool.acquire().await.unwrap();
    let gone = incidents::load(&mut db, id).await.unwrap().unwrap();
    assert_eq!(gone.resolved_by.unwrap(), "forgotten");
    assert_eq!(tokens(&herd.pool).await, 0);
    let called_off: String = sql::scalar(&mut *db, "select action from outbox", ()).await;
    assert_eq!(called_off, "resolve", "whoever was paged is told");
}

/// Milliseconds that no test outlasts.
const LONG: u64 = 60_000;

async fn take(
    pool: &PgPool,
    subject: SubjectId,
    operation: OperationId,
    worker: &str,
    lease: u64,
) -> Option<leases::Fence> {
    let mut tx = pool.begin().await.unwrap();
    let lease = Duration::from_millis(lease);
    let fences = leases::take(&mut tx, &[subject], (operation, 0), worker, lease).await;
    tx.commit().await.unwrap();
    fences.unwrap().map(|fences| fences[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_the_lease_one_has_it() {
    let herd = Herd::of(3).await;
    let race = (0..24).map(|n| {
        let (pool, subject) = (herd.pool.clone(), herd.ids[1]);
        let worker = format!("w{n}");
        tokio::spawn(
            async move { take(&pool, subject, OperationId::generate(), &worker, LONG).await },
        )
    });
    let taken = futures::future::join_all(race).await;
    let won: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(won.len(), 1);
    // Other databases of that server are free, the server itself is not.
    let incident = OperationId::generate();
    for (id, free) in [(herd.ids[2], true), (herd.ids[0], false)] {
        let taken = take(&herd.pool, id, incident, "x", LONG).await;
        assert_eq!(taken.is_some(), free);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_is_mended_its_databases_are_left_alone() {
    let herd = Herd::of(2).await;
    let incident = OperationId::generate();
    let fence = take(&herd.pool, herd.ids[0], incident, "a", LONG).await;
    let fence = fence.unwrap();
    for id in &herd.ids {
        let taken = take(&herd.pool, *id, OperationId::generate(), "b", LONG).await;
        assert!(taken.is_none());
    }
    let mut db = herd.pool.acquire().await.unwrap();
    let ended = leases::end_turn(&mut db, herd.ids[0], fence, None).await;
    assert!(ended.unwrap());
    let taken = take(&herd.pool, herd.ids[1], OperationId::generate(), "b", LONG).await;
    assert!(taken.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_goes_on_to_the_incidents_next_turn_and_to_nobody_else_before_it_ends() {
    let herd = Herd::of(1).await;
    let (mine, other) = (OperationId::generate(), OperationId::generate());
    let subject = herd.ids[1];
    let fence = take(&herd.pool, subject, mine, "a", LONG).await.unwrap();
    let taken = take(&herd.pool, subject, mine, "b", LONG).await;
    assert!(taken.is_none(), "the turn before is still at it");
    let mut db = herd.pool.acquire().await.unwrap();
    let on = Some(Duration::from_secs(60));
    assert!(leases::end_turn(&mut db, subject, fence, on).await.unwrap());
    let taken = take(&herd.pool, subject, other, "c", LONG).await;
    assert!(taken.is_none());
    let next = take(&herd.pool, subject, mine, "b", 50).await.unwrap();
    assert!(next > fence);
    let stale = leases::end_turn(&mut db, subject, fence, None).await;
    assert!(!stale.unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after = take(&herd.pool, subject, other, "c", LONG).await.unwrap();
    assert!(after > next, "a lease that has run out is anybody's");
    let stale = leases::end_turn(&mut db, subject, next, None).await;
    assert!(!stale.unwrap());
}

/// The control database's clock was set back by an hour since one was taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_would_last_for_an_hour_ends_in_time() {
    let herd = Herd::of(2).await;
    for id in &herd.ids[1..] {
        take(&herd.pool, *id, OperationId::generate(), "a", LONG).await;
    }
    let hour = "update subjects set lock_until = lock_until + interval '1 hour' where id = $1";
    sql::run(&herd.pool, hour, [herd.ids[1]]).await;
    let left = "select extract(epoch from lock_until - clock_timestamp())::float8
         from subjects where id = $1";
    let before: f64 = sql::scalar(&herd.pool, left, [herd.ids[2]]).await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::keep(&mut db).await.unwrap().ahead, 1);
    let shortened: f64 = sql::scalar(&herd.pool, left, [herd.ids[1]]).await;
    assert!((60.0..=120.0).contains(&shortened), "{shortened}");
    let other: f64 = sql::scalar(&herd.pool, left, [herd.ids[2]]).await;
    assert!(other <= before, "{other}, {before} before");
    assert_eq!(queue::keep(&mut db).await.unwrap().ahead, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn timelines_and_runs_cannot_be_changed() {
    let herd = Herd::of(1).await;
    open(&herd.pool, herd.ids[1]).await.unwrap();
    let statements = [
        "update incident_events set text = 'x'",
        "delete from incident_events",
        "truncate incident_events",
        "truncate resolver_runs",
    ];
    sql::cannot_be_changed(&herd.pool, &statements).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_at_every_thought_is_opened_once_for_each_kind() {
    let herd = Herd::of(0).await;
    let full = Opening {
        kind: IncidentKind::DiskCritical,
        reason: "93 % used".into(),
    };
    for named in [vec![down()], vec![down(), full]] {
        let mut db = herd.pool.acquire().await.unwrap();
        let lock = herd.claim("f", Queue::Feel).await.unwrap();
        feels(&mut db, lock).await;
        let mut step = thought(herd.claim("t", Queue::Think).await.unwrap(), None);
        step.opens = named;
        thinks(&mut db, step).await;
    }
    let sql = "select i.kind from incident_events e join incidents i on i.id = e.incident_id
         where e.kind = 'opened' order by 1";
    let kinds: Vec<String> = sql::scalars(&herd.pool, sql, ()).await;
    assert_eq!(kinds, ["disk_critical", "resource_down"]);
    assert_eq!(tokens(&herd.pool).await, 2);
}
