//! Followers: made with their leader or later, close to it, parted from it, destroyed.

use std::process::Command;
use std::time::Duration;

use drover_tests::until;
use serde_json::{Value, json};

use crate::world::World;

const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_premium_database_has_a_follower_in_another_zone_that_clients_find() {
    let world = World::start(1).await;
    let id = world.ask("orders", "premium").await;
    world.all_available(4, SOON).await;
    let follower = world.follower_of(&id).await;
    assert_ne!(world.zone(&id).await, world.zone(&follower).await);

    // What the leader takes is there at the follower, which takes nothing itself.
    let writer = world.url(&id, "leader").await;
    let reader = world.url(&id, "follower").await;
    assert_eq!(writer.matches("127.77.").count(), 2, "both nodes: {writer}");
    world
        .psql(&id, &writer, "create table t as select 7 as x")
        .unwrap();
    until("the row at the follower", SOON, || async {
        Ok(world.psql(&id, &reader, "select x, pg_is_in_recovery() from t"))
    })
    .await
    .unwrap();
    let refused = world
        .psql(&id, &reader, "insert into t values (8)")
        .unwrap_err();
    assert!(refused.contains("read-only"), "{refused}");

    // Both sides say how close it is.
    let seen = world
        .seen(&id, |seen| seen["followers"][0]["state"] == "streaming")
        .await;
    assert_eq!(seen["followers"][0]["sync_state"], "async", "{seen}");
    let slot = &seen["replication_slots"][0];
    assert_eq!(slot["wal_status"], "reserved", "{seen}");
    let seen = world
        .seen(&follower, |seen| seen["receiver"]["status"] == "streaming")
        .await;
    assert_eq!(seen["timeline"], 1, "{seen}");
    assert_eq!(seen["in_recovery"], true, "{seen}");

    // No password of a follower's can be read from what a server tells of itself.
    let dir = world.drover.local_dir().join("servers");
    let auto = Command::new("grep")
        .args(["-rIl", "password=", "--include=*.conf"])
        .arg(&dir)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&auto.stdout), "");

    // A second one, then the first parted from the leader: it writes by itself.
    let more = json!({"name": "orders-reader", "zone": world.zone(&follower).await});
    let path = format!("/v1/resources/{id}/followers");
    world.drover.api.post::<Value>(&path, &more).await.unwrap();
    world.all_available(6, SOON).await;
    let part = json!({"action": "unfollow", "reason": "a copy to try things with"});
    let path = format!("/v1/resources/{follower}/actions");
    world.drover.api.post::<Value>(&path, &part).await.unwrap();
    until("it leads", SOON, || async {
        let seen = world
            .drover
            .api
            .get::<Value>(&format!("/v1/resources/{follower}"))
            .await?;
        Ok(
            match seen["leader"].is_null() && seen["operation"].is_null() {
                true => Ok(()),
                false => Err(seen["operation"].to_string()),
            },
        )
    })
    .await
    .unwrap();
    let own = world.url(&follower, "leader").await;
    world
        .psql(&follower, &own, "insert into t values (9)")
        .unwrap();
    let slots = world.seen(&id, |seen| {
        seen["replication_slots"].as_array().map(Vec::len) == Some(1)
    });
    slots.await;

    // A leader takes its followers along; who was parted stays.
    world
        .drover
        .api
        .delete::<Value>(&format!("/v1/resources/{id}?confirm=orders"))
        .await
        .unwrap();
    world.all_available(2, SOON).await;
    let name = world
        .drover
        .api
        .get::<Value>(&format!("/v1/resources/{follower}"))
        .await
        .unwrap();
    let name = name["name"].as_str().unwrap().to_owned();
    let path = format!("/v1/resources/{follower}?confirm={name}");
    world.drover.api.delete::<Value>(&path).await.unwrap();
    world.until_nothing_is_left(SOON).await;
    world.assert_no_incident().await;
}

impl World {
    pub async fn ask(&self, name: &str, plan: &str) -> String {
        // Regions are published by a resolve worker at its start.
        let body = json!({"name": name, "plan": plan});
        let (made, _) = until("it may be asked for", SOON, || async {
            Ok(self
                .drover
                .api
                .post::<Value>("/v1/resources", &body)
                .await
                .map_err(|e| e.to_string()))
        })
        .await
        .unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn follower_of(&self, id: &str) -> String {
        let all = self.drover.api.get::<Value>("/v1/resources").await.unwrap();
        let found = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["leader"] == id);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub async fn name(&self, id: &str) -> String {
        let seen = self
            .drover
            .api
            .get::<Value>(&format!("/v1/resources/{id}"))
            .await
            .unwrap();
        seen["name"].as_str().unwrap().to_owned()
    }

    async fn zone(&self, id: &str) -> String {
        let seen = self
            .drover
            .api
            .get::<Value>(&format!("/v1/resources/{id}"))
            .await
            .unwrap();
        let server = seen["server"].as_str().unwrap();
        let seen = self
            .drover
            .api
            .get::<Value>(&format!("/v1/servers/{server}"))
            .await
            .unwrap();
        seen["zone"].as_str().unwrap().to_owned()
    }

    pub async fn url(&self, id: &str, role: &str) -> String {
        let path = format!("/v1/resources/{id}/url?role={role}");
        let told = self.drover.api.get::<Value>(&path).await.unwrap();
        std::fs::write(
            self.root_certs(id),
            told["tls_root_certs"].as_str().unwrap(),
        )
        .unwrap();
        told["url"].as_str().unwrap().to_owned()
    }

    pub fn root_certs(&self, id: &str) -> std::path::PathBuf {
        self.drover.dir().join(format!("{id}.crt"))
    }

    /// psql as a customer uses it; the password comes from where they get it.
    pub fn psql(&self, id: &str, url: &str, sql: &str) -> Result<String, String> {
        let credentials = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let path = format!("/v1/resources/{id}/credentials");
                self.drover.api.get::<Value>(&path).await.unwrap()
            })
        });
        let done = Command::new("psql")
            .args(["-XAtc", sql, url])
            .env("PGPASSWORD", credentials["password"].as_str().unwrap())
            .env("PGSSLROOTCERT", self.root_certs(id))
            .env("PGCONNECT_TIMEOUT", "5")
            .output()
            .unwrap();
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        }
    }

    /// The newest observation of a resource, once it shows this.
    pub async fn seen(&self, id: &str, shows: impl Fn(&Value) -> bool) -> Value {
        let (seen, _) = until("an observation that shows it", SOON, || async {
            let subject = self
                .drover
                .api
                .get::<Value>(&format!("/v1/resources/{id}"))
                .await?;
            let seen = subject["last_observation"]["attributes"].clone();
            Ok(if shows(&seen) {
                Ok(seen)
            } else {
                Err(seen.to_string())
            })
        })
        .await
        .unwrap();
        seen
    }
}
