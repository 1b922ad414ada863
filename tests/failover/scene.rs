//! A leader with followers, a customer who writes all the time, and what is seen of them.

use std::process::Command;
use std::time::{Duration, Instant};

use drover_tests::{Deployment, Lead, Ledger, PATIENCE, records, sql, until, when};
use serde_json::{Value, json};

pub struct Scene {
    pub ledger: Ledger,
    pub drover: Deployment,
    followers: usize,
}

impl Scene {
    pub async fn start(durability: &str, followers: usize) -> Self {
        Self::start_with(durability, followers, json!({})).await
    }

    /// With rules over the usual ones.
    pub async fn start_with(durability: &str, followers: usize, mut rules: Value) -> Self {
        rules["cadence"] = json!({"available": "5s"});
        let mut drover = Deployment::new(&rules).await.unwrap();
        let all = ["web", "clock", "feel", "think", "resolve", "notify"];
        drover.start(&all).await.unwrap();
        drover.with_machines().await.unwrap();
        let body = json!({"name": "orders", "plan": "premium"});
        let id = drover.ask_for(&body).await.unwrap();
        drover.all_available(4, PATIENCE).await.unwrap();
        for n in 1..followers {
            let path = format!("/v1/resources/{id}/followers");
            let body = json!({"name": format!("orders-{n}")});
            drover.post(&path, &body).await.unwrap();
            drover.all_available(4 + 2 * n, PATIENCE).await.unwrap();
        }
        if durability != "async" {
            let body = json!({"action": "set_durability", "durability": durability});
            drover.act(&id, &body).await.unwrap();
        }
        drover.settled(followers, PATIENCE).await.unwrap();
        let account = drover.account(&id).await.unwrap();
        let scene = Self {
            ledger: Ledger::open(account).unwrap(),
            drover,
            followers,
        };
        // Whoever may lead has the ledger's table.
        let leader = scene.lead().await;
        let end = scene.sql(&leader, "select pg_current_wal_lsn()").await;
        for id in scene.followers().await {
            let follower = scene.drover.node(&id).await.unwrap();
            scene.has_received(&follower, &end).await;
        }
        scene
    }

    /// Servers without databases, so that two that die are not too many at once.
    pub async fn larger_herd(&mut self, servers: usize) {
        let count = servers.to_string();
        let size = ["create", "--servers", &count, "--resources-per-server", "0"];
        self.drover.local(&size).await.unwrap();
        let subjects = 2 * (1 + self.followers) + servers;
        self.drover.all_available(subjects, PATIENCE).await.unwrap();
        self.settled().await;
    }

    pub async fn lead(&self) -> Lead {
        self.drover.lead("orders").await.unwrap()
    }

    /// Until the record has another leader than this one.
    pub async fn another_leads(&self, old: &Lead) -> Lead {
        let found = until("another leader", PATIENCE, || async {
            let leads = self.drover.lead("orders").await?;
            when(leads.id != old.id, leads)
        });
        self.or_logs(found.await.map(|(leads, _)| leads)).await
    }

    /// The leader, and its first follower.
    pub async fn pair(&self) -> (Lead, Lead) {
        let follower = self.followers().await.remove(0);
        let its = self.drover.node(&follower).await.unwrap();
        (self.lead().await, its)
    }

    pub async fn followers(&self) -> Vec<String> {
        let id = self.lead().await.id;
        self.drover.followers_of(&id).await.unwrap()
    }

    pub async fn resource(&self, id: &str) -> Value {
        let path = format!("/v1/resources/{id}");
        self.drover.get(&path).await.unwrap()
    }

    /// Until another than this one has acknowledged a commit.
    pub async fn written_by_another(&self, moment: Instant, old: &Lead) -> Duration {
        self.written(moment, &old.address).await
    }

    /// Until anybody has.
    pub async fn written_after(&self, moment: Instant) -> Duration {
        self.written(moment, "").await
    }

    async fn written(&self, moment: Instant, not_by: &str) -> Duration {
        let written = until("a write", PATIENCE, || async {
            let first = self.ledger.first_after(moment, not_by);
            Ok(first.ok_or_else(|| "none yet".to_owned()))
        });
        self.or_logs(written.await.map(|(took, _)| took)).await
    }

