//! Before a server is taken down on purpose, its leader hands over; where it cannot,
//! the server is taken down all the same.

use drover_tests::PATIENCE;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_resized_and_another_rebooted_under_load_and_clients_feel_a_switchover() {
    let (world, id, follower) = World::with_a_pair().await;
    world.until_idle(&follower).await;
    let ledger = world.written(&id).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let resize = json!({"action": "resize", "size": "large", "now": true, "reason": "a test"});
    let done = world.act(&id, resize).await;
    assert_handed_over(&world, &done, &id, &follower).await;
    let server = world.server_of(&id).await;
    let seen = world.drover.shown(&server).await;
    assert_eq!(seen.unwrap()["size"], "large");

    // It follows and stays so, until the new leader's server is to go down.
    let reboot = json!({"action": "reboot", "now": true, "reason": "a test"});
    let done = world.act(&world.server_of(&follower).await, reboot).await;
    assert_handed_over(&world, &done, &follower, &id).await;
    let move_it = json!({"action": "stop_start", "now": true, "reason": "a test"});
    let done = world.act(&world.server_of(&id).await, move_it).await;
    assert_handed_over(&world, &done, &id, &follower).await;

    tokio::time::sleep(Duration::from_secs(1)).await;
    let longest = world.assert_nothing_lost(ledger).await;
    // Ten times what a switchover takes.
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    world.drover.assert_nobody_was_called().await;

    // The server of one that follows is taken down without a word to its leader.
    let reboot = json!({"action": "reboot", "now": true, "reason": "a test"});
    let done = world.act(&world.server_of(&id).await, reboot).await;
    assert_eq!(said(&done), "nobody on it leads a follower");
    assert_eq!(world.leader_of(&id).await, follower.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_follower_that_would_do_goes_down_with_its_server() {
    let (world, id, follower) = World::with_a_pair().await;
    world.until_idle(&follower).await;
    world.hold().await;

    // Its follower answers, and gets nothing: that is found out, and waited for.
    let its = world.drover.node(&follower).await.unwrap();
    world.drover.lead_astray(&its).await.unwrap();
    let stands = |seen: &Value| {
        ["not running", "connecting"]
            .iter()
            .any(|status| seen["receiver"]["status"] == *status)
    };
    world.seen(&follower, stands).await;
    let reboot = json!({"action": "reboot", "now": true, "reason": "a test"});
    let done = world.act(&world.server_of(&id).await, reboot).await;
    assert!(said(&done).contains("does not stream"), "{}", said(&done));
    assert!(took(&done) > 55.0, "{done}");
    let given_up = world.asked_by(&done, &id).await;
    assert_eq!(given_up["state"], "cancelled", "{given_up}");

    // One that is down is not even asked.
    let server = world.server_of(&follower).await;
    world.drover.unplug(&its.instance).await.unwrap();
    let down = world.drover.turn_until(&server, "unavailable", PATIENCE);
    down.await.unwrap();
    let reboot = json!({"action": "reboot", "now": true, "reason": "a test"});
    let done = world.act(&world.server_of(&id).await, reboot).await;
    assert!(said(&done).contains("goes down with its server"), "{done}");
    assert!(took(&done) < 40.0, "{done}");
    assert_eq!(world.leader_of(&id).await, Value::Null);
    let customer = world.customer(&id).await;
    customer.psql("create table t (x int)").unwrap();
}

/// The operation had its leader hand over before it did anything, and left it a
/// follower.
async fn assert_handed_over(world: &World, done: &Value, from: &str, to: &str) {
    assert_eq!(said(done), "who led on it follows now", "{done}");
    let handed = world.asked_by(done, from).await;
    assert_eq!(handed["state"], "done", "{handed}");
    assert_eq!(world.leader_of(from).await, to);
    assert_eq!(world.leader_of(to).await, Value::Null);
}

/// How the step ended, in the words of the timeline.
fn said(done: &Value) -> String {
    let events = done["events"].as_array().unwrap();
    let ended = |e: &&Value| e["detail"]["step"] == "hand_over" && e["kind"] == "step";
    let found = events.iter().find(ended).expect("the step");
    found["text"].as_str().unwrap().to_owned()
}

/// Seconds from its opening to its end.
fn took(done: &Value) -> f64 {
    let at = |field: &str| -> chrono::DateTime<chrono::Utc> {
        done[field].as_str().unwrap().parse().unwrap()
    };
    (at("ended_at") - at("opened_at")).as_seconds_f64()
}

impl World {
    async fn server_of(&self, id: &str) -> String {
        let seen = self.drover.shown(id).await;
        seen.unwrap()["server"].as_str().unwrap().to_owned()
    }

    /// The switchover of a resource that an operation asked for.
    async fn asked_by(&self, operation: &Value, resource: &str) -> Value {
        let path = format!("/v1/operations?subject={resource}");
        let all = self.drover.get(&path).await.unwrap();
        let all = all["items"].as_array().unwrap();
        let found = all.iter().find(|one| one["asked_by"] == operation["id"]);
        let found = found.expect("a switchover").clone();
        assert_eq!(found["kind"], "switchover", "{found}");
        found
    }

    async fn leader_of(&self, id: &str) -> Value {
        let seen = self.drover.shown(id).await;
        seen.unwrap()["leader"].clone()
    }
}
