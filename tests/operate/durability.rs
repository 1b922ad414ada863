//! Durability `sync`: what was acknowledged is in two places, and what cannot be is
//! not acknowledged.

use std::process::Child;
use std::time::Duration;

use drover_tests::{Lead, PATIENCE, until, when};
use serde_json::{Value, json};

use crate::world::World;

/// Within this, a commit that waits for nobody is acknowledged many times over.
const LONG: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_waits_for_a_follower_or_for_whoever_frees_it() {
    let world = World::start(1).await;
    let id = world.sync_pair("orders").await;
    let follower = world.follower_of(&id).await;
    world.hold().await;
    let customer = world.customer(&id).await;
    customer.psql("create table t (x int primary key)").unwrap();

    // Its only follower gets nothing more: the commit is not acknowledged, while what
    // drover itself does at the leader waits for nobody.
    let receiver = world.freeze_receiver(&follower).await;
    let mut one = customer.begin("insert into t values (1)").unwrap();
    tokio::time::sleep(LONG).await;
    assert!(one.try_wait().unwrap().is_none(), "acknowledged too early");
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    assert_eq!(customer.psql(waits).unwrap(), "1");
    assert_eq!(customer.psql("select count(*) from t").unwrap(), "0");
    let secret = json!({"action": "rotate_password", "password": "another-password-1"});
    world.act(&id, secret).await;
    receiver.thaw().await;
    acknowledged(one).await;
    let customer = world.customer(&id).await;
    assert_eq!(customer.psql("select x from t").unwrap(), "1");

    // Whoever would rather write than be safe says so, and what waits goes on.
    let receiver = world.freeze_receiver(&follower).await;
    let mut two = customer.begin("insert into t values (2)").unwrap();
    tokio::time::sleep(LONG).await;
    assert!(two.try_wait().unwrap().is_none(), "acknowledged too early");
    world.act(&id, set("async")).await;
    acknowledged(two).await;
    customer.psql("insert into t values (3)").unwrap();
    let both = [id.as_str(), &follower];
    assert_eq!(world.durabilities(&both).await, ["async"; 2]);
    receiver.thaw().await;

    // And back: from the operation's end on, it waits again.
    world.act(&id, set("sync")).await;
    assert_eq!(world.durabilities(&both).await, ["sync"; 2]);
    let receiver = world.freeze_receiver(&follower).await;
    let mut four = customer.begin("insert into t values (4)").unwrap();
    tokio::time::sleep(LONG).await;
    assert!(four.try_wait().unwrap().is_none(), "acknowledged too early");
    receiver.thaw().await;
    acknowledged(four).await;

    // The last follower stays, until nobody waits for it; then it writes by itself,
    // though it was copied from one that waited.
    let part = json!({"action": "unfollow"});
    let refused = world.drover.act(&follower, &part).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("last follower"), "{refused}");
    world.act(&id, set("async")).await;
    world.act(&follower, part).await;
    let own = world.customer(&follower).await;
    acknowledged(own.begin("insert into t values (5)").unwrap()).await;
    assert_eq!(world.names(&follower).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_pair_hands_its_lead_over_and_the_new_leader_waits_in_its_turn() {
    let world = World::start(1).await;
    let id = world.sync_pair("orders").await;
    let follower = world.follower_of(&id).await;
    let ledger = world.written(&id).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let hand_over = json!({"action": "switchover", "now": true, "reason": "a test"});
    let done = world.act(&id, hand_over).await;
    // It got its list before it was promoted, not when somebody came by.
    let events = done["events"].as_array().unwrap();
    let at = |what: &str| {
        let found = |e: &Value| e["detail"]["step"] == what && e["kind"] == "step";
        events.iter().position(found).expect(what)
    };
    assert!(at("names") < at("promote"), "{events:?}");
    let said = events[at("names")]["text"].as_str().unwrap();
    assert!(said.contains("ANY 1 (\"f_"), "{said}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let longest = world.assert_nothing_lost(ledger).await;
    // Ten times what it takes; the first commit waits for the old leader to follow.
    assert!(longest < Duration::from_secs(40), "{longest:?}");

    let both = [id.as_str(), &follower];
    assert_eq!(world.durabilities(&both).await, ["sync"; 2]);
    let slot = |id: &str| format!("f_{}", &id.to_lowercase()[3..]);
    let waits_for = format!("ANY 1 (\"{}\")", slot(&id));
    assert_eq!(world.names(&follower).await, waits_for);
    world.hold().await;
    let customer = world.customer(&follower).await;
    let receiver = world.freeze_receiver(&id).await;
    let mut one = customer.begin("insert into ledger values (-1)").unwrap();
    tokio::time::sleep(LONG).await;
    assert!(one.try_wait().unwrap().is_none(), "acknowledged too early");
    receiver.thaw().await;
    acknowledged(one).await;

    // A second follower is waited for too, and no more once it is gone.
    let more = json!({"name": "orders-second"});
    let path = format!("/v1/resources/{follower}/followers");
    let second = world.drover.post(&path, &more).await.unwrap();
    let second = second["id"].as_str().unwrap().to_owned();
    world.until_idle(&second).await;
    let of_both = format!("ANY 1 (\"{}\", \"{}\")", slot(&id), slot(&second));
    assert_eq!(world.names(&follower).await, of_both);
    let receiver = world.freeze_receiver(&id).await;
    customer.psql("insert into ledger values (-2)").unwrap();
    receiver.thaw().await;
    let path = format!("/v1/resources/{second}?confirm=orders-second");
    world.drover.delete(&path).await.unwrap();
    until("its list is as before", PATIENCE, || async {
        let names = world.names(&follower).await;
        when(names == waits_for, names)
    })
    .await
    .unwrap();
}

fn set(durability: &str) -> Value {
    json!({"action": "set_durability", "durability": durability})
}

/// A commit that was waited for is acknowledged.
async fn acknowledged(mut psql: Child) {
    let psql = &mut psql;
    let mut ended = None;
    for _ in 0..200 {
        ended = psql.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if ended.is_none() {
        psql.kill().unwrap();
    }
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

/// A process of a node's that is stopped.
pub struct Frozen<'a> {
    world: &'a World,
    node: Lead,
    pid: String,
}

impl Frozen<'_> {
    pub async fn thaw(self) {
        let go_on = format!("kill -CONT {}", self.pid);
        self.world.drover.at(&self.node, &go_on).await.unwrap();
    }
}

impl World {
    /// A leader with its follower, made with durability `sync`, each where it should be.
    pub async fn sync_pair(&self, name: &str) -> String {
        let body = json!({"name": name, "plan": "premium", "durability": "sync"});
        let id = self.drover.ask_for(&body).await.unwrap();
        self.all_available(4).await;
        self.until_idle(&self.follower_of(&id).await).await;
        let quorum = |seen: &Value| seen["followers"][0]["sync_state"] == "quorum";
        let seen = self.seen(&id, quorum).await;
        assert_eq!(seen["followers"][0]["state"], "streaming", "{seen}");
        id
    }

    /// Nobody mends what a test breaks.
    pub async fn hold(&self) {
        let body = json!({"mode": "hold", "reason": "a test breaks things"});
        self.drover.put("/v1/modes/herd", &body).await.unwrap();
    }

    /// Asks something of a resource or a server, and waits until it is done.
    pub async fn act(&self, id: &str, what: Value) -> Value {
        let done = self.drover.act_until_done(id, &what, PATIENCE).await;
        done.unwrap()
    }

    /// Until no operation of a resource is open.
    pub async fn until_idle(&self, id: &str) {
        until("no operation is open", PATIENCE, || async {
            let seen = self.drover.shown(id).await?;
            when(seen["operation"].is_null(), seen["operation"].to_string())
        })
        .await
        .unwrap();
    }

    async fn durabilities(&self, ids: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        for id in ids {
            let seen = self.drover.shown(id).await;
            all.push(seen.unwrap()["durability"].as_str().unwrap().to_owned());
        }
        all
    }

    /// Whom the commits of a leader wait for.
    async fn names(&self, id: &str) -> String {
        let customer = self.customer(id).await;
        customer.psql("show synchronous_standby_names").unwrap()
    }

    /// Stops the process of a follower that gets WAL: it stays connected, and confirms
    /// nothing.
    pub async fn freeze_receiver(&self, follower: &str) -> Frozen<'_> {
        let node = self.drover.node(follower).await.unwrap();
        let stop = "p=$(pgrep -f [w]alreceiver) && kill -STOP $p && echo $p";
        let pid = self.drover.at(&node, stop).await.expect("a walreceiver");
        Frozen {
            world: self,
            node,
            pid,
        }
    }
}