    /// Pulls the plugs of two servers at once.
    pub async fn unplug_both(&self, one: &Lead, other: &Lead) {
        let one = self.drover.unplug(&one.instance);
        let (one, other) = tokio::join!(one, self.drover.unplug(&other.instance));
        one.and(other).unwrap();
    }

    /// Until all is as it should be, by drover alone.
    pub async fn settled(&self) {
        self.settled_within(PATIENCE).await;
    }

    async fn settled_within(&self, time: Duration) {
        let settled = self.drover.settled(self.followers, time).await;
        self.or_logs(settled.map(drop)).await;
    }

    /// The same, with a human who has drover try again where one is called: a change that
    /// was asked for has its server to itself for five minutes before anybody is.
    pub async fn settled_with_help(&self) {
        let settled = self.settled_within(2 * PATIENCE);
        // What is stuck goes on by itself, and leaves the field to playbooks.
        self.drover.with_help(settled, &["change_stuck"]).await;
    }

    pub(crate) async fn or_logs<T>(&self, done: anyhow::Result<T>) -> T {
        match done {
            Ok(done) => done,
            Err(e) => panic!(
                "{e:#}\n{}\n{}",
                self.timeline().await,
                self.drover.processes.logs()
            ),
        }
    }

    /// Whoever it is, what led to it is told.
    pub async fn assert_leads(&self, node: &Lead) {
        let leads = self.lead().await.id;
        assert!(leads == node.id, "{leads}\n{}", self.timeline().await);
    }

    /// What the record says of all operations and incidents.
    pub async fn timeline(&self) -> String {
        records::timeline(&self.drover.pool).await
    }

    /// What is known of how a node was made to follow again.
    pub async fn rebuilt(&self, id: &str) -> Value {
        let sql = "select memo from operations where subject_id = $1 and kind = 'rebuild'
             order by opened_at desc limit 1";
        sql::scalar(&self.drover.pool, sql, [id.strip_prefix("db_").unwrap()]).await
    }

    pub async fn count_operations(&self, kind: &str) -> i64 {
        let sql = "select count(*) from operations where kind = $1";
        sql::scalar(&self.drover.pool, sql, [kind]).await
    }

    /// Until an incident of one of these kinds is open: its kind and reason.
    pub async fn incident(&self, kinds: &[&str]) -> String {
        let sql = "select kind, reason from incidents
             where state <> 'resolved' and kind = any($1) limit 1";
        let found = until("an incident", PATIENCE, || async {
            let open: Option<(String, String)> = sql::first(&self.drover.pool, sql, [kinds]).await;
            Ok(open.ok_or_else(|| "none".to_owned()))
        });
        let ((kind, reason), _) = self.or_logs(found.await).await;
        format!("{kind}: {reason}")
    }

    /// Until an operation of this kind needs a human: its id, and why.
    pub async fn stuck(&self, kind: &str) -> (String, String) {
        let sql = "select id, note from operations where kind = $1 and stuck_at is not null";
        let found = until("it needs a human", PATIENCE, || async {
            let stuck: Option<(String, Option<String>)> =
                sql::first(&self.drover.pool, sql, [kind]).await;
            Ok(stuck.ok_or_else(|| "not yet".to_owned()))
        });
        let ((id, note), _) = self.or_logs(found.await).await;
        (format!("op_{id}"), note.unwrap_or_default())
    }

    /// How the last failover of this leader was proved to be safe.
    pub async fn fenced_by(&self, old: &Lead) -> String {
        let sql = "select memo ->> 'fenced_by' from operations
             where kind = 'failover' and subject_id = $1 order by opened_at desc limit 1";
        let binds = [old.id.strip_prefix("db_").unwrap()];
        sql::scalar(&self.drover.pool, sql, binds).await
    }

    /// Until a resource is seen to fail.
    pub async fn seen_failing(&self, node: &Lead) {
        let failing = until("it is seen to fail", PATIENCE, || async {
            let seen = self.resource(&node.id).await;
            when(seen["state"] != "available", "it is available")
        });
        self.or_logs(failing.await.map(drop)).await;
    }

