//! A leader may die at any moment: who takes its lead, what is lost, and what becomes of
//! it. Real servers, real PostgreSQL, real processes.

// The longest comes first: tests are begun in the order of their names.
mod at_each_step;
mod behind_the_fence;
mod cut_off;
mod list;
mod nodes;
mod old_record;
mod revoked;
mod scene;
mod stale;
mod while_changing;
mod zones;

use std::time::{Duration, Instant};

use drover_tests::Shows;
use scene::Scene;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_the_lead_of_one_whose_server_is_unplugged() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    let follower = scene.followers().await.remove(0);
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    let took = scene.written_by_another(moment, &old).await;
    // Ten times what it may take at worst.
    assert!(took < Duration::from_secs(150), "{took:?}");

    // The name, the followers and the number of the lead are the new one's.
    let new = scene.another_leads(&old).await;
    assert_eq!(new.id, follower);
    let leads = scene.resource(&new.id).await;
    leads.shows(json!({"name": "orders", "epoch": 2}));
    scene.settled().await;
    let follows = scene.resource(&old.id).await;
    follows.shows(json!({"leader": new.id, "epoch": 2}));
    let memo = scene.rebuilt(&old.id).await;
    assert_eq!(memo["rewound"], true, "{memo}");
    assert_eq!(memo["copied"], false, "{memo}");
    // What was lost, if anything, stands in the record, and is below the limit.
    let lost = scene.ledger.lost().unwrap();
    let bytes = memo["lost_bytes"].as_u64().unwrap_or(0);
    assert!(lost.is_empty() || bytes > 0, "{lost:?}, {memo}");
    assert!(bytes <= 16 * 1024 * 1024, "{memo}");
    scene.assert_told("failover", &old.id, &new.id).await;
    scene.drover.assert_nobody_was_called().await;
}

/// Nothing answers, nothing refuses either; and the machine may go on at any time.
#[tokio::test(flavor = "multi_thread")]
async fn one_whose_server_is_frozen_is_fenced_before_it_could_go_on() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    let moment = Instant::now();
    scene.drover.freeze(&old.instance).await.unwrap();
    let took = scene.written_by_another(moment, &old).await;
    assert!(took < Duration::from_secs(150), "{took:?}");
    // Nothing that was frozen is left to go on.
    scene.drover.thaw(&old.instance).await;
    scene.settled().await;
    assert_eq!(
        scene.resource(&old.id).await["leader"],
        scene.lead().await.id
    );
    scene.assert_written_by_one_at_a_time();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_pair_loses_nothing_that_was_acknowledged() {
    let scene = Scene::start("sync", 1).await;
    for _ in 0..2 {
        let old = scene.lead().await;
        let moment = Instant::now();
        scene.drover.unplug(&old.instance).await.unwrap();
        scene.written_by_another(moment, &old).await;
        scene.settled().await;
        assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    }
    assert_eq!(scene.resource(&scene.lead().await.id).await["epoch"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_and_one_of_two_followers_die_together() {
    let mut scene = Scene::start("async", 2).await;
    // Two of three would be too many at once: the herd is larger.
    scene.larger_herd(6).await;
    let old = scene.lead().await;
    let followers = scene.followers().await;
    let dies = scene.drover.node(&followers[0]).await.unwrap();
    // It is rebooted within seconds, and may be the better one: it does not start.
    scene.break_configuration(&dies).await;
    let moment = Instant::now();
    scene.unplug_both(&dies, &old).await;
    scene.written_by_another(moment, &old).await;
    assert_eq!(scene.another_leads(&old).await.id, followers[1]);
    scene.mend_configuration(&dies).await;
    // Both come back, and follow who leads now.
    scene.settled().await;
    let mut now = scene.followers().await;
    now.sort();
    let mut expected = vec![old.id, dies.id];
    expected.sort();
    assert_eq!(now, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_nodes_die_one_of_those_that_come_back_leads() {
    let mut scene = Scene::start("async", 1).await;
    scene.larger_herd(6).await;
    let (old, its) = scene.pair().await;
    scene.drover.unplug(&its.instance).await.unwrap();
    scene.drover.unplug(&old.instance).await.unwrap();
    let moment = Instant::now();
    scene.written_after(moment).await;
    scene.settled().await;
    let leads = scene.lead().await;
    // A follower that is back first leads; else the leader does, as before.
    let epoch = if leads.id == old.id { 1 } else { 2 };
    assert_eq!(scene.resource(&leads.id).await["epoch"], epoch);
    let lost = scene.ledger.lost().unwrap();
    if epoch == 2 {
        let memo = scene.rebuilt(&old.id).await;
        assert!(
            lost.is_empty() || memo["lost_bytes"].as_u64() > Some(0),
            "{lost:?} {memo}"
        );
    } else {
        assert_eq!(lost, Vec::<u64>::new());
    }
    scene.assert_one_leader().await;
}

/// What drover is refused says nothing of whether customers are served.
#[tokio::test(flavor = "multi_thread")]
async fn who_lets_drover_in_no_more_but_serves_keeps_its_lead() {
    let scene = Scene::start_with("async", 1, json!({"patience": {"answering": "3s"}})).await;
    let old = scene.lead().await;
    scene
        .sql(
            &old,
            "revoke connect on database drover from drover, public",
        )
        .await;
    let opened = scene
        .incident(&["resource_down", "credentials_refused"])
        .await;
    println!("{opened}");
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(scene.count_operations("failover").await, 0);
    scene.assert_leads(&old).await;
    let moment = Instant::now();
    scene.written_after(moment).await;
    scene
        .sql(&old, "grant connect on database drover to drover")
        .await;
    scene.settled_with_help().await;
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
}
