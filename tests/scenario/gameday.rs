//! Game days on a real local herd: each harm is real, is mended, and the report says how
//! long that took.

use drover::model::State;
use drover_tests::{Deployment, PATIENCE, Says, until, when};
use serde_json::{Value, json};

/// A deployment that is marked, with one server and so many databases on it: their ids,
/// the server's first.
async fn herd(databases: usize, more: &[&str]) -> (Deployment, Vec<String>) {
    let rules = json!({"cadence": {"available": "2s"}, "limits": {"disk_free_bytes": 0}});
    let mut it = Deployment::new(&rules).await.unwrap();
    it.processes.set("DROVER_GAMEDAY", "allow");
    it.start(&["web", "clock", "feel", "feel", "think", "resolve"])
        .await
        .unwrap();
    let count = databases.to_string();
    let create = ["create", "--servers", "1", "--resources-per-server", &count];
    it.local(&[&create, more].concat()).await.unwrap();
    it.all_available(1 + databases, PATIENCE).await.unwrap();
    let all = it.subjects().await.unwrap();
    let ids = all.iter().map(|s| s.core().id.to_string());
    let ids = ids.collect();
    (it, ids)
}

/// Until all is well, and nothing is being mended any more.
async fn all_well(it: &Deployment) {
    let count = it.subjects().await.unwrap().len();
    it.all_available(count, PATIENCE).await.unwrap();
    let well = until("no incident is open", PATIENCE, || async {
        let open = it.get("/v1/incidents?state=open").await?;
        when(open["items"] == json!([]), open)
    });
    well.await.unwrap();
}

/// Has it broken by the command, which waits until it is mended.
async fn gameday(it: &Deployment, subject: &str, how: &str, more: &[&str]) -> Value {
    let ask = ["drover", "gameday", subject, how, "--reason", "a test"];
    let line = [&ask[..], &["--json", "--timeout", "3m"], more];
    let told = it.run(&line.concat()).await.unwrap();
    serde_json::from_str(&told).unwrap()
}

fn after(report: &Value, what: &str) -> f64 {
    let at = report["after_s"][what].as_f64();
    at.unwrap_or_else(|| panic!("{what} is not known: {report:#}"))
}

