//! Workers die, and machines reboot, at each step of a failover.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use drover_tests::{Lead, PATIENCE, sql};
use serde_json::json;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_is_killed_and_followed_by_one_that_carries_on() {
    let mut scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    let moment = ask_for_another(&scene, &old).await;
    let met = at_each_step(&mut scene, async |scene, _| {
        for pid in scene.drover.processes.pids("resolve") {
            scene.drover.processes.kill_pid(pid).unwrap();
        }
        scene.drover.processes.start("resolve").unwrap();
    })
    .await;
    for step in [
        "choose", "fence", "elect", "promote", "swap", "repoint", "conclude",
    ] {
        assert!(met.contains(&format!("failover {step}")), "{step}: {met:?}");
    }
    scene.written_by_another(moment, &old).await;
    another_leads_once(&scene, &old).await;
}

/// The one that leads, and shall not any more.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_leaders_machine_reboots_by_itself() {
    let mut scene = Scene::start("async", 1).await;
    let (old, _) = scene.pair().await;
    reboots_at_each_step(&mut scene, &old, &old).await;
}

/// The one that shall lead, and soon does.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_leaders_machine_reboots_by_itself() {
    let mut scene = Scene::start("async", 1).await;
    let (old, new) = scene.pair().await;
    reboots_at_each_step(&mut scene, &old, &new).await;
}

async fn reboots_at_each_step(scene: &mut Scene, old: &Lead, node: &Lead) {
    // A leader that is seen without its follower, and fenced before that one is back, may have
    // written what nobody else has: it would lead on.
    scene.hold_feelers(node.id != old.id);
    ask_for_another(scene, old).await;
    let mut boots = HashSet::new();
    let met = at_each_step(scene, async |scene, place| {
        // A leader that is down for the third time within minutes is a human's.
        let twice_at_most = [
            "failover choose",
            "failover fence",
            "failover elect",
            "failover promote",
            "failover swap",
            "failover repoint",
            "rebuild rewind",
        ];
        if node.id != old.id && !twice_at_most.contains(&place) {
            return;
        }
        if place == "failover promote" {
            scene.hold_feelers(false);
        }
        // Nothing is shut down, nothing is written; if it is off, it stays so.
        let reboot = "cat /proc/sys/kernel/random/boot_id; systemctl reboot --force --force";
        let limit = Duration::from_secs(10);
        let machines = &scene.drover.machines().client;
        let said = machines.sh(&node.instance, reboot, limit).await;
        println!("{place}: {said:?}");
        boots.extend(said.map(|said| said.stdout));
    })
    .await;
    assert!(
        met.iter().any(|place| place == "failover promote"),
        "{met:?}"
    );
    let least = if node.id == old.id { 4 } else { 2 };
    assert!(boots.len() >= least, "{boots:?}");
    // Nobody has seen the last one yet.
    scene.answers(node).await;
    another_leads_once(scene, old).await;
}

/// Has the leader replaced, by a worker that lingers behind each step.
async fn ask_for_another(scene: &Scene, old: &Lead) -> Instant {
    linger_behind_each_step(scene).await;
    let ask = json!({"action": "failover", "reason": "a test"});
    let moment = Instant::now();
    scene.drover.act(&old.id, &ask).await.unwrap();
    // A second one is refused while the first is at work.
    let again = scene.drover.act(&old.id, &ask).await.unwrap_err();
    assert!(again.to_string().contains("one at a time"), "{again:#}");
    moment
}

/// Somewhere within each step of a failover, and of what makes the old leader follow, or behind
/// it. Tells which were met.
async fn at_each_step(
    scene: &mut Scene,
    mut happens: impl AsyncFnMut(&mut Scene, &str),
) -> Vec<String> {
    let mut met: Vec<String> = Vec::new();
    let deadline = Instant::now() + 2 * PATIENCE;
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
            tokio::time::sleep(Duration::from_millis(40 * (met.len() as u64 + 1) % 200)).await;
            happens(scene, &place).await;
            met.push(place);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{met:?}");
    let rebuilding = met.iter().filter(|place| place.starts_with("rebuild"));
    assert!(rebuilding.count() > 4, "{met:?}");
    met
}

/// All is well, and nobody but the two has led, one behind the other.
async fn another_leads_once(scene: &Scene, old: &Lead) {
    scene.settled().await;
    let new = scene.lead().await;
    assert_ne!(new.id, old.id);
    assert_eq!(scene.resource(&new.id).await["epoch"], 2);
    scene.assert_one_leader().await;
    scene.assert_written_by_one_at_a_time();
}

/// A worker takes a while to write down that a step is done, so that each is met: within
/// it, or when its work is done and the record does not know.
pub async fn linger_behind_each_step(scene: &Scene) {
    for sql in [
        "create function linger() returns trigger language plpgsql as
             'begin perform pg_sleep(0.3); return new; end'",
        "create trigger linger before update of step on operations for each row
             when (new.step <> old.step and new.kind in ('failover', 'rebuild', 'switchover'))
             execute function linger()",
    ] {
        sql::run(&scene.drover.pool, sql, ()).await;
    }
}
