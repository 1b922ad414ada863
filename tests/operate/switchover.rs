//! The lead is handed over under load, and back again: nothing that was acknowledged is
//! lost.

use std::time::Duration;

use drover_tests::until;
use serde_json::json;

use crate::world::World;

const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_the_lead_under_load_and_nothing_is_lost() {
    let world = World::start(1).await;
    let id = world.ask("orders", "premium").await;
    world.all_available(4, SOON).await;
    let follower = world.follower_of(&id).await;
    let more = json!({"name": "orders-second"});
    let path = format!("/v1/resources/{id}/followers");
    world
        .drover
        .api
        .post::<serde_json::Value>(&path, &more)
        .await
        .unwrap();
    world.all_available(6, SOON).await;
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
    let path = format!("/v1/resources/{from}/actions");
    let asked = world
        .drover
        .api
        .post::<serde_json::Value>(&path, &ask)
        .await
        .unwrap();
    let operation = asked["id"].as_str().unwrap().to_owned();
    let done = until("the lead is handed over", SOON, || async {
        let seen = world
            .drover
            .api
            .get::<serde_json::Value>(&format!("/v1/operations/{operation}"))
            .await?;
        Ok(match seen["state"] == "done" {
            true => Ok(()),
            false => Err(format!("{} {}", seen["step_name"], seen["note"])),
        })
    });
    if let Err(e) = done.await {
        panic!("{e:#}\n{}", world.drover.processes.logs());
    }
    let leader = world
        .drover
        .api
        .get::<serde_json::Value>(&format!("/v1/resources/{to}"))
        .await
        .unwrap();
    let old = world
        .drover
        .api
        .get::<serde_json::Value>(&format!("/v1/resources/{from}"))
        .await
        .unwrap();
    assert!(leader["leader"].is_null(), "{leader}");
    assert_eq!(leader["name"], name.as_str(), "the leader bears the name");
    assert_eq!(old["leader"], to, "{old}");
    assert_eq!(old["epoch"], leader["epoch"]);
    // Every follower streams from the new leader, the old one among them.
    world
        .seen(to, |seen| {
            let followers = seen["followers"].as_array();
            followers.is_some_and(|all| {
                all.len() == 2 && all.iter().all(|one| one["state"] == "streaming")
            })
        })
        .await;
    world
        .seen(from, |seen| seen["replication_slots"] == json!([]))
        .await;
}
