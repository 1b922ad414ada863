//! Game days: asked for and refused; what a worker and the record make of them.

use drover::config::{GamedayMark, WebConfig};
use drover::model::{Attributes, OperationId, secret};
use drover::store::gameday;
use drover_tests::{Says, Shows, records};
use serde_json::{Value, json};

use crate::command::{Shell, failed, run};
use crate::refusals::{refuse_all, refused};
use crate::world::{ADMIN_TOKEN, Answer, Deployment, TOKEN, change, well};

async fn allowed() -> Deployment {
    Deployment::with(mark).await
}

/// One with an admin token of its own.
async fn guarded() -> Deployment {
    Deployment::with(|config| {
        mark(config);
        config.admin_token = Some(secret(ADMIN_TOKEN));
    })
    .await
}

fn mark(config: &mut WebConfig) {
    config.gameday = GamedayMark::Allowed;
}

impl Deployment {
    async fn gameday(&self, body: &Value) -> Answer {
        self.post("/v1/gameday", body).await
    }

    async fn post_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        // The same key each time: who was refused has not used it up.
        let request = self.request("POST", path).bearer_auth(token);
        let request = request.header("idempotency-key", "k-1");
        self.send(request.body(body.to_string())).await
    }

    /// A database alone on a server of no cloud, both in service.
    async fn one_database(&self) -> (String, String) {
        let server = self.server("pg1").await;
        let id = self.resource(&server, "app").await;
        for subject in [&server, &id] {
            let seen = self.feel(subject, well()).await;
            let now = Some(change("uncertain", "available", seen));
            self.think(subject, now, None).await;
        }
        (server, id)
    }
}

fn asks(subject: &str, how: &str) -> Value {
    json!({"subject": subject, "how": how, "reason": "to see"})
}

#[tokio::test]
async fn what_is_not_marked_for_it_is_not_broken() {
    let drover = Deployment::start().await;
    let (_, id) = drover.one_database().await;
    let before = drover.record().await;
    let answer = drover.gameday(&asks(&id, "kill")).await;
    refused("mark", &answer, 403, "gameday_not_allowed", None);
    assert!(answer.text.contains("DROVER_GAMEDAY=allow"), "{answer:?}");
    assert_eq!(drover.record().await, before);
    let kill = ["gameday", "app", "kill", "--reason=x"];
    let told = Shell(&drover).output(&kill).await;
    assert_eq!(told.status.code(), Some(1), "{told:?}");
}

