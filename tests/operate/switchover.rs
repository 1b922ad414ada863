//! The lead is handed over under load, and back again: nothing that was acknowledged is
//! lost.

use drover_tests::PATIENCE;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_the_lead_under_load_and_nothing_is_lost() {
    let (world, id, follower) = World::with_a_pair().await;
    let more = json!({"name": "orders-second"});
    let path = format!("/v1/resources/{id}/followers");
    world.drover.post(&path, &more).await.unwrap();
    world.all_available(6).await;
    let ledger = world.written(&id).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    hand_over(&world, &id, &follower).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // And back again: by its id, the old leader is one of its followers.
    hand_over(&world, &follower, &id).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let longest = world.assert_nothing_lost(ledger).await;
    // Ten times what it takes; a pause of a machine under load is no failure.
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    // That the old leader was down is noticed, and left to the operation.
    world.drover.assert_nobody_was_called().await;
}

/// Hands the lead over from one to the other, and waits until both are where they
/// should be.
pub async fn hand_over(world: &World, from: &str, to: &str) {
    let name = world.name(from).await;
    let ask = json!({"action": "switchover", "to": to, "now": true, "reason": "a test"});
    let done = world.drover.act_until_done(from, &ask, PATIENCE).await;
    done.unwrap();
    let leader = world.drover.shown(to).await.unwrap();
    let old = world.drover.shown(from).await.unwrap();
    assert!(leader["leader"].is_null(), "{leader}");
    assert_eq!(leader["name"], name.as_str(), "the leader bears the name");
    assert_eq!(old["leader"], to, "{old}");
    assert_eq!(old["epoch"], leader["epoch"]);
    // Every follower streams from the new leader, the old one among them.
    let stream = |all: &Vec<Value>| all.iter().all(|one| one["state"] == "streaming");
    let both = |all: &Vec<Value>| all.len() == 2 && stream(all);
    let followed = |seen: &Value| seen["followers"].as_array().is_some_and(both);
    world.seen(to, followed).await;
    let none_left = |seen: &Value| seen["replication_slots"] == json!([]);
    world.seen(from, none_left).await;
}
