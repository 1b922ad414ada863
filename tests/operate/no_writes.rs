//! A leader that answers and takes no writes: a human is called at once, and it is left alone.

use drover_tests::{Lead, PATIENCE, sql, until, when};
use serde_json::json;

use crate::world::World;

impl World {
    /// Until an incident of this kind is there and `is` says so of its state.
    async fn incident_is(&self, node: &str, kind: &str, is: fn(&str) -> bool) {
        let sql = "select state from incidents where subject_id = $1 and kind = $2";
        let binds = (node.strip_prefix("db_").unwrap(), kind);
        let found = until(kind, PATIENCE, || async {
            let state: Option<(String,)> = sql::first(&self.drover.pool, sql, binds).await;
            let state = state.unwrap_or_default().0;
            when(is(&state), state)
        });
        if let Err(e) = found.await {
            panic!("{e:#}\n{}", self.drover.processes.logs());
        }
    }

    /// Somebody was paged about it, and nothing was done.
    async fn assert_only_told(&self, kind: &str) {
        let pages = "select count(*) from outbox m join incidents i on i.id = m.incident_id
             where i.kind = $1 and m.channel = 'page' and m.action = 'trigger'";
        let pages: i64 = sql::scalar(&self.drover.pool, pages, [kind]).await;
        assert_eq!(pages, 1, "{kind}");
        let done = "select count(*) from operations
             where kind in ('restart', 'reboot', 'failover', 'stop_start')";
        let done: i64 = sql::scalar(&self.drover.pool, done, ()).await;
        assert_eq!(done, 0, "{kind}");
    }

    async fn quick() -> Self {
        let rules = json!({"cadence": {"available": "1s"}, "limits": {"commit_wait": "3s"}});
        Self::with_rules(1, &rules).await
    }

    async fn does(&self, node: &Lead, script: &str) {
        self.drover.at(node, script).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_for_a_follower_call_a_human() {
    let world = World::quick().await;
    let id = world.sync_pair("orders").await;
    let customer = world.customer(&id).await;
    customer.psql("create table t (x int)").unwrap();
    let follower = world.follower_of(&id).await;
    let receiver = world.freeze_receiver(&follower).await;
    let mut waits = customer.begin("insert into t values (1)").unwrap();
    world
        .incident_is(&id, "commits_wait", |state| state == "needs_human")
        .await;
    assert!(waits.try_wait().unwrap().is_none(), "it waits still");
    receiver.thaw().await;
    world
        .incident_is(&id, "commits_wait", |state| state == "resolved")
        .await;
    assert!(waits.wait().unwrap().success());
    world.assert_only_told("commits_wait").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_in_recovery_calls_a_human() {
    let world = World::quick().await;
    let id = world.ask("orders", "production").await;
    world.all_available(2).await;
    world.until_idle(&id).await;
    let node = world.drover.node(&id).await.unwrap();
    // It is away for less than a lap, or is held to be starting: that is no incident.
    let restart = "pg_lsclusters -h | { read -r v n _; pg_ctlcluster $v $n restart; }";
    let mode = json!({"mode": "advise", "reason": "a test restarts it"});
    world.drover.put("/v1/modes/herd", &mode).await.unwrap();
    let signal = "sudo -u postgres sh -c 'cd /var/lib/postgresql/*/*/ && touch standby.signal'";
    world.does(&node, &format!("{signal} && {restart}")).await;
    world
        .incident_is(&id, "leader_in_recovery", |state| state == "needs_human")
        .await;
    let lead = "rm /var/lib/postgresql/*/*/standby.signal";
    world.does(&node, &format!("{lead} && {restart}")).await;
    world
        .incident_is(&id, "leader_in_recovery", |state| state == "resolved")
        .await;
    world.assert_only_told("leader_in_recovery").await;
}