#[tokio::test]
async fn only_the_admin_token_breaks_and_heals_where_there_is_one() {
    let drover = guarded().await;
    let (_, id) = drover.one_database().await;
    let before = drover.record().await;
    let (begin, ask) = ("/v1/gameday", asks(&id, "fill"));
    let almost = &ADMIN_TOKEN[1..];
    for wrong in ["wrong-wrong-wrong-wrong", almost, &TOKEN[1..], ""] {
        let answer = drover.post_as(wrong, begin, &ask).await;
        refused(wrong, &answer, 401, "unauthorized", None);
    }
    // Before anything else is looked at, whether there is such a game day among it.
    let heal = "/v1/gameday/x/heal";
    for (path, body) in [(begin, &ask), (begin, &json!({})), (heal, &json!({}))] {
        let answer = drover.post_as(TOKEN, path, body).await;
        refused(path, &answer, 403, "forbidden", None);
        assert!(answer.text.contains("DROVER_ADMIN_TOKEN"), "{answer:?}");
        assert!(!answer.text.contains(ADMIN_TOKEN), "{answer:?}");
    }
    assert_eq!(drover.record().await, before);

    let begun = drover.post_as(ADMIN_TOKEN, begin, &ask).await;
    let begun = begun.is(202).json();
    let path = format!("/v1/gameday/{}", begun["id"].as_str().unwrap());
    let heal = format!("{path}/heal");
    let answer = drover.post_as(TOKEN, &heal, &json!({})).await;
    refused("heal", &answer, 403, "forbidden", None);
    let answer = drover.post_as(ADMIN_TOKEN, &heal, &json!({})).await;
    refused("nothing yet", &answer, 409, "not_now", None);

    // Each of them reads, and does all the rest.
    for token in [TOKEN, ADMIN_TOKEN] {
        for path in [path.as_str(), "/v1/gameday", "/v1/ring"] {
            let request = drover.request("GET", path).bearer_auth(token);
            let answer = drover.send(request).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        let name = format!("pg-{}", token.len());
        let body = json!({"name": name, "address": format!("{name}.example")});
        let request = drover.request("POST", "/v1/servers?wait=false");
        let request = request.bearer_auth(token).body(body.to_string());
        assert_eq!(drover.send(request).await.status, 201, "{name}");
    }
    let shown = drover.get(&path).await.json();
    shown.shows(json!({"id": begun["id"], "state": "queued"}));
}

#[tokio::test]
async fn the_command_presents_the_admin_token_where_it_has_one() {
    let drover = guarded().await;
    drover.one_database().await;
    let ask = ["gameday", "app", "fill", "--reason=x", "--timeout=0s"];
    let url = ("DROVER_URL", drover.url.as_str());
    let usual = ("DROVER_API_TOKEN", TOKEN);
    let told = failed(&run(&ask, &[url, usual]).await, 1);
    assert!(told.contains("DROVER_ADMIN_TOKEN"), "{told}");
    let list = run(&["gameday", "list"], &[url, usual]).await;
    assert!(list.status.success(), "{list:?}");
    let short = ("DROVER_ADMIN_TOKEN", "short");
    let told = failed(&run(&ask, &[url, usual, short]).await, 2);
    assert!(told.contains("at least 16"), "{told}");
    // Nobody is there who breaks it: it was asked for, and waited for.
    let admin = ("DROVER_ADMIN_TOKEN", ADMIN_TOKEN);
    let told = failed(&run(&ask, &[url, usual, admin]).await, 1);
    assert!(told.contains("not mended within"), "{told}");
    let id = drover.get("/v1/gameday").await.json()["items"][0]["id"].clone();
    let heal = ["gameday", "heal", id.as_str().unwrap()];
    let told = failed(&run(&heal, &[url, usual]).await, 1);
    assert!(told.contains("DROVER_ADMIN_TOKEN"), "{told}");
    let told = failed(&run(&heal, &[url, admin]).await, 1);
    assert!(told.contains("nothing was broken"), "{told}");
}

#[tokio::test]
async fn what_cannot_be_broken_like_that_is_refused_and_nothing_is_written() {
    let drover = allowed().await;
    let (server, id) = drover.one_database().await;
    let unseen = drover.server("pg2").await;
    let table = r#"
{"how": "hammer"}                            422 unknown_harm how
{"how": null}                                422 missing_field how
{"reason": null}                             422 missing_field reason
{"reason": " "}                              422 invalid_field reason
{"subject": "app"}                           400 malformed_id subject
{"subject": "db_01J8ZC0T3YQ5V7N2M4K6H9D1XB"} 404 not_found id
{"for_s": 10}                                422 invalid_field for_s
{"force": true}                              422 unknown_field force
{"subject": "@server", "how": "unplug"}      422 invalid_field how
{"how": "partition"}                         422 invalid_field how
{"subject": "@unseen", "how": "kill"}        409 wrong_state -
{"how": "fill", "for_s": 3601}               422 invalid_field for_s
"#;
    let values = [("@server", &*server), ("@unseen", &unseen)];
    refuse_all(&drover, "/v1/gameday", &asks(&id, "kill"), &values, table).await;

    let kind = drover::model::IncidentKind::XidWraparound;
    let open = crate::resolver::opened(&drover, &server, kind).await;
    let answer = drover.gameday(&asks(&id, "kill")).await;
    refused("not well", &answer, 409, "incident_open", None);
    assert!(answer.text.contains(&open.public()), "{answer:?}");

    // A second database: now the server is not this one's alone.
    drover.resource(&server, "other").await;
    let answer = drover.gameday(&asks(&id, "fill")).await;
    refused("shared", &answer, 422, "invalid_field", Some("how"));
    assert!(answer.text.contains(&server), "{answer:?}");
    let nobody = "/v1/gameday/op_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    let answer = drover.get(nobody).await;
    refused("unknown", &answer, 404, "not_found", Some("id"));
    let answer = drover.get("/v1/gameday?how=kill").await;
    refused("list", &answer, 400, "unknown_parameter", Some("how"));
    let list = drover.get("/v1/gameday").await.json();
    assert_eq!(list, json!({"items": [], "next_cursor": null}));
}

#[tokio::test]
async fn a_report_says_what_the_record_has_and_no_more() {
    let drover = allowed().await;
    let (_, id) = drover.one_database().await;
    let asked = drover.gameday(&asks(&id, "fill")).await.is(202).json();
    asked.shows(json!({"state": "queued", "broken_at": null}));
    let path = format!("/v1/gameday/{}", asked["id"].as_str().unwrap());
    let again = drover.gameday(&asks(&id, "kill")).await;
    refused("busy", &again, 409, "busy", None);
    let heal = drover.post(&format!("{path}/heal"), &json!({})).await;
    refused("nothing yet", &heal, 409, "not_now", None);

    // What a worker does, but for the harm.
    let operation = OperationId::from_public(asked["id"].as_str().unwrap()).unwrap();
    let mut db = drover.pool.acquire().await.unwrap();
    // Once only.
    for first in [true, false] {
        let begun = gameday::begin(&mut db, operation).await;
        assert_eq!(begun.unwrap(), first);
    }
    records::ended(&drover.pool, operation).await;
    let shown = drover.get(&path).await.json();
    assert_eq!(shown["state"], "broken");
    assert_ne!(shown["heal_at"], Value::Null);
    let again = drover.gameday(&asks(&id, "kill")).await;
    refused("not over", &again, 409, "busy", None);

    // It fails, and is well again.
    let gone = Attributes::failed(drover::model::Cause::Refused, "refused");
    let seen = drover.feel(&id, gone).await;
    drover.turns(&id, "available", "uncertain", seen).await;
    let shown = drover.get(&path).await.json();
    let after = |shown: &Value, what: &str| shown["after_s"][what].as_f64();
    let detected = after(&shown, "detected").unwrap();
    assert!(detected > 0.0, "{shown}");
    assert_eq!(after(&shown, "recovered"), None);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let seen = drover.feel(&id, well()).await;
    drover.turns(&id, "uncertain", "available", seen).await;
    let shown = drover.get(&path).await.json();
    assert_eq!(shown["state"], "recovered");
    assert!(after(&shown, "recovered").unwrap() > detected, "{shown}");
    shown.shows(json!({"incidents": [], "remedies": []}));
    // What comes later is not of this day.
    let seen = drover.feel(&id, well()).await;
    drover.turns(&id, "available", "unavailable", seen).await;
    let later = drover.get(&path).await.json();
    assert_eq!(after(&later, "recovered"), after(&shown, "recovered"));

    // It still fills the volume: until it is taken back, it is not over.
    let heal = format!("{path}/heal");
    drover.post(&heal, &json!({})).await.is(202);
    let open = drover.get("/v1/operations?state=open").await.json();
    assert_eq!(open["items"][0]["kind"], "gameday");
    assert_eq!(gameday::due(&mut db).await.unwrap().len(), 1);
    gameday::healed(&mut db, operation).await.unwrap();
    assert!(gameday::due(&mut db).await.unwrap().is_empty());
    let heal = drover.post(&format!("{path}/heal"), &json!({})).await;
    refused("healed", &heal, 409, "not_now", None);
    let told = Shell(&drover).text(&["gameday", "list"]).await;
    told.says(["fill", "recovered"]);
    let show = ["gameday", "show", asked["id"].as_str().unwrap()];
    let told = Shell(&drover).text(&show).await;
    told.says(["in service again"]);
}
