//! What providers ask of their callers.

use std::time::{Duration, Instant};

use drover::config::{NotifyConfig, PageVia};
use drover::model::{Deed, IncidentKind, MessageState};
use drover::store::provider_calls;
use drover_tests::{Mood, PagerDuty, sql};

use super::world::{World, pages};

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_kept_to() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    pagerduty.then(&[Mood::TooMany { retry_after: 4 }]);
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let id = world.page(incident, Deed::Trigger).await;
    let begun = Instant::now();
    let workers = world.work(pages(&pagerduty));
    world.delivered(id).await;
    workers.end().await;
    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        world.told(incident).await,
        [
            "page not delivered yet: PagerDuty answered 429; it is tried again for 24 h",
            "page delivered by PagerDuty at attempt 2",
        ]
    );
}

/// Makes `calls` of the last minute's, the oldest of them this many seconds old.
async fn called(world: &World, calls: i32, oldest_s: f64) {
    let sql = "insert into provider_calls (provider, at)
         select 'pagerduty', now() - $2 * interval '1 s' from generate_series(1, $1)";
    sql::run(&world.pool, sql, (calls, oldest_s)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_has_120_calls_of_all_processes_together() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    // 115 within the minute: there is room for 5, and in 8 seconds for more.
    called(&world, 115, 54.0).await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        // One incident has one message at a time.
        let incident = world.incident(IncidentKind::ResourceDown).await;
        ids.push(world.page(incident, Deed::Trigger).await);
        let sql = "update incidents set state = 'resolved', resolved_at = now() - interval '1 day',
             resolved_by = 'operator'";
        sql::run(&world.pool, sql, ()).await;
    }
    let (one, two) = (world.work(pages(&pagerduty)), world.work(pages(&pagerduty)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(pagerduty.calls().len(), 5);
    for id in &ids {
        let message = world.delivered(*id).await;
        assert_eq!(message.attempts, 1, "waiting for room is no attempt");
    }
    one.end().await;
    two.end().await;
    assert_eq!(pagerduty.calls().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_no_limit_looks_at_are_pruned() {
    let world = World::new().await;
    called(&world, 3, 601.0).await;
    called(&world, 2, 59.0).await;
    let mut db = world.pool.acquire().await.unwrap();
    assert_eq!(provider_calls::prune(&mut db).await.unwrap(), 3);
    assert_eq!(provider_calls::prune(&mut db).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_shares_its_key_takes_less() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    called(&world, 2, 20.0).await;
    let mut config = pages(&pagerduty);
    if let NotifyConfig {
        page: PageVia::PagerDuty(page),
        ..
    } = &mut config
    {
        page.per_minute = 2;
    }
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let id = world.page(incident, Deed::Trigger).await;
    let workers = world.work(config);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.message(id).await.state, MessageState::Pending);
    workers.end().await;
    assert!(pagerduty.calls().is_empty());
}