/// Noticed, incident, recovered: in this order.
fn assert_in_order(report: &Value) {
    assert_eq!(report["state"], "recovered", "{report:#}");
    let times = ["detected", "incident", "recovered"].map(|what| after(report, what));
    assert!(times[0] > 0.0, "{report:#}");
    assert!(times.is_sorted(), "{report:#}");
    assert!(times[2] < 180.0, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_hanging_databases_are_mended_and_the_report_says_when() {
    let (mut it, ids) = herd(2, &[]).await;
    let [server, first, second] = &ids[..] else {
        panic!("{ids:?}")
    };
    let report = gameday(&it, first, "kill", &[]).await;
    assert_in_order(&report);
    assert!(after(&report, "unavailable") <= after(&report, "recovered"));
    assert_eq!(report["incidents"][0]["kind"], "resource_down");
    assert_eq!(
        report["remedies"][0]["remedy"], "restart_fast",
        "{report:#}"
    );
    assert_eq!(report["after_s"]["failover"], Value::Null);

    // The record alone makes it: the same a while later.
    all_well(&it).await;
    let id = report["id"].as_str().unwrap();
    let later = it.get(&format!("/v1/gameday/{id}")).await.unwrap();
    assert_eq!(later["after_s"], report["after_s"]);
    let told = it.run(&["drover", "gameday", "show", id]).await.unwrap();
    assert!(told.contains("resource_down: restart_fast, done"), "{told}");

    // It takes connections and never answers.
    let report = gameday(&it, second, "freeze", &[]).await;
    assert_in_order(&report);

    // Of a server: all its databases.
    all_well(&it).await;
    let report = gameday(&it, server, "kill", &[]).await;
    assert_in_order(&report);
    assert_eq!(
        report["incidents"].as_array().unwrap().len(),
        2,
        "{report:#}"
    );

    // A worker without the mark breaks nothing.
    all_well(&it).await;
    it.processes.kill("resolve").unwrap();
    it.processes
        .start_with("resolve", &[("DROVER_GAMEDAY", "")])
        .unwrap();
    let kill = ["drover", "gameday", first, "kill", "--reason", "a test"];
    let refused = it.run(&kill).await.unwrap_err().to_string();
    assert!(refused.contains("DROVER_GAMEDAY=allow"), "{refused}");
    assert_eq!(it.state(first).await.unwrap(), State::Available);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_and_an_unplugged_server_are_mended() {
    let (it, ids) = herd(1, &[]).await;
    let (server, database) = (&ids[0], &ids[1]);
    // On the machine's own disk nothing is filled.
    let fill = ["drover", "gameday", database, "fill", "--reason", "a test"];
    let refused = it.run(&fill).await.unwrap_err().to_string();
    refused.says(["only a data volume", "exit status: 1"]);

    let report = gameday(&it, server, "freeze", &[]).await;
    assert_in_order(&report);
    assert_eq!(report["incidents"][0]["kind"], "server_down", "{report:#}");
    all_well(&it).await;
    // A database that has its server to itself.
    let report = gameday(&it, database, "unplug", &[]).await;
    assert_in_order(&report);
    let incidents = report["incidents"].as_array().unwrap();
    let down = |i: &Value| i["kind"] == "server_down";
    assert!(incidents.iter().any(down), "{report:#}");
    let list = ["drover", "gameday", "list", "--json"];
    let list: Value = serde_json::from_str(&it.run(&list).await.unwrap()).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}

/// Its worker dies, and the partition ends all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_ends_by_itself_even_if_workers_die() {
    let (mut it, ids) = herd(1, &[]).await;
    let body = json!({"subject": ids[0], "how": "partition", "for_s": 20, "reason": "a test"});
    let asked = it.post("/v1/gameday", &body).await.unwrap();
    let path = format!("/v1/gameday/{}", asked["id"].as_str().unwrap());
    let begun = until("it is cut off, or cannot be", PATIENCE, || async {
        let seen = it.get(&path).await?;
        Ok(match seen["state"].as_str() {
            Some("failed") => Ok(seen),
            Some("broken") if seen["after_s"]["detected"].is_number() => Ok(seen),
            _ => Err(seen.to_string()),
        })
    });
    let (seen, _) = begun.await.unwrap();
    assert_eq!(seen["state"], "broken", "{seen:#}");
    it.processes.kill("resolve").unwrap();
    it.processes.start("resolve").unwrap();
    let mended = until("it is reached again", PATIENCE, || async {
        let seen = it.get(&path).await?;
        when(seen["state"] == "recovered", seen)
    });
    let (report, _) = mended.await.unwrap();
    assert!(after(&report, "healed") >= 20.0, "{report:#}");
    assert!(
        after(&report, "recovered") > after(&report, "healed"),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_volume_is_noticed_and_emptied_again() {
    let (it, ids) = herd(1, &["--volume-mib", "320"]).await;
    let report = gameday(&it, &ids[1], "fill", &["--for", "30s"]).await;
    assert_in_order(&report);
    let incidents = report["incidents"].as_array().unwrap();
    assert!(
        incidents.iter().any(|i| i["kind"] == "disk_critical"),
        "{report:#}"
    );
    let path = format!("/v1/gameday/{}", report["id"].as_str().unwrap());
    let healed = until("our file is gone", PATIENCE, || async {
        let seen = it.get(&path).await?;
        when(seen["healed_at"].is_string(), seen)
    });
    healed.await.unwrap();
    let left = it
        .machines()
        .sh("pg-1", "find /var/lib/postgresql -name '*gameday*'");
    assert_eq!(left.await.unwrap(), "");
}
