//! Laws 2 and 3: effect and next step commit together, under the lock.

use drover::model::State;
use drover::store::queue::{self, PutBack, Queue};

use super::herd::{Herd, feels, thinks, thought};
use drover_tests::sql;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_racing_for_one_step_one_wins() {
    let herd = Herd::of(0).await;
    for round in 0..20 {
        let lock = herd.claim("a", Queue::Feel).await.expect("a token");
        let race = (0..2).map(|_| {
            let (pool, lock) = (herd.pool.clone(), lock.clone());
            tokio::spawn(async move {
                let mut db = pool.acquire().await.unwrap();
                feels(&mut db, lock).await
            })
        });
        let wins = futures::future::join_all(race).await.into_iter();
        let wins: usize = wins.map(Result::unwrap).sum();
        assert_eq!(wins, 1, "round {round}");
        assert_eq!(herd.observations().await, round + 1);
        // The token went to think.
        let lock = herd.claim("b", Queue::Think).await.expect("a token");
        let mut tx = herd.pool.begin().await.unwrap();
        thinks(&mut tx, thought(lock, None)).await;
        tx.commit().await.unwrap();
        herd.assert_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_lock_went_to_another_writes_nothing() {
    let herd = Herd::of(0).await;
    let stale = herd.claim("a", Queue::Feel).await.expect("a token");
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::release(&mut db, "a").await.unwrap(), 1);
    let lock = herd.claim("b", Queue::Feel).await.expect("rescued");
    assert_eq!(feels(&mut db, stale.clone()).await, 0);
    let back = PutBack {
        lock: stale,
        after: std::time::Duration::ZERO,
    };
    assert!(queue::put_back(&mut db, &[back]).await.unwrap().is_empty());
    assert_eq!(herd.observations().await, 0);
    assert_eq!(feels(&mut db, lock).await, 1);
    assert_eq!(herd.observations().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_the_same_worker_but_of_another_claim_is_stale() {
    let herd = Herd::of(0).await;
    let first = herd.claim("a", Queue::Feel).await.expect("a token");
    // The clock freed it, and the same worker claimed it again, later.
    let sql = "update apalis.jobs set lock_at = lock_at + interval '2 minutes'";
    sql::run(&herd.pool, sql, ()).await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(feels(&mut db, first).await, 0);
    assert_eq!(herd.observations().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_does_not_commit_leaves_no_trace() {
    let herd = Herd::of(0).await;
    let lock = herd.claim("a", Queue::Feel).await.expect("a token");
    let mut tx = herd.pool.begin().await.unwrap();
    assert_eq!(feels(&mut tx, lock.clone()).await, 1);
    // Here the worker dies: between the effect and the end of the transaction.
    tx.rollback().await.unwrap();
    assert_eq!(herd.observations().await, 0);
    // The token must not have moved.
    assert!(herd.claim("b", Queue::Think).await.is_none());
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(feels(&mut db, lock).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_written_with_its_transition_or_not_at_all() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let lock = herd.claim("a", Queue::Feel).await.expect("a token");
    feels(&mut db, lock).await;
    let lock = herd.claim("t", Queue::Think).await.expect("a token");
    let stale = queue::Lock {
        worker: "somebody else".into(),
        ..lock.clone()
    };
    let change = Some((State::Uncertain, State::Available));
    assert_eq!(thinks(&mut db, thought(stale, change)).await, 0);
    assert_eq!(herd.transitions().await, 0);
    assert_eq!(thinks(&mut db, thought(lock, change)).await, 1);
    assert_eq!(herd.transitions().await, 1);
    let state: String = sql::scalar(&herd.pool, "select state from subjects", ()).await;
    assert_eq!(state, "available");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_decided_in_a_state_that_has_passed_is_not_made() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let lock = herd.claim("a", Queue::Feel).await.expect("a token");
    feels(&mut db, lock).await;
    let lock = herd.claim("t", Queue::Think).await.expect("a token");
    let change = Some((State::Available, State::Uncertain));
    assert_eq!(thinks(&mut db, thought(lock, change)).await, 1);
    assert_eq!(herd.transitions().await, 0, "it is uncertain already");
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_on_its_way_when_its_worker_stops_is_given_back_too() {
    let herd = Herd::of(0).await;
    herd.register("a", Queue::Feel).await;
    let mut late = herd.pool.begin().await.unwrap();
    let claim = "select id from apalis.get_jobs('a', 'feel', 1)";
    assert_eq!(sql::run(&mut *late, claim, ()).await, 1);
    let pool = herd.pool.clone();
    let retiring = tokio::spawn(async move {
        let mut db = pool.acquire().await.unwrap();
        queue::retire(&mut db, "a").await.unwrap()
    });
    // The one that retires waits for the claim's hold on the list of workers.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    late.commit().await.unwrap();
    assert!(!retiring.await.unwrap(), "the claim came in between");
    let mut db = herd.pool.acquire().await.unwrap();
    assert!(queue::retire(&mut db, "a").await.unwrap());
    // Who is off the list cannot claim.
    assert!(sqlx::query(claim).execute(&mut *db).await.is_err());
    // The error is told before what was locked for it is free again.
    sql::run(&mut *db, "select 1", ()).await;
    assert!(herd.claim("b", Queue::Feel).await.is_some());
}
