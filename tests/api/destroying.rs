//! What drover made is destroyed by whoever names it; what was adopted never is.

use drover_tests::{Shows, sql};
use serde_json::json;

use crate::made::path;
use crate::refusals::refused;
use crate::world::{Deployment, resource};

#[tokio::test]
async fn what_drover_made_is_destroyed_only_by_its_name() {
    let drover = Deployment::with_a_cloud().await;
    let shop = json!({"name": "shop", "plan": "starter"});
    let shop = drover.created("resource", shop).await;
    let at = path(&shop);
    let before = drover.record().await;
    for query in ["", "?confirm=", "?confirm=shoe"] {
        let answer = drover.delete(&format!("{at}{query}")).await;
        refused(query, &answer, 409, "confirmation_needed", Some("confirm"));
        assert!(answer.text.contains("shop"), "{answer:?}");
    }
    let answer = drover.delete(&format!("{at}?force=1")).await;
    refused("force", &answer, 400, "unknown_parameter", Some("force"));
    assert_eq!(drover.record().await, before);

    // Its server has a resource, and stays.
    let server = format!("/v1/servers/{}", shop["server"].as_str().unwrap());
    let server = drover.get(&server).await.json();
    let name = server["name"].as_str().unwrap();
    let named = format!("{}?confirm={name}", path(&server));
    let answer = drover.delete(&named).await;
    refused("resources", &answer, 409, "has_resources", Some("id"));
    assert_eq!(drover.record().await, before);

    let confirmed = format!("{at}?confirm=shop");
    let going = drover.delete(&confirmed).await.is(202).json();
    assert_eq!(going["state"], "destroying");
    assert_eq!(going["operation"]["kind"], "destroy_resource");
    // Asked again, it is the same operation; ten at once change nothing.
    let again = (0..10).map(|_| drover.delete(&confirmed));
    for answer in futures::future::join_all(again).await {
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["operation"]["id"], going["operation"]["id"]);
    }
    // Its creation was given up, not done beside.
    let sql = "select kind, state from operations where subject_id = $1 order by id";
    let binds = [shop["id"].as_str().unwrap().trim_start_matches("db_")];
    let kinds: Vec<(String, String)> = sql::rows(&drover.pool, sql, binds).await;
    let kinds: Vec<(&str, &str)> = kinds.iter().map(|(k, s)| (&**k, &**s)).collect();
    let (made, gone) = (
        ("create_resource", "cancelled"),
        ("destroy_resource", "open"),
    );
    assert_eq!(kinds, [made, gone]);

    drover.is_gone(&shop).await;
    for answer in [drover.get(&at).await, drover.delete(&at).await] {
        refused("gone", &answer, 404, "not_found", Some("id"));
        assert!(answer.text.contains("was destroyed"), "{answer:?}");
    }
    // What became of it stays readable, and its name is free.
    let transitions = drover.get(&format!("{at}/transitions")).await.json();
    let last = &transitions["items"][0];
    last.shows(json!({"to": "destroyed", "observation": null}));
    // Its server goes with the last of its resources: nobody gets on it any more.
    let server = drover.get(&path(&server)).await.json();
    server.shows(json!({"state": "destroying", "operation": {"kind": "destroy_server"}}));
    let late = resource(server["id"].as_str().unwrap(), "late");
    let answer = drover.post("/v1/resources", &late).await;
    refused("late", &answer, 404, "not_found", Some("server"));
    let again = json!({"name": "shop", "plan": "starter"});
    let again = drover.created("resource", again).await;
    assert_ne!(again["server"], server["id"]);
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"tokens": 3, "astray": 0}));
}

#[tokio::test]
async fn what_was_adopted_is_forgotten_and_a_wrong_name_stops_that_too() {
    let (drover, _, db) = Deployment::with_app().await;
    let at = format!("/v1/resources/{db}");
    let answer = drover.delete(&format!("{at}?confirm=apple")).await;
    refused("name", &answer, 409, "confirmation_needed", Some("confirm"));
    drover.delete(&format!("{at}?confirm=app")).await.is(204);
    let answer = drover.get(&at).await;
    refused("forgotten", &answer, 404, "not_found", Some("id"));
    assert!(answer.text.contains("forgotten"), "{answer:?}");
}
