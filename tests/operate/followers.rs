//! Followers: made with their leader or later, close to it, parted from it, destroyed.

use drover_tests::{Account, PATIENCE, Shows, sql, until, when};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_premium_database_has_a_follower_in_another_zone_that_clients_find() {
    let (world, id, follower) = World::with_a_pair().await;
    assert_ne!(world.zone(&id).await, world.zone(&follower).await);

    // What the leader takes is there at the follower, which takes nothing itself.
    let writer = world.customer(&id).await;
    let reader = world.drover.account_for(&id, "follower").await.unwrap();
    let nodes = writer.url.matches("198.18.").count();
    assert_eq!(nodes, 2, "both nodes: {}", writer.url);
    writer.psql("create table t as select 7 as x").unwrap();
    until("the row at the follower", PATIENCE, || async {
        Ok(reader.psql("select x, pg_is_in_recovery() from t"))
    })
    .await
    .unwrap();
    let refused = reader.psql("insert into t values (8)").unwrap_err();
    assert!(refused.contains("read-only"), "{refused}");

    // Both sides say how close it is.
    let streams = |seen: &Value| seen["followers"][0]["state"] == "streaming";
    let seen = world.seen(&id, streams).await;
    assert_eq!(seen["followers"][0]["sync_state"], "async", "{seen}");
    let slot = &seen["replication_slots"][0];
    assert_eq!(slot["wal_status"], "reserved", "{seen}");
    let streams = |seen: &Value| seen["receiver"]["status"] == "streaming";
    let seen = world.seen(&follower, streams).await;
    seen.shows(json!({"timeline": 1, "in_recovery": true}));

    // No password of a follower's can be read from what a server tells of itself.
    let its = world.drover.node(&follower).await.unwrap();
    let told = "grep -rIl password= --include='*.conf' /etc/postgresql /var/lib/postgresql || true";
    assert_eq!(world.drover.at(&its, told).await.unwrap(), "");

    // A second one, then the first parted from the leader: it writes by itself.
    let more = json!({"name": "orders-reader", "zone": world.zone(&follower).await});
    let path = format!("/v1/resources/{id}/followers");
    world.drover.post(&path, &more).await.unwrap();
    world.all_available(6).await;
    let part = json!({"action": "unfollow", "reason": "a copy to try things with"});
    world.drover.act(&follower, &part).await.unwrap();
    until("it leads", PATIENCE, || async {
        let seen = world.drover.shown(&follower).await?;
        let leads = seen["leader"].is_null() && seen["operation"].is_null();
        when(leads, seen["operation"].to_string())
    })
    .await
    .unwrap();
    let own = world.customer(&follower).await;
    own.psql("insert into t values (9)").unwrap();
    // Its server knows by whose word: a record from before is behind that.
    let sql = "select id from operations where kind = 'unfollow'";
    let operation: String = sql::scalar(&world.drover.pool, sql, ()).await;
    let knows = format!("grep -l {operation} /var/lib/drover/words/* | wc -l");
    assert_eq!(world.drover.at(&its, &knows).await.unwrap().trim(), "1");
    let slots = |seen: &Value| seen["replication_slots"].as_array().map(Vec::len);
    world.seen(&id, |seen| slots(seen) == Some(1)).await;

    // A leader takes its followers along; who was parted stays.
    let path = format!("/v1/resources/{id}?confirm=orders");
    world.drover.delete(&path).await.unwrap();
    world.all_available(2).await;
    let name = world.name(&follower).await;
    let path = format!("/v1/resources/{follower}?confirm={name}");
    world.drover.delete(&path).await.unwrap();
    world.until_nothing_is_left().await;
    world.assert_no_incident().await;
}

impl World {
    /// One with a leader, and its follower.
    pub async fn with_a_pair() -> (Self, String, String) {
        let world = Self::start(1).await;
        let id = world.ask("orders", "premium").await;
        world.all_available(4).await;
        let follower = world.follower_of(&id).await;
        (world, id, follower)
    }

    pub async fn ask(&self, name: &str, plan: &str) -> String {
        let body = json!({"name": name, "plan": plan});
        self.drover.ask_for(&body).await.unwrap()
    }

    /// The first of them.
    pub async fn follower_of(&self, id: &str) -> String {
        self.drover.followers_of(id).await.unwrap().remove(0)
    }

    /// A customer, who writes.
    pub async fn customer(&self, id: &str) -> Account {
        self.drover.account(id).await.unwrap()
    }

    pub async fn name(&self, id: &str) -> String {
        let seen = self.drover.shown(id).await.unwrap();
        seen["name"].as_str().unwrap().to_owned()
    }

    async fn zone(&self, id: &str) -> String {
        let seen = self.drover.shown(id).await.unwrap();
        let server = seen["server"].as_str().unwrap();
        let seen = self.drover.shown(server).await.unwrap();
        seen["zone"].as_str().unwrap().to_owned()
    }

    /// The newest observation of a resource, once it shows this.
    pub async fn seen(&self, id: &str, shows: impl Fn(&Value) -> bool) -> Value {
        let (seen, _) = until("an observation that shows it", PATIENCE, || async {
            let subject = self.drover.shown(id).await?;
            let seen = subject["last_observation"]["attributes"].clone();
            when(shows(&seen), seen)
        })
        .await
        .unwrap();
        seen
    }
}
