//! Real processes, killed at random or asked to stop under load: nothing is lost,
//! nothing doubled, and nobody misses its minute.

use std::time::{Duration, Instant};

use drover_tests::{Deployment, sql, until, when};
use rand::RngExt;
use serde_json::{Value, json};

fn often() -> Value {
    json!({"cadence": {"available": "1s", "uncertain": "1s", "unavailable": "1s"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_random_kills_loses_no_token_and_no_minute() {
    let mut drover = Deployment::new(&often()).await.unwrap();
    drover
        .start(&["web", "clock", "feel", "feel", "think", "think"])
        .await
        .unwrap();
    let subjects = drover.adopt_own_databases(40).await.unwrap();
    let began = Instant::now();
    let (mut kills, mut worst) = (0, 0.0_f64);
    while began.elapsed() < Duration::from_secs(60) {
        let kind = if rand::random_bool(0.5) {
            "feel"
        } else {
            "think"
        };
        let pids = drover.processes.pids(kind);
        let victim = pids[rand::rng().random_range(0..pids.len())];
        drover.processes.kill_pid(victim).unwrap();
        drover.processes.start(kind).unwrap();
        kills += 1;
        let ring = drover.ring().await.unwrap();
        assert_eq!(
            (ring.tokens, ring.astray),
            (subjects as i64, 0),
            "after {kills} kills"
        );
        worst = worst.max(ring.oldest_observation_s.unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(200..1500))).await;
    }
    println!("{kills} kills; the oldest observation was {worst:.1} s old");
    assert!(worst < 60.0, "somebody missed its minute: {worst:.1} s");
    let calm = || async {
        let ring = drover.ring().await?;
        let oldest = ring.oldest_observation_s.unwrap_or(f64::MAX);
        when(oldest < 10.0, format!("oldest {oldest:.1} s"))
    };
    until("everybody felt again", Duration::from_secs(60), calm)
        .await
        .unwrap();
    let ring = drover.ring().await.unwrap();
    assert_eq!((ring.tokens, ring.astray), (subjects as i64, 0));
    drover
        .all_available(subjects, Duration::from_secs(60))
        .await
        .unwrap();
    // Each step wrote its observation once: the token's moves and the record agree.
    let sql = "select count(*) - count(distinct id) from observations";
    let doubled: i64 = sql::scalar(&drover.pool, sql, ()).await;
    assert_eq!(doubled, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_under_load_loses_nothing() {
    let mut drover = Deployment::new(&often()).await.unwrap();
    drover
        .start(&["web", "clock", "feel", "think"])
        .await
        .unwrap();
    let subjects = drover.adopt_own_databases(40).await.unwrap();
    for round in 0..5 {
        for kind in ["feel", "think"] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let took = drover.processes.terminate(kind).unwrap();
            assert!(took < Duration::from_secs(25), "{kind} took {took:?}");
            let ring = drover.ring().await.unwrap();
            assert_eq!(
                (ring.tokens, ring.astray),
                (subjects as i64, 0),
                "round {round}"
            );
            let held = ring.queues.get(kind).and_then(|q| q.get("Queued")).copied();
            assert_eq!(held, None, "{kind} gave back what it held");
            assert_eq!(ring.workers.get(kind), None, "{kind} is off the list");
            drover.processes.start(kind).unwrap();
        }
    }
    for kind in ["web", "clock"] {
        drover.processes.terminate(kind).unwrap();
    }
}
