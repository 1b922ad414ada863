//! What clouds have that is nobody's: listed, counted, and shown at a terminal.

use drover::model::Cloud;
use drover::store::orphans::{self, Orphan};
use drover_tests::Says;
use serde_json::{Value, json};

use crate::command::Shell;
use crate::world::Deployment;

async fn compared(drover: &Deployment, found: &[Orphan]) -> Vec<String> {
    let mut tx = drover.pool.begin().await.unwrap();
    let new = orphans::replace(&mut tx, Cloud::Local, "local", found).await;
    tx.commit().await.unwrap();
    new.unwrap()
}

#[tokio::test]
async fn orphans_are_listed_counted_and_shown_until_they_are_not_seen_any_more() {
    let drover = Deployment::start().await;
    drover.region(Cloud::Local, "local", &["local-a"]).await;
    let list = async || drover.get("/v1/orphans").await.json();
    assert_eq!(list().await, json!({"items": [], "next_cursor": null}));
    assert_eq!(Shell(&drover).text(&["orphans"]).await.trim(), "no orphans");
    let orphan = |sort, id: &str| Orphan {
        sort,
        id: id.into(),
        detail: json!({"how": "running", "mark": null, "why": "its mark cannot be read"}),
    };
    let both = [orphan("instance", "i-1"), orphan("volume", "vol-1")];
    assert_eq!(compared(&drover, &both).await.len(), 2);
    // What was known is no news.
    assert_eq!(compared(&drover, &both).await, [""; 0]);

    let listed = list().await;
    let first = &listed["items"][0];
    let shown = |name: &str| first[name].as_str().unwrap_or_default().to_owned();
    let seen = ["cloud", "region", "sort", "id"].map(shown);
    assert_eq!(seen, ["local", "local", "instance", "i-1"]);
    assert_eq!(first["detail"]["why"], "its mark cannot be read");
    assert_ne!(first["first_seen_at"], Value::Null);
    let metrics = drover.send(drover.request("GET", "/metrics")).await.text;
    for sort in ["instance", "volume"] {
        let line = format!("drover_orphans{{cloud=\"local\",region=\"local\",sort=\"{sort}\"}} 1");
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    let told = Shell(&drover).text(&["orphans"]).await;
    told.says(["i-1", "its mark cannot be read"]);

    assert_eq!(compared(&drover, &both[1..]).await, [""; 0]);
    assert_eq!(list().await["items"].as_array().unwrap().len(), 1);
    let refused = drover.get("/v1/orphans?limit=1").await;
    assert_eq!(refused.status, 400);
}
