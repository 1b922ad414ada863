//! Those who are behind, beyond, or late: followers that have too little or too much, and
//! leaders that nobody can prove to be dead.

use std::time::{Duration, Instant};

use drover_tests::{PATIENCE, Says, sql, until, when};
use serde_json::json;

use crate::scene::Scene;

/// More than may be lost is not lost without a human's word.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_too_far_behind_leads_by_a_humans_word_alone() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    scene.falls_behind(&old, &its).await;
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    scene.end_receiver(&its).await;
    let (id, why) = scene.stuck("failover").await;
    assert!(why.contains("at most may be lost"), "{why}");
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    let unsaid = json!({"action": "override"});
    let unsaid = scene.drover.act(&id, &unsaid).await;
    assert!(unsaid.is_err(), "without a reason");
    let better = "better late than never";
    scene.led_by_a_humans_word(&id, better, moment, &old).await;
    let memo = scene.rebuilt(&old.id).await;
    assert!(memo["lost_bytes"].as_u64() > Some(100_000), "{memo}");
    scene.assert_one_leader().await;
}

/// Its leader keeps its connection for a minute, and calls it a streaming one. It has
/// nearly all that was seen to be written; what was written since is not known.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_did_not_stream_any_more_leads_by_a_humans_word_alone() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    scene.hold_receiver(&its).await;
    scene.observed_with_a_silent_follower(&old).await;
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    let (id, why) = scene.stuck("failover").await;
    assert!(why.contains("did not stream any more"), "{why}");
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    scene.end_receiver(&its).await;
    let only = "it is the only one";
    scene.led_by_a_humans_word(&id, only, moment, &old).await;
}

/// Every observation shows it streaming. It stopped before its leader died, and nobody has
/// seen that.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_told_to_follow_another_leads_by_a_humans_word_alone() {
    let rules = json!({"limits": {"stalled_for": "5m"}});
    let scene = Scene::start_with("async", 1, rules).await;
    let (old, its) = scene.pair().await;
    scene.observed_with_a_follower(&old).await;
    scene.drover.lead_astray(&its).await.unwrap();
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    let (id, why) = scene.stuck("failover").await;
    assert!(why.contains("told to follow another"), "{why}");
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    let only = "it is the only one";
    scene.led_by_a_humans_word(&id, only, moment, &old).await;
}

/// Its machine can be neither asked nor stopped, and it may well be writing.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_proof_nobody_is_promoted_until_a_human_answers_for_it() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    scene.nobody_knows_its_machine(&old).await;
    let ask = json!({"action": "failover", "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    let (id, why) = scene.stuck("failover").await;
    assert!(why.contains("nothing proves"), "{why}");
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    scene.written_after(Instant::now()).await;
    let path = format!("/v1/operations/{id}/actions");
    let word = json!({"action": "override", "reason": "I have pulled its plug", "by": "ann"});
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    scene.drover.post(&path, &word).await.unwrap();
    scene.written_by_another(moment, &old).await;
    scene.another_leads(&old).await;
    assert_eq!(scene.fenced_by(&old).await, "override");
    let told = scene.drover.shown(&id).await.unwrap();
    told.to_string().says(["I have pulled its plug"]);
    scene.its_machine_is_known_again(&old).await;
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
}

/// One has what its new leader never had: it gives that up, and follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_beyond_the_fork_is_made_to_follow_all_the_same() {
    let mut scene = Scene::start("async", 2).await;
    scene.larger_herd(6).await;
    let old = scene.lead().await;
    let followers = scene.followers().await;
    let near = scene.drover.node(&followers[0]).await.unwrap();
    let far = scene.drover.node(&followers[1]).await.unwrap();
    // That one dies with the leader and is rebooted within seconds: it would be the
    // better one, and does not start.
    scene.break_configuration(&far).await;
    // The one that will lead gets nothing of this, and the other one all of it. Nobody
    // sees that: one that was seen not to stream would need a human's word.
    scene.hold_feelers(true);
    scene.hold_receiver(&near).await;
    let beyond = "create table beyond as select generate_series(1, 1000) x";
    scene.sql(&old, beyond).await;
    let end = scene.sql(&old, "select pg_current_wal_lsn()").await;
    scene.has_received(&far, &end).await;
    scene.unplug_both(&far, &old).await;
    scene.end_receiver(&near).await;
    scene.hold_feelers(false);
    let new = scene.another_leads(&old).await;
    assert_eq!(new.id, near.id);
    scene.mend_configuration(&far).await;
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
    assert_eq!(scene.followers().await.len(), 2);
    // What was never acknowledged by the new leader is gone.
    let gone = "select to_regclass('beyond') is null";
    assert_eq!(scene.sql(&new, gone).await, "t");
}

/// An old leader comes back and takes writes: it is stopped before anything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_takes_writes_is_stopped_at_once_and_follows_again() {
    let scene = Scene::start("async", 1).await;
    let follower = scene.followers().await.remove(0);
    let its = scene.drover.node(&follower).await.unwrap();
    scene.sql(&its, "select pg_promote()").await;
    scene.sql(&its, "create table astray (x int)").await;
    scene.incident(&["split_brain"]).await;
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
    let gone = "select to_regclass('astray') is null";
    assert_eq!(scene.sql(&its, gone).await, "t");
    let sql = "select count(*) from outbox m join incidents i on i.id = m.incident_id
         where i.kind = 'split_brain' and m.channel = 'page' and m.action = 'trigger'";
    let paged: i64 = sql::scalar(&scene.drover.pool, sql, ()).await;
    assert_eq!(paged, 1, "a page, at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_destroyed_while_it_is_rebuilt_leaves_nothing() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    let ask = json!({"action": "failover", "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    let new = scene.another_leads(&old).await;
    let sql = "select count(*) from operations
         where kind = 'rebuild' and state = 'open' and step_name <> ''";
    let pool = &scene.drover.pool;
    sql::until(pool, "it is being rebuilt", PATIENCE, sql, |n: &i64| *n > 0).await;
    let its = scene.resource(&old.id).await;
    let name = its["name"].as_str().unwrap();
    let path = format!("/v1/resources/{}?confirm={name}", old.id);
    scene.drover.delete(&path).await.unwrap();
    let sql = "select (select count(*) from subjects where forgotten_at is null)
                  + (select count(*) from operations where state = 'open' and kind <> 'reconcile')";
    until("it is gone", PATIENCE, || async {
        let left: i64 = sql::scalar(pool, sql, ()).await;
        let there = scene.drover.cloud().server(&old.instance).await?;
        when(left == 2 && there.is_none(), format!("{left} are left"))
    })
    .await
    .unwrap();
    // Who leads now keeps nothing for it, and serves.
    until("no slot is kept", PATIENCE, || async {
        let kept = "select count(*) from pg_replication_slots";
        let slots = scene.sql(&new, kept).await;
        when(slots == "0", slots)
    })
    .await
    .unwrap();
    scene.written_after(Instant::now()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}
