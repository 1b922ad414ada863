//! Lists, pages, histories, jobs and tiers.

use drover::model::{Attributes, Cause, Each, Slot};
use drover::store::queue;
use drover_tests::Shows;
use serde_json::{Value, json};

use crate::world::{Deployment, well};

/// Follows a listing's cursors to its end: the ids, page by page.
pub async fn pages(drover: &Deployment, path: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = drover.get(&format!("{path}{cursor}")).await.is(200).json();
        let ids = page["items"].as_array().unwrap().iter();
        pages.push(ids.map(|i| i["id"].as_str().unwrap().to_owned()).collect());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn cursors_lead_through_a_whole_list_and_each_item_is_seen_once() {
    let drover = Deployment::start().await;
    let mut servers = Vec::new();
    for n in 0..7 {
        servers.push(drover.server(&format!("s{n}")).await);
    }
    let mut resources = Vec::new();
    for n in 0..5 {
        resources.push(drover.resource(&servers[n % 2], &format!("r{n}")).await);
    }
    servers.sort();
    resources.sort();
    let seen = pages(&drover, "/v1/servers?limit=3").await;
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(seen.concat(), servers);
    // A last page that is just full has no next one.
    let full = pages(&drover, "/v1/servers?limit=7").await;
    assert_eq!(full, [servers.clone()]);
    let all = pages(&drover, "/v1/resources?limit=2").await.concat();
    assert_eq!(all, resources);
    let first = drover.get("/v1/resources?limit=1").await.json()["items"][0]["server"].clone();
    let of_first = format!("/v1/resources?server={}&limit=2", first.as_str().unwrap());
    let of_first = pages(&drover, &of_first).await.concat();
    assert!(of_first.len() < resources.len() && !of_first.is_empty());
}

#[tokio::test]
async fn a_list_is_filtered_by_state_and_shows_what_was_last_seen() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let other = drover.server("other").await;
    let down = Attributes::failed(Cause::Refused, "port 22");
    drover.feel(&server, down).await;
    drover.think(&server, None, None).await;
    let seen = drover.feel(&server, well()).await;
    drover.turns(&server, "uncertain", "available", seen).await;
    for (state, id) in [("available", &server), ("uncertain", &other)] {
        let path = format!("/v1/servers?state={state}&limit=9");
        assert_eq!(pages(&drover, &path).await.concat(), [id.as_str()]);
    }
    let list = drover.get("/v1/servers").await.json();
    for item in list["items"].as_array().unwrap() {
        let alone = format!("/v1/servers/{}", item["id"].as_str().unwrap());
        assert_eq!(&drover.get(&alone).await.json(), item);
    }
    let shown = drover.get(&format!("/v1/servers/{server}")).await.json();
    let last = &shown["last_observation"];
    assert_eq!(last["id"], format!("obs_{seen}"));
    let well = json!({"service_available": true, "latency_ms": 1.5});
    assert_eq!(last["attributes"], well);
    last.shows(json!({"worker": "tester", "feelers": 1}));
    for time in [
        &shown["created_at"],
        &shown["state_since"],
        &last["created_at"],
    ] {
        assert!(chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).is_ok());
    }
    let unseen = drover.get(&format!("/v1/servers/{other}")).await.json();
    assert_eq!(unseen["last_observation"], Value::Null);
}

#[tokio::test]
async fn histories_come_newest_first_in_pages() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let mut seen = Vec::new();
    let mut at = "uncertain";
    for n in 0..7 {
        let observation = drover.feel(&server, well()).await;
        seen.insert(0, format!("obs_{observation}"));
        let to = if n % 2 == 0 { "available" } else { "uncertain" };
        drover.turns(&server, at, to, observation).await;
        at = to;
    }
    let path = format!("/v1/servers/{server}/observations?limit=3");
    let ids = pages(&drover, &path).await;
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(ids.concat(), seen);
    let path = format!("/v1/servers/{server}/transitions?limit=3");
    let ids = pages(&drover, &path).await;
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let newest = drover.get(&path).await.json()["items"][0].clone();
    newest.shows(json!({"from": "uncertain", "to": "available"}));
    assert_eq!(newest["observation"], seen[0].as_str());
    assert_eq!(newest["reason"], "seen by the test");
    assert!(newest["id"].as_str().unwrap().starts_with("tra_"));
}

#[tokio::test]
async fn a_feel_is_brought_forward_once() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    drover.feel(&server, well()).await;
    drover.think(&server, None, None).await;
    for expected in [true, false] {
        let job = json!({"job": "feel", "subject": server});
        let answer = drover.post("/v1/jobs", &job).await.is(202);
        assert_eq!(answer.json(), json!({"brought_forward": expected}));
    }
}

#[tokio::test]
async fn the_ring_s_numbers_fit_the_herd() {
    let drover = Deployment::start().await;
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"live_subjects": 0, "tokens": 0}));
    assert_eq!(ring["oldest_observation_s"], Value::Null);
    let server = drover.server("there").await;
    drover.resource(&server, "app").await;
    drover.feel(&server, well()).await;
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"live_subjects": 2, "tokens": 2}));
    ring.shows(json!({"astray": 0, "laps_last_minute": 1, "clock_leads": true}));
    let queues = json!({"feel": {"Pending": 1}, "think": {"Pending": 1}});
    assert_eq!(ring["queues"], queues);
    assert_eq!(ring["workers"], json!({"feel": 1}));
    let herd = json!({"server": {"uncertain": 1}, "resource": {"uncertain": 1}});
    assert_eq!(ring["herd"], herd);
}

#[tokio::test]
async fn a_tier_is_made_changed_and_used() {
    let drover = Deployment::start().await;
    for available in ["10s", "20s"] {
        let body = json!({"rules": {"cadence": {"available": available}}});
        let text = body.to_string();
        let answer = drover.raw("PUT", "/v1/tiers/gold", text).await.is(200);
        assert_eq!(answer.json()["rules"], body["rules"]);
    }
    let tiers = drover.get("/v1/tiers").await.json();
    let gold = json!({"name": "gold", "rules": {"cadence": {"available": "20s"}}});
    let both = json!([gold, {"name": "standard", "rules": {}}]);
    assert_eq!(tiers["items"], both);
    let body = json!({"name": "new", "address": "10.1.2.3", "tier": "gold"});
    let answer = drover.post("/v1/servers?wait=false", &body).await.is(201);
    assert_eq!(answer.json()["tier"], "gold");
}

/// A server can say whatever it likes, and as much.
#[tokio::test]
async fn an_observation_is_stored_whatever_a_server_says() {
    let (drover, _, db) = Deployment::with_app().await;
    let mut seen = Attributes::failed(Cause::Error, "x".repeat(100_000));
    seen.resource.xid_age = Some(7);
    seen.resource.server_version = Some("15\0".into());
    let slot = |n| Slot {
        name: Some(format!("slot_of_a_stranger_{n}")),
        ..Slot::default()
    };
    seen.resource.replication_slots = Some(Each((0..1000).map(slot).collect()));
    drover.feel(&db, seen).await;
    let path = format!("/v1/resources/{db}/observations");
    let stored = drover.get(&path).await.json()["items"][0]["attributes"].clone();
    assert!(stored.to_string().len() <= queue::LARGEST, "{stored}");
    stored.shows(json!({"service_available": false, "cause": "error", "xid_age": 7}));
    stored.shows(json!({"message": "x".repeat(200), "server_version": "15\u{fffd}"}));
    assert_eq!(stored["cut"], json!(["message", "replication_slots"]));
    assert_eq!(stored.get("replication_slots"), None);
}
