//! Modes: set through the API, and shown wherever the herd is.

use drover::model::{IncidentKind, Mode};
use drover_tests::{Says, Shows, sql};
use serde_json::{Value, json};

use crate::refusals::{all_refused, refused};
use crate::resolver::{is_due, open, put_off};
use crate::world::{Answer, Deployment};

async fn set(drover: &Deployment, scope: &str, body: Value) -> Answer {
    let path = format!("/v1/modes/{scope}");
    drover.raw("PUT", &path, body.to_string()).await
}

/// The two words of a text.
fn pair(text: &str) -> (&str, &str) {
    let (one, other) = text.trim().split_once(' ').unwrap();
    (one, other.trim())
}

async fn on(drover: &Deployment, id: &str) -> Value {
    let is_server = id.starts_with("srv_");
    let kind = if is_server { "servers" } else { "resources" };
    let shown = drover.get(&format!("/v1/{kind}/{id}")).await.json();
    let listed = drover.get(&format!("/v1/{kind}")).await.json();
    let items = listed["items"].as_array().unwrap();
    assert!(items.contains(&shown), "alone and in the list alike");
    shown["mode"].clone()
}

#[tokio::test]
async fn the_most_cautious_mode_holds_and_says_whose_it_is() {
    let (drover, server, db) = Deployment::with_app().await;
    let act = json!({"mode": "act", "scope": null, "name": null, "reason": null, "set_at": null});
    assert_eq!(on(&drover, &server).await, act);
    let list = drover.get("/v1/modes").await.json();
    let mut herd = act.clone();
    herd["scope"] = json!("herd");
    assert_eq!(list, json!({"items": [herd], "next_cursor": null}));

    // What is set, one after the other; then what holds for the server and for the
    // resource, and whose word that is. A server's own mode is its resources' too. Of two
    // alike, the wider one is named: lifting the other would not help.
    let table = "
subjects/DB     hold   | act    -             | hold   DB
tiers/standard  advise | advise tier:standard | hold   DB
subjects/DB     advise | advise tier:standard | advise tier:standard
subjects/SERVER hold   | hold   SERVER        | hold   SERVER
herd            hold   | hold   herd          | hold   herd
herd            act    | hold   SERVER        | hold   SERVER
subjects/SERVER act    | advise tier:standard | advise tier:standard
tiers/standard  act    | act    -             | advise DB
subjects/DB     act    | act    -             | act    -
";
    let table = table.replace("SERVER", &server).replace("DB", &db);
    for line in table.trim().lines() {
        let [set_now, server_s, db_s] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not three parts: {line}");
        };
        let (scope, mode) = pair(set_now);
        let body = json!({"mode": mode, "reason": format!(" because of {line} ")});
        let answer = set(&drover, scope, body).await.is(200);
        assert_eq!(answer.json()["mode"], mode, "{line}");
        for (id, held) in [(&server, server_s), (&db, db_s)] {
            let (mode, whose) = pair(held);
            let whose = (whose != "-").then_some(whose);
            let seen = on(&drover, id).await;
            seen.shows(json!({"mode": mode, "scope": whose}));
            // What is shown is what resolvers go by.
            let mut tx = drover.pool.acquire().await.unwrap();
            let subject = id.parse::<drover::model::PublicId>().unwrap().id;
            let effective = drover::store::modes::effective(&mut tx, Some(subject)).await;
            assert_eq!(effective.unwrap(), mode.parse::<Mode>().unwrap(), "{line}");
        }
    }
    let rows: i64 = sql::scalar(&drover.pool, "select count(*) from modes", ()).await;
    assert_eq!(rows, 0, "act is the same as none");
}

#[tokio::test]
async fn modes_are_listed_with_their_reasons_until_the_subject_is_forgotten() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    for (scope, mode) in [
        (format!("subjects/{server}"), "advise"),
        ("tiers/standard".into(), "advise"),
        ("herd".into(), "hold"),
    ] {
        let body = json!({"mode": mode, "reason": "a move"});
        set(&drover, &scope, body).await.is(200);
    }
    let listed = async || {
        let list = drover.get("/v1/modes").await.json();
        let items = list["items"].as_array().unwrap().iter();
        let items = items.map(|m| {
            assert_eq!(m["reason"], "a move");
            (m["scope"].clone(), m["name"].clone(), m["mode"].clone())
        });
        items.collect::<Vec<_>>()
    };
    let herd = (json!("herd"), Value::Null, json!("hold"));
    let tier = (json!("tier:standard"), Value::Null, json!("advise"));
    let there = (json!(server), json!("there"), json!("advise"));
    assert_eq!(listed().await, [herd.clone(), tier.clone(), there]);
    let path = format!("/v1/servers/{server}");
    drover.delete(&path).await.is(204);
    assert_eq!(listed().await, [herd, tier]);
}

