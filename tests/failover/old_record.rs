//! A control database that was restored: what it says was true once, and the nodes know better.

use std::time::{Duration, Instant};

use drover_tests::{PATIENCE, sql, until, when};
use serde_json::json;

use super::scene::Scene;

const ALL: [&str; 6] = ["web", "clock", "feel", "think", "resolve", "notify"];

impl Scene {
    /// Today's record, for tomorrow.
    fn dumped(&self) -> std::path::PathBuf {
        let file = self.drover.dir().join("yesterday.sql");
        self.drover.postgres.dump("drover", &file).unwrap();
        file
    }

    /// The record becomes what it was when this was dumped: in the same database, so that
    /// nothing but the nodes tells.
    async fn restored(&mut self, dump: &std::path::Path) {
        for kind in ALL {
            self.drover.processes.kill(kind).unwrap();
        }
        self.drover.postgres.restore(dump, "drover").unwrap();
        self.drover.start(&ALL).await.unwrap();
    }

    async fn pages_of(&self, kind: &str) -> i64 {
        let sql = "select count(*) from outbox m join incidents i on i.id = m.incident_id
             where i.kind = $1 and m.channel = 'page' and m.action = 'trigger'";
        sql::scalar(&self.drover.pool, sql, [kind]).await
    }

    /// What drover has changed since the dump, by the record that was restored. A step that only
    /// looks may have been before a server has told what it knows.
    async fn done_since(&self, dumped: &str) -> Vec<String> {
        let sql = "select o.kind || ': ' || r.step
             from resolver_runs r join operations o on o.id = r.operation_id
             where r.outcome = 'done' and r.created_at > $1::timestamptz
               and r.step <> 'look' and o.kind not in ('reconcile', 'adopt_record')";
        sql::scalars(&self.drover.pool, sql, [dumped]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_from_before_a_failover_stops_nobody_and_takes_who_leads_from_the_nodes() {
    let mut scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    let dump = scene.dumped();
    let sql = "select clock_timestamp()::text";
    let dumped: String = sql::scalar(&scene.drover.pool, sql, ()).await;
    let ask = json!({"action": "failover", "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    let new = scene.another_leads(&old).await;
    scene.settled().await;

    let moment = Instant::now();
    scene.restored(&dump).await;
    assert_eq!(scene.lead().await.id, old.id, "by the record");
    let said = scene.incident(&["record_is_old"]).await;
    assert!(said.contains("knows more than the record"), "{said}");
    until("a page", Duration::from_secs(60), || async {
        let pages = scene.pages_of("record_is_old").await;
        when(pages == 1, pages)
    })
    .await
    .unwrap();
    // Whatever the record makes of what it sees, it does nothing.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(scene.done_since(&dumped).await, [""; 0]);
    let pause = scene.ledger.longest_pause(moment);
    assert!(pause < Duration::from_secs(5), "{pause:?}");
    assert_eq!(scene.sql(&new, "select pg_is_in_recovery()").await, "f");

    // A human asks what differs, and has it adopted.
    let shown = scene.drover.run(&["drover", "adopt-record"]).await.unwrap();
    assert!(
        shown.contains(&format!("{} leads in its place", new.id)),
        "{shown}"
    );
    assert!(shown.contains("in doubt"), "{shown}");
    let adopt = [
        "drover",
        "adopt-record",
        "--yes",
        "--reason",
        "a restored dump",
    ];
    let said = scene.drover.run(&adopt).await.unwrap();
    assert!(said.contains(&new.id), "{said}");
    assert_eq!(scene.lead().await.id, new.id);
    scene.assert_told("adopted", &old.id, &new.id).await;
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
    let shown = scene.drover.run(&["drover", "adopt-record"]).await.unwrap();
    assert!(!shown.contains("in doubt"), "{shown}");
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    assert_eq!(scene.pages_of("record_is_old").await, 1);

    // And its words are obeyed again.
    let ask = json!({"action": "failover", "reason": "a test"});
    scene.drover.act(&new.id, &ask).await.unwrap();
    assert_eq!(scene.another_leads(&new).await.id, old.id);
    scene.settled_with_help().await;
}

/// Nobody has led since; yet what was done since is not known, and a server knows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_has_lost_its_last_leases_is_told_by_those() {
    let mut scene = Scene::start("async", 1).await;
    let dump = scene.dumped();
    let leader = scene.lead().await;
    let ask = json!({"action": "rotate_password", "reason": "a test"});
    scene
        .drover
        .act_until_done(&leader.id, &ask, PATIENCE)
        .await
        .unwrap();
    scene.restored(&dump).await;
    let said = scene.incident(&["record_is_old"]).await;
    assert!(said.contains("lease"), "{said}");
    let adopt = ["drover", "adopt-record", "--yes"];
    let said = scene.drover.run(&adopt).await.unwrap();
    assert!(said.contains("as the record has it"), "{said}");
    assert_eq!(scene.lead().await.id, leader.id);
    scene.settled_with_help().await;
    scene
        .drover
        .act_until_done(&leader.id, &ask, PATIENCE)
        .await
        .unwrap();
}

/// Its follower was made leader by somebody whom drover knows nothing of, and is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_led_yesterday_is_not_started_beside_the_one_that_leads() {
    let scene = Scene::start("async", 1).await;
    let (old, follower) = scene.pair().await;
    let alone = ["drover", "mode", &follower.id, "hold", "--reason", "a test"];
    scene.drover.run(&alone).await.unwrap();
    scene.sql(&follower, "select pg_promote()").await;
    scene.kill_postmaster(&old).await;
    let killed = Instant::now();
    // Long enough for every remedy, and for a fence to be taken back.
    tokio::time::sleep(Duration::from_secs(90)).await;
    let mut entries = scene.ledger.entries();
    entries.retain(|entry| entry.began > killed);
    let all = entries.len();
    entries.retain(|entry| entry.by == follower.address);
    assert_eq!(
        (entries.len(), all > 0),
        (all, true),
        "nobody else takes writes"
    );
    // Whoever follows by the record is stopped first, and then its leader is started.
    let mend = ["drover", "mode", &follower.id, "act"];
    scene.drover.run(&mend).await.unwrap();
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
}
