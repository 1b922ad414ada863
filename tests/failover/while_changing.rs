//! The leader dies while something is being done with it, or with its server.

use std::time::{Duration, Instant};

use drover_machines::network::{End, Fault};
use drover_tests::{Held, PATIENCE, sql, until, when};
use serde_json::json;

use crate::scene::Scene;

/// Each of these is at work at its leader, or at its server, when the plug is pulled.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_being_done_with_a_leader_gives_way() {
    let scene = Scene::start("async", 1).await;
    for (on, action) in [
        ("resources", json!({"action": "restart"})),
        ("servers", json!({"action": "reboot"})),
        ("servers", json!({"action": "stop_start"})),
        ("resources", json!({"action": "resize", "size": "large"})),
        ("resources", json!({"action": "switchover"})),
    ] {
        println!("{action}");
        let old = scene.lead().await;
        let mut action = action;
        if action["action"] == "resize" {
            let server = scene.drover.shown(&old.server).await;
            let large = server.unwrap()["size"] == "large";
            action["size"] = json!(if large { "medium" } else { "large" });
        }
        action["now"] = json!(true);
        action["reason"] = json!("a test");
        let at_server = on == "servers";
        let id = if at_server { &old.server } else { &old.id };
        scene.drover.act(id, &action).await.unwrap();
        let sql = "select count(*) from operations where state = 'open' and deadline is not null";
        let pool = &scene.drover.pool;
        sql::until(pool, "it is at work", PATIENCE, sql, |n: &i64| *n > 0).await;
        let moment = Instant::now();
        scene.drover.unplug(&old.instance).await.unwrap();
        // The switchover that goes before a change may have won; then its follower leads,
        // and all the more does somebody write.
        let later = moment + Duration::from_millis(500);
        scene.written_after(later).await;
        scene.settled_with_help().await;
        let lost = scene.ledger.lost().unwrap();
        println!("{} lost", lost.len());
    }
    scene.assert_one_leader().await;
}

/// An incident is being mended at the leader when its server dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_just_being_mended_is_taken_over_from() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    scene.kill_postmaster(&old).await;
    scene.incident(&["resource_down"]).await;
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    scene.written_by_another(moment, &old).await;
    scene.settled().await;
    scene.assert_one_leader().await;
}

/// Its cluster does not start, whatever is tried: the patience of its plan is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_no_restart_brings_back_is_taken_over_from() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    // No line of it can be read: PostgreSQL refuses to start.
    scene.break_configuration(&old).await;
    scene.kill_postmaster(&old).await;
    let moment = Instant::now();
    scene.written_by_another(moment, &old).await;
    scene.mend_configuration(&old).await;
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
}

/// A switchover has shut the leader down, and drover does not reach its server for a while. That
/// its follower hears nothing of it is no second witness then.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_a_switchover_has_shut_down_is_not_taken_for_dead() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    let pool = &scene.drover.pool;
    let held = Held::behind(pool, "stop").await;
    let ask = json!({"action": "switchover", "now": true, "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    held.met(pool).await;
    let machines = &scene.drover.machines().client;
    let (drover, leader) = (End::Host, End::Machine(old.instance.clone()));
    let cut = Fault::cut(drover.clone(), leader.clone());
    machines.break_network(cut).await.unwrap();
    let looked = until("it was looked at twice", PATIENCE, || async {
        let sql = "select count(*) from observations where subject_id = $1
             and not (attributes ->> 'service_available')::bool
             and created_at > (select opened_at from operations where kind = 'switchover')";
        let server = old.server.strip_prefix("srv_").unwrap();
        let times: i64 = sql::scalar(pool, sql, [server]).await;
        when(times >= 2, times)
    });
    looked.await.unwrap();
    machines.heal(drover, leader).await.unwrap();
    held.release().await;
    assert_eq!(scene.another_leads(&old).await.id, its.id);
    scene.settled_with_help().await;
    assert_eq!(scene.count_operations("failover").await, 0);
    let sql = "select count(*) from incidents where kind = 'server_down'";
    let down: i64 = sql::scalar(pool, sql, ()).await;
    assert_eq!(down, 0, "{}", scene.timeline().await);
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}