    /// Until an observation shows a leader's WAL to end there, or behind it.
    pub async fn observed_beyond(&self, node: &Lead, lsn: &str) {
        let sql = "select (attributes ->> 'lsn')::pg_lsn >= $2::pg_lsn from observations
             where subject_id = $1 and attributes ->> 'lsn' is not null
             order by created_at desc limit 1";
        let binds = (node.id.strip_prefix("db_").unwrap(), lsn);
        let seen = until("it is observed", PATIENCE, || async {
            let beyond: Vec<bool> = sql::scalars(&self.drover.pool, sql, binds).await;
            when(beyond == [true], "not yet")
        });
        self.or_logs(seen.await.map(drop)).await;
    }

    /// Until an observation shows that a follower streams from a leader.
    pub async fn observed_with_a_follower(&self, node: &Lead) {
        self.observed_followers(node, |silent| silent.abs() < 5.0)
            .await;
    }

    /// Until one shows that it is connected, and has not spoken for long.
    pub async fn observed_with_a_silent_follower(&self, node: &Lead) {
        self.observed_followers(node, |silent| silent > 6.0).await;
    }

    async fn observed_followers(&self, node: &Lead, silent: impl Fn(f64) -> bool) {
        let seen = until("its follower is seen so", PATIENCE, || async {
            let seen = self.resource(&node.id).await["last_observation"].clone();
            let followers = &seen["attributes"]["followers"];
            let all = followers.as_array().map(Vec::as_slice).unwrap_or_default();
            let is_so = |one: &Value| {
                one["state"] == "streaming" && one["silent_s"].as_f64().is_some_and(&silent)
            };
            Ok(match all {
                [one] if is_so(one) => Ok(()),
                _ => Err(followers.to_string()),
            })
        });
        self.or_logs(seen.await.map(drop)).await;
    }

    /// A human answers for the failover that waits for one; and all is well again.
    pub async fn led_by_a_humans_word(&self, id: &str, reason: &str, moment: Instant, old: &Lead) {
        let word = json!({"action": "override", "reason": reason, "by": "ann"});
        self.drover.act(id, &word).await.unwrap();
        self.written_by_another(moment, old).await;
        self.settled_with_help().await;
        self.assert_one_leader().await;
    }

    /// Has nobody felt for a while, or has the feelers go on where they were.
    pub fn hold_feelers(&self, hold: bool) {
        let signal = if hold { "-STOP" } else { "-CONT" };
        for pid in self.drover.processes.pids("feel") {
            let mut kill = Command::new("kill");
            let told = kill.args([signal, &pid.to_string()]).status().unwrap();
            assert!(told.success());
        }
    }

    /// Sets how much may be lost.
    pub async fn limit_lag(&self, bytes: i64) {
        let sql = "update resources set max_lag_bytes = $1";
        sql::run(&self.drover.pool, sql, [bytes]).await;
    }

    /// drover can neither log in to a server nor ask its cloud about it.
    pub async fn nobody_knows_its_machine(&self, node: &Lead) {
        self.drover.knows_its_machine(node, false).await.unwrap();
    }

    pub async fn its_machine_is_known_again(&self, node: &Lead) {
        self.drover.knows_its_machine(node, true).await.unwrap();
    }

    /// The API tells of a change of leader.
    pub async fn assert_told(&self, kind: &str, from: &str, to: &str) {
        let told = self.drover.get("/v1/events").await.unwrap();
        let all = told["items"].as_array().unwrap();
        let found = all.iter().any(|event| {
            let text = event.to_string();
            text.contains(kind) && text.contains(from) && text.contains(to)
        });
        assert!(found, "{told}");
    }

    /// Of all that was acknowledged, nobody's came behind another's who took the lead.
    pub fn assert_written_by_one_at_a_time(&self) {
        let mut all = self.ledger.entries();
        all.sort_by_key(|entry| entry.ended);
        let mut leaders: Vec<&str> = all.iter().map(|entry| entry.by.as_str()).collect();
        leaders.dedup();
        let mut once = leaders.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), leaders.len(), "{leaders:?}");
    }

    /// One node takes writes, and the record knows which.
    pub async fn assert_one_leader(&self) {
        let leads = self.lead().await;
        assert_eq!(self.sql(&leads, "select pg_is_in_recovery()").await, "f");
        for id in self.followers().await {
            let node = self.drover.node(&id).await.unwrap();
            assert_eq!(self.sql(&node, "select pg_is_in_recovery()").await, "t");
        }
    }
}
