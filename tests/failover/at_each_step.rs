//! Workers die in the midst of a failover, and two ask for one at once.

use std::time::{Duration, Instant};

use drover_tests::sql;
use serde_json::json;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_is_followed_by_one_that_carries_on() {
    let mut scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    linger_behind_each_step(&scene).await;
    let ask = json!({"action": "failover", "reason": "a test"});
    let moment = Instant::now();
    scene.drover.act(&old.id, &ask).await.unwrap();
    // A second one is refused while the first is at work.
    let again = scene.drover.act(&old.id, &ask).await.unwrap_err();
    assert!(again.to_string().contains("one at a time"), "{again:#}");
    let mut met: Vec<String> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let sql = "select kind, step_name from operations
             where kind in ('failover', 'rebuild') and state = 'open'";
        let step: Option<(String, String)> = sql::first(&scene.drover.pool, sql, ()).await;
        let Some((kind, step)) = step else {
            if met.iter().any(|step| step.starts_with("rebuild")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let place = format!("{kind} {step}");
        if !met.contains(&place) && !step.is_empty() {
            met.push(place);
            // Somewhere within the step, and behind it as well.
            tokio::time::sleep(Duration::from_millis(40 * met.len() as u64 % 200)).await;
            for pid in scene.drover.processes.pids("resolve") {
                scene.drover.processes.kill_pid(pid).unwrap();
            }
            scene.drover.processes.start("resolve").unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{met:?}");
    for step in ["choose", "fence", "promote", "swap", "repoint", "conclude"] {
        assert!(met.contains(&format!("failover {step}")), "{step}: {met:?}");
    }
    assert!(
        met.iter()
            .filter(|place| place.starts_with("rebuild"))
            .count()
            > 4,
        "{met:?}"
    );
    scene.written_by_another(moment, &old).await;
    scene.settled().await;
    let new = scene.lead().await;
    assert_eq!(
        scene.resource(&new.id).await["epoch"],
        2,
        "one change of leader"
    );
    scene.assert_one_leader().await;
    scene.assert_written_by_one_at_a_time();
}

/// A worker takes a while to write down that a step is done, so that each is met: within
/// it, or when its work is done and the record does not know.
async fn linger_behind_each_step(scene: &Scene) {
    for sql in [
        "create function linger() returns trigger language plpgsql as
             'begin perform pg_sleep(0.3); return new; end'",
        "create trigger linger before update of step on operations for each row
             when (new.step <> old.step and new.kind in ('failover', 'rebuild'))
             execute function linger()",
    ] {
        sql::run(&scene.drover.pool, sql, ()).await;
    }
}
