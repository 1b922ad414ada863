//! When a subject is felt next: its cadence after it was seen, however late the thought
//! comes, and never so late that it could miss its minute.

use std::time::Duration;

use drover::store::queue::{Queue, ThinkStep};
use drover_tests::{sql, until, when};
use tokio_util::sync::CancellationToken;

use super::herd::{Herd, Puppet, feels, ring_config, thinks, thought};

/// From each subject's last observation until its next feel, in seconds.
async fn waits(herd: &Herd) -> Vec<f64> {
    let sql = "select extract(epoch from j.run_at - o.at)::float8
         from apalis.jobs j
         join lateral (select max(created_at) as at from observations
                       where subject_id = j.id) o on true
         where j.job_type = 'feel' and j.status = 'Pending' and o.at is not null";
    sql::scalars(&herd.pool, sql, ()).await
}

/// Until every subject was seen, and thought about if so.
async fn round(herd: &Herd, queue: Queue) {
    let waiting = || async {
        let sql = "select count(*) from apalis.jobs j where job_type = $1 and status = 'Pending'
             and exists (select from observations where subject_id = j.id)";
        let there: i64 = sql::scalar(&herd.pool, sql, [queue]).await;
        let all = there == herd.ids.len() as i64;
        when(all, format!("{there} in {queue}"))
    };
    let through = until("all are through", Duration::from_secs(30), waiting);
    through.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_thought_puts_no_feel_off() {
    let herd = Herd::of(9).await;
    let turn = |queue| {
        let stop = CancellationToken::new();
        let config = ring_config(Duration::from_secs(20));
        let (pool, puppet) = (herd.pool.clone(), Puppet::default());
        let ring = drover_jobs::verbs::run(pool, config, puppet, queue, stop.clone());
        (stop, tokio::spawn(ring))
    };
    let (stop, feeling) = turn(&[Queue::Feel]);
    round(&herd, Queue::Think).await;
    stop.cancel();
    feeling.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    // As if a think worker had died meanwhile.
    sql::run(&herd.pool, "update apalis.jobs set done_at = null", ()).await;
    let (stop, thinking) = turn(&[Queue::Think]);
    round(&herd, Queue::Feel).await;
    stop.cancel();
    thinking.await.unwrap().unwrap();
    for wait in waits(&herd).await {
        assert!((18.0..=22.0).contains(&wait), "felt again after {wait} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_from_before_the_database_was_set_back_does_not_count() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    for (seen, most) in [
        (Some(chrono::Utc::now() + Duration::from_secs(900)), 1.0),
        (None, 1.0),
        (Some(chrono::Utc::now() - Duration::from_secs(60)), -50.0),
    ] {
        let lock = herd.claim("a", Queue::Feel).await.expect("a token");
        feels(&mut db, lock).await;
        let lock = herd.claim("b", Queue::Think).await.expect("a token");
        let step = ThinkStep {
            seen,
            ..thought(lock, None)
        };
        thinks(&mut db, step).await;
        let wait = waits(&herd).await[0];
        assert!(wait <= most, "{seen:?}: {wait} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cadence_is_too_long_for_the_minute() {
    let herd = Herd::of(2).await;
    let stop = CancellationToken::new();
    let run = |cadence| {
        let mut config = ring_config(Duration::from_secs(39));
        config.cadence = config.cadence.filter(|_| cadence);
        let queues = &[Queue::Feel, Queue::Think];
        let (pool, puppet) = (herd.pool.clone(), Puppet::default());
        drover_jobs::verbs::run(pool, config, puppet, queues, stop.clone())
    };
    let refused = run(true).await.unwrap_err().to_string();
    assert!(refused.contains("at most 38s"), "{refused}");
    assert_eq!(refused.lines().count(), 1);

    // Of a tier that was set when longer ones were allowed, the deployment's rules hold.
    let long = r#"update tiers set rules = '{"cadence": {"available": "60s"}}'"#;
    sql::run(&herd.pool, long, ()).await;
    let ring = tokio::spawn(run(false));
    round(&herd, Queue::Feel).await;
    for wait in waits(&herd).await {
        assert!((27.0..=33.0).contains(&wait), "felt again after {wait} s");
    }
    stop.cancel();
    ring.await.unwrap().unwrap();
}
