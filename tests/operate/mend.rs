//! Mending by real processes: killed at each step, and with many incidents at once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use drover_tests::{Deployment, PATIENCE, flood, sql};
use serde_json::json;

/// The first time that a step shows in the record, the process that does it is
/// killed; another one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_killed_at_each_step_is_followed_by_one_that_goes_on() {
    let rules = json!({"cadence": {"available": "2s"}});
    let mut drover = Deployment::new(&rules).await.unwrap();
    let all = ["web", "clock", "feel", "think", "resolve", "notify"];
    drover.start(&all).await.unwrap();
    let create = ["create", "--servers", "4", "--resources-per-server", "1"];
    drover.local(&create).await.unwrap();
    drover.all_available(8, PATIENCE).await.unwrap();
    drover.local(&["kill", "pg-1-db-1"]).await.unwrap();
    drover.local(&["unplug", "pg-2"]).await.unwrap();

    let mut killed: HashSet<(String, String, String)> = HashSet::new();
    let (began, mut settled) = (Instant::now(), false);
    while !settled {
        assert!(
            began.elapsed() < Duration::from_secs(420),
            "not mended; killed at {killed:?}"
        );
        let sql = "select distinct resolver, remedy, step from resolver_runs where phase = 'begun'";
        let steps: Vec<(String, String, String)> = sql::rows(&drover.pool, sql, ()).await;
        let new: Vec<_> = steps.into_iter().filter(|s| !killed.contains(s)).collect();
        if !new.is_empty() {
            drover.processes.kill("resolve").unwrap();
            drover.processes.start("resolve").unwrap();
            killed.extend(new);
        }
        let sql = "select count(*), count(*) filter (where state <> 'resolved') from incidents";
        let (incidents, open): (i64, i64) = sql::row(&drover.pool, sql, ()).await;
        settled = incidents >= 2 && open == 0;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let steps: HashSet<(&str, &str)> = killed
        .iter()
        .map(|(resolver, _, step)| (resolver.as_str(), step.as_str()))
        .collect();
    for step in [
        ("resource_down", "mark"),
        ("resource_down", "restart"),
        ("server_down", "look"),
        ("server_down", "mark"),
        ("server_down", "reboot"),
    ] {
        assert!(steps.contains(&step), "{step:?} was not among {steps:?}");
    }
    drover.all_available(8, PATIENCE).await.unwrap();
    assert_eq!(flood::overlaps(&drover).await, 0);
    let sql = "select count(*) from resolver_runs b where phase = 'begun' and not exists (
             select from resolver_runs e where e.run_id = b.run_id and e.phase = 'ended')";
    let cut_off: i64 = sql::scalar(&drover.pool, sql, ()).await;
    assert!(cut_off > 0, "no step was really cut off");
    let humans: i64 = sql::scalar(&drover.pool, "select count(*) from outbox", ()).await;
    assert_eq!(humans, 0, "nobody had to be called");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_incidents_at_once_are_each_mended_by_one_at_a_time() {
    let flood = flood::run(60, 4).await.unwrap();
    println!("{flood:?}");
    assert_eq!((flood.opened, flood.overlaps), (60, 0));
    assert!(
        flood.oldest_observation_s < 60.0,
        "feel and think kept their cadence: {flood:?}"
    );
}
