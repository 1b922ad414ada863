//! Operations as they are listed, shown, retried and given up; and what a customer
//! connects with.

use drover::model::IncidentKind;
use drover_tests::{Says, Shows, sql};
use serde_json::{Value, json};

use crate::made::path;
use crate::refusals::refused;
use crate::resolver::opened;
use crate::world::Deployment;

async fn ids(drover: &Deployment, query: &str) -> Vec<Value> {
    let list = drover.get(&format!("/v1/operations{query}")).await;
    let list = list.is(200).json();
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].clone()).collect()
}

#[tokio::test]
async fn they_are_listed_newest_first_and_filtered() {
    let drover = Deployment::with_a_cloud().await;
    let mut all = Vec::new();
    let mut servers = Vec::new();
    for n in 0..5 {
        let named = json!({"name": format!("s{n}")});
        let server = drover.created("server", named).await;
        all.insert(0, server["operation"]["id"].clone());
        servers.push(server);
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    assert_eq!(ids(&drover, "").await, all);
    let first = drover.get("/v1/operations?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = format!("?limit=3&cursor={cursor}");
    assert_eq!(ids(&drover, &rest).await, all[2..]);
    let of = servers[1]["id"].as_str().unwrap();
    assert_eq!(ids(&drover, &format!("?subject={of}")).await, all[3..4]);
    let nobody = of.replace("srv_", "db_");
    assert!(ids(&drover, &format!("?subject={nobody}")).await.is_empty());
    assert!(ids(&drover, "?stuck=true").await.is_empty());
    drover
        .stands(&servers[0], 1, "no room in that zone", true)
        .await;
    assert_eq!(ids(&drover, "?stuck=true").await, all[4..]);
    drover.is_made(&servers[4], "10.0.0.1").await;
    assert_eq!(ids(&drover, "?state=done").await, all[..1]);
    assert_eq!(ids(&drover, "?state=open").await, all[1..]);
    for (query, code, field) in [
        ("?state=going", "invalid_parameter", "state"),
        ("?stuck=1", "invalid_parameter", "stuck"),
        ("?subject=x", "malformed_id", "subject"),
        ("?kind=resize", "unknown_parameter", "kind"),
        ("?cursor=x", "invalid_cursor", "cursor"),
        ("/op_x", "malformed_id", "id"),
    ] {
        let answer = drover.get(&format!("/v1/operations{query}")).await;
        refused(query, &answer, 400, code, Some(field));
    }
    let nobody = "/v1/operations/op_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    let answer = drover.get(nobody).await;
    refused("none", &answer, 404, "not_found", Some("id"));
}

#[tokio::test]
async fn one_is_shown_with_how_far_it_is_and_what_happened() {
    let drover = Deployment::with_a_cloud().await;
    let shop = json!({"name": "shop", "plan": "starter"});
    let shop = drover.created("resource", shop).await;
    let id = shop["operation"]["id"].as_str().unwrap();
    let at = format!("/v1/operations/{id}");
    let new = drover.get(&at).await.json();
    assert_eq!(new["events"][0]["kind"], "asked");
    new.shows(json!({"subject": shop["id"], "name": "shop"}));
    new.shows(json!({"step": 0, "of": 0, "step_name": "queued"}));
    assert_eq!(new["actions"], json!([]));
    drover.stands(&shop, 2, "port 22: refused", false).await;
    for shown in [
        drover.get(&at).await.json(),
        drover.get(&path(&shop)).await.json()["operation"].clone(),
    ] {
        shown.shows(
            json!({"step": 3, "of": 7, "step_name": "await_ssh", "note": "port 22: refused"}),
        );
        assert!(shown["deadline"].is_string() && shown["stuck_since"].is_null());
        assert!(shown.get("memo").is_none() && shown.get("secret").is_none());
    }
    // What was destroyed keeps its history.
    let gone = format!("{}?confirm=shop", path(&shop));
    drover.delete(&gone).await.is(202);
    drover.is_gone(&shop).await;
    let query = format!("?subject={}", shop["id"].as_str().unwrap());
    assert_eq!(ids(&drover, &query).await.len(), 2);
    let shown = drover.get(&at).await.json();
    assert_eq!(shown["state"], "cancelled");
    let last = shown["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["kind"], "cancelled");
}

#[tokio::test]
async fn what_is_stuck_is_tried_again_and_what_waits_is_given_up() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let far = chrono::Utc::now() + chrono::Duration::days(2);
    let far = far.format("%a 03:00 UTC").to_string();
    let set = json!({"action": "set_window", "maintenance_window": far});
    drover.ask(&shop, set).await.is(200);
    let restart = drover.ask(&shop, json!({"action": "restart"})).await.json();
    assert_eq!(restart["actions"], json!(["cancel"]));
    let answer = drover.ask_operation(&restart, "retry").await;
    refused("not stuck", &answer, 409, "not_now", Some("action"));
    assert!(answer.text.contains("possible now: cancel"), "{answer:?}");
    let answer = drover.ask_operation(&restart, "stop").await;
    refused("stop", &answer, 422, "unknown_action", Some("action"));
    let answer = drover.ask_operation(&restart, "cancel").await.is(200);
    assert_eq!(answer.json()["state"], "cancelled");
    let events = answer.json()["events"].to_string();
    events.says(["it was the disk", "ann"]);
    let answer = drover.ask_operation(&restart, "cancel").await;
    refused("over", &answer, 409, "not_now", Some("action"));

    let urgent = json!({"action": "restart", "now": true, "reason": "it hangs"});
    let restart = drover.ask(&shop, urgent).await.json();
    let answer = drover.ask_operation(&restart, "cancel").await;
    refused("it does not wait", &answer, 409, "not_now", Some("action"));
    drover.stands(&restart, 1, "it does not stop", true).await;
    // Somebody was called already: their page is called off with it.
    let db = shop["id"].as_str().unwrap();
    let incident = opened(&drover, db, IncidentKind::ChangeStuck).await;
    let sql = "update incidents set state = 'needs_human', paged_at = now() where id = $1";
    sql::run(&drover.pool, sql, [incident]).await;
    let shown = drover.ask_operation(&restart, "retry").await.is(200).json();
    assert!(shown["stuck_since"].is_null() && shown["deadline"].is_null());
    shown.shows(json!({"state": "open", "failures": 0}));
    let incident = drover.incident(incident).await;
    incident.shows(json!({"state": "triggered", "paged_at": null}));
    assert!(incident["events"].to_string().contains("ann"));
    // The same without an incident.
    drover.stands(&restart, 1, "it does not stop", true).await;
    drover.ask_operation(&restart, "retry").await.is(200);
    let answer = drover.ask_operation(&restart, "retry").await;
    refused("again", &answer, 409, "not_now", Some("action"));
}

#[tokio::test]
async fn credentials_are_shown_for_what_drover_made_and_has_an_address() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop", "plan": "starter", "password": "p@ss w/rd:ü"});
    let shop = drover.created("resource", body).await;
    let at = format!("{}/credentials", path(&shop));
    let answer = drover.get(&at).await;
    refused("no address", &answer, 409, "not_ready", None);
    let server = drover.server_of(&shop).await;
    drover.is_made(&server, "10.0.0.9").await;
    drover.is_made(&shop, "").await;
    let answer = drover.get(&at).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let shown = answer.json();
    let [user, database] = ["user", "database"].map(|of| shop[of].as_str().unwrap());
    let address = format!(
        "postgresql://{user}:p%40ss%20w%2Frd%3A%C3%BC@10.0.0.9:5432/{database}?sslmode=require"
    );
    let expected = json!({
        "host": "10.0.0.9", "port": 5432, "database": database, "user": user,
        "password": "p@ss w/rd:ü", "tls_root_cert": null, "url": address,
    });
    assert_eq!(shown, expected);
    let sql = "update resources set tls_root_cert = 'PEM', tls_mode = 'verify-full'";
    sql::run(&drover.pool, sql, ()).await;
    let sql = "update servers set address = '2001:db8::9'";
    sql::run(&drover.pool, sql, ()).await;
    let shown = drover.get(&at).await.json();
    shown.shows(json!({"host": "2001:db8::9", "tls_root_cert": "PEM"}));
    let url = shown["url"].as_str().unwrap();
    url.says(["@[2001:db8::9]:5432/"]);
    assert!(url.ends_with("sslmode=verify-full"), "{url}");

    let there = drover.server("there").await;
    let adopted = drover.resource(&there, "app").await;
    let of = |id: &str| format!("/v1/resources/{id}/credentials");
    let answer = drover.get(&of(&adopted)).await;
    refused("adopted", &answer, 409, "adopted", None);
    let wrong = server["id"].as_str().unwrap();
    drover.get(&of(wrong)).await.is(404);
    let open = drover.send(drover.request("GET", &at)).await;
    refused("no token", &open, 401, "unauthorized", None);
}

#[tokio::test]
async fn what_is_made_has_its_secrets_in_one_answer_only() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let rotate = json!({"action": "rotate_password", "password": "swordfish the second"});
    let rotate = drover.ask(&shop, rotate).await;
    let server = drover.server_of(&shop).await;
    let reader = drover.follower_of(&shop, "10.0.0.10").await;
    let mut texts = vec![rotate.text.clone(), drover.record().await];
    let operation = rotate.json()["id"].as_str().unwrap().to_owned();
    let mut paths = vec![
        "/v1/servers".to_owned(),
        "/v1/resources".into(),
        "/v1/operations".into(),
        format!("/v1/operations/{operation}"),
        "/v1/ring".into(),
        "/v1/plans".into(),
        "/v1/regions".into(),
        "/".into(),
        "/metrics".into(),
        "/healthz".into(),
    ];
    for subject in [&shop, &reader] {
        for role in ["leader", "follower"] {
            paths.push(format!("{}/url?role={role}", path(subject)));
        }
    }
    for subject in [&shop, &server, &reader] {
        for below in ["", "/observations", "/transitions"] {
            paths.push(format!("{}{below}", path(subject)));
        }
    }
    for path in paths {
        let answer = drover.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        texts.push(answer.text);
    }
    for text in texts {
        text.never_says(["swordfish", "\"password\":", "ssh_key"]);
    }
    let shown = drover.get(&format!("{}/credentials", path(&shop))).await;
    assert_eq!(shown.json()["password"], "swordfish of theirs");
    // drover's own role and database are shown nowhere.
    assert_ne!(shop["user"], "drover");
    assert_ne!(shop["database"], "drover");
}
