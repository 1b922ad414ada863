//! The leader dies while something is being done with it, or with its server.

use std::time::{Duration, Instant};

use drover_tests::{PATIENCE, sql};
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