#[tokio::test]
async fn a_mode_wakes_the_incidents_it_is_about() {
    let drover = Deployment::start().await;
    let gold = json!({"rules": {}}).to_string();
    drover.raw("PUT", "/v1/tiers/gold", gold).await.is(200);
    let golden = json!({"name": "golden", "address": "10.1.2.3", "tier": "gold"});
    let golden = drover.post("/v1/servers?wait=false", &golden).await.json()["id"].clone();
    let golden = golden.as_str().unwrap();
    let plain = drover.server("plain").await;
    let on_golden = drover.resource(golden, "on-golden").await;
    let on_plain = drover.resource(&plain, "on-plain").await;
    let blind = open(&drover, None, IncidentKind::Blind).await.unwrap();
    let mut of = vec![];
    for (subject, kind) in [
        (golden, IncidentKind::ServerDown),
        (&on_golden, IncidentKind::ResourceDown),
        (&plain, IncidentKind::ServerDown),
        (&on_plain, IncidentKind::ResourceDown),
    ] {
        of.push(open(&drover, Some(subject), kind).await.unwrap());
    }
    of.push(blind);
    let one = |id: &str| format!("subjects/{id}");
    for (scope, woken) in [
        ("herd".into(), [true, true, true, true, true]),
        // A server's tier is its resources' too, as far as modes go.
        ("tiers/gold".into(), [true, true, false, false, false]),
        ("tiers/standard".into(), [false, true, true, true, false]),
        (one(&plain), [false, false, true, true, false]),
        (one(&on_plain), [false, false, false, true, false]),
    ] {
        for mode in ["hold", "act"] {
            for id in &of {
                put_off(&drover, *id).await;
            }
            let body = json!({"mode": mode, "reason": "a move"});
            set(&drover, &scope, body).await.is(200);
            for (id, woken) in of.iter().zip(woken) {
                assert_eq!(is_due(&drover, *id).await, Some(woken), "{scope} {mode}");
            }
        }
    }
}

#[tokio::test]
async fn wrong_modes_are_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let before = drover.record().await;
    let hold = || json!({"mode": "hold", "reason": "a move"});
    let table = r#"
herd                                    {}                                           422 missing_field mode
herd                                    {"mode": "stop", "reason": "x"}              422 invalid_field mode
herd                                    {"mode": 1, "reason": "x"}                   422 invalid_field mode
herd                                    {"mode": "hold"}                             422 missing_field reason
herd                                    {"mode": "advise", "reason": null}           422 missing_field reason
herd                                    {"mode": "hold", "reason": "  "}             422 invalid_field reason
herd                                    {"mode": "act", "reason": "\n"}              422 invalid_field reason
herd                                    {"mode": "hold", "reason": "@501"}           422 invalid_field reason
herd                                    {"mode": "hold", "reason": "x", "for": "1h"} 422 unknown_field for
tiers/gold                              {"mode": "hold", "reason": "a move"}         404 not_found name
tiers/Gold!                             {"mode": "hold", "reason": "a move"}         422 invalid_field name
subjects/there                          {"mode": "hold", "reason": "a move"}         400 malformed_id id
subjects/inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB {"mode": "hold", "reason": "a move"}         400 malformed_id id
subjects/srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB {"mode": "hold", "reason": "a move"}         404 not_found id
subjects/OTHER                          {"mode": "hold", "reason": "a move"}         404 not_found id
"#;
    let other = server.replace("srv_", "db_");
    all_refused(&drover, table, async |scope, mut body| {
        if body["reason"] == "@501" {
            body["reason"] = "x".repeat(501).into();
        }
        set(&drover, &scope.replace("OTHER", &other), body).await
    })
    .await;
    let answer = set(&drover, "herds", hold()).await;
    refused("herds", &answer, 404, "not_found", None);
    let answer = drover.get("/v1/modes/herd").await;
    refused("GET", &answer, 405, "method_not_allowed", None);
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn whoever_looks_sees_the_mode_and_what_is_wrong() {
    let drover = Deployment::start().await;
    let server = drover.server("hidden-name").await;
    let quiet = drover.send(drover.request("GET", "/")).await.text;
    quiet.says(["None."]);
    quiet.never_says(["Mode "]);
    open(&drover, Some(&server), IncidentKind::ServerDown).await;
    open(&drover, None, IncidentKind::Blind).await;
    let hold = json!({"mode": "hold", "reason": "swordfish"});
    for scope in ["herd", &format!("subjects/{server}")] {
        set(&drover, scope, hold.clone()).await.is(200);
    }
    let ring = drover.get("/v1/ring").await.json();
    assert_eq!(ring["mode"], "hold");
    assert_eq!(ring["modes"], json!({"subject": {"hold": 1}}));
    let open = json!({"blind": {"triggered": 1}, "server_down": {"triggered": 1}});
    assert_eq!(ring["incidents"], open);

    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    // Somebody's will is no failure.
    let health = drover.send(drover.request("GET", "/healthz")).await;
    let health = health.is(200).json();
    health.shows(json!({"status": "ok", "mode": "hold", "open_incidents": 2}));
    let metrics = drover.send(drover.request("GET", "/metrics")).await.text;
    for line in [
        "drover_incidents{kind=\"server_down\",state=\"triggered\"} 1",
        "drover_incidents{kind=\"server_down\",state=\"needs_human\"} 0",
        "drover_incidents{kind=\"resource_down\",state=\"resolving\"} 0",
        "drover_mode{scope=\"herd\",mode=\"hold\"} 1",
        "drover_mode{scope=\"herd\",mode=\"act\"} 0",
        "drover_mode{scope=\"subject\",mode=\"hold\"} 1",
        "drover_mode{scope=\"tier\",mode=\"advise\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    let page = drover.send(drover.request("GET", "/")).await.text;
    page.says(["Mode hold:", "single subjects 1.", "Blind:"]);
    page.says(["server down", "needs human"]);
    page.never_says(["hidden-name", &server, "swordfish", "inc_"]);
}
