//! Incidents as an operator reads them.

use drover::model::{IncidentKind, Kind};
use drover_tests::Shows;
use drover_tests::records::subject_of;
use serde_json::{Value, json};

use crate::reading::pages;
use crate::refusals::{all_refused, refused};
use crate::resolver::{act, escalated, is_due, open, opened, publish, put_off};
use crate::world::Deployment;

#[tokio::test]
async fn wrong_questions_about_incidents_are_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let id = opened(&drover, &server, IncidentKind::ServerDown).await;
    let before = drover.record().await;
    for (path, status, code, field) in [
        ("?state=well", 400, "invalid_parameter", "state"),
        ("?kind=flood", 400, "invalid_parameter", "kind"),
        ("?severity=loud", 400, "invalid_parameter", "severity"),
        ("?since=yesterday", 400, "invalid_parameter", "since"),
        ("?subject=there", 400, "malformed_id", "subject"),
        ("?limit=0", 400, "invalid_parameter", "limit"),
        ("?cursor=srv_1", 400, "invalid_cursor", "cursor"),
        ("?order=asc", 400, "unknown_parameter", "order"),
        ("?kind=blind&kind=blind", 400, "invalid_parameter", "kind"),
        ("/x", 400, "malformed_id", "id"),
        ("/%ff", 400, "malformed_id", "id"),
        ("/srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB", 400, "malformed_id", "id"),
        ("/inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB", 404, "not_found", "id"),
    ] {
        let answer = drover.get(&format!("/v1/incidents{path}")).await;
        refused(path, &answer, status, code, Some(field));
    }
    let here = id.public();
    let table = r#"
here    {}                                      422 missing_field action
here    {"action": "reboot"}                    422 unknown_action action
here    {"action": 5}                           422 invalid_field action
here    {"action": "resolve"}                   422 missing_field reason
here    {"action": "resolve", "reason": null}   422 missing_field reason
here    {"action": "resolve", "reason": ""}     422 invalid_field reason
here    {"action": "resolve", "reason": " \t "} 422 invalid_field reason
here    {"action": "resolve", "reason": "a\nb"} 422 invalid_field reason
here    {"action": "resolve", "reason": "@501"} 422 invalid_field reason
here    {"action": "hold", "reason": "\u0000"}  422 invalid_field reason
here    {"action": "hold", "by": ""}            422 invalid_field by
here    {"action": "hold", "by": "@101"}        422 invalid_field by
here    {"action": "hold", "force": true}       422 unknown_field force
here    {"action": "retry"}                     409 not_now action
here    {"action": "release"}                   409 not_now action
unknown {"action": "hold"}                      404 not_found id
inc_x   {"action": "hold"}                      400 malformed_id id
"#;
    all_refused(&drover, table, async |who, mut body| {
        for (field, length) in [("reason", 501), ("by", 101)] {
            if body[field] == format!("@{length}") {
                body[field] = "x".repeat(length).into();
            }
        }
        let at = match who {
            "here" => &here,
            "unknown" => "inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB",
            other => other,
        };
        let path = format!("/v1/incidents/{at}/actions");
        drover.post(&path, &body).await
    })
    .await;
    let path = format!("/v1/incidents/{here}/actions");
    let answer = drover.raw("POST", &path, "{").await;
    refused("no JSON", &answer, 400, "invalid_json", None);
    let answer = drover.delete(&format!("/v1/incidents/{here}")).await;
    refused("DELETE", &answer, 405, "method_not_allowed", None);
    for (kind, says) in [("flood", "must be one of"), ("blind", "not published")] {
        let answer = drover.get(&format!("/v1/resolvers/{kind}")).await;
        refused(kind, &answer, 404, "not_found", Some("kind"));
        assert!(answer.text.contains(says), "{answer:?}");
    }
    let answer = drover.get("/v1/resolvers?limit=1").await;
    refused("limit", &answer, 400, "unknown_parameter", Some("limit"));
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn incidents_are_listed_newest_first_filtered_and_in_pages() {
    let (drover, server, db) = Deployment::with_app().await;
    let mut all = Vec::new();
    for kind in IncidentKind::ALL {
        let subject = subject_of(*kind).map(|of| match of {
            Kind::Server => server.as_str(),
            Kind::Resource => db.as_str(),
        });
        let id = open(&drover, subject, *kind).await.unwrap();
        all.insert(0, (*kind, id.public()));
        // Ids of one millisecond are in no order.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let ids: Vec<String> = all.iter().map(|(_, id)| id.clone()).collect();
    let list = async |query: &str| {
        let path = format!("/v1/incidents?limit=4{query}");
        pages(&drover, &path).await
    };
    let seen = list("").await;
    assert_eq!(seen, ids.chunks(4).collect::<Vec<_>>());
    let full = format!("/v1/incidents?limit={}", ids.len());
    let full = pages(&drover, &full).await;
    // A last page that is just full has no next one.
    assert_eq!(full, std::slice::from_ref(&ids));

    let one = drover.get("/v1/incidents?kind=blind").await.json();
    let blind = &one["items"][0];
    let of_it = all.iter().find(|(kind, _)| *kind == IncidentKind::Blind);
    blind.shows(json!({"id": of_it.unwrap().1, "subject": null}));
    for (whose, of) in [(&server, Kind::Server), (&db, Kind::Resource)] {
        let kinds = IncidentKind::ALL.iter();
        let of_it = kinds.filter(|kind| subject_of(**kind) == Some(of));
        let listed = list(&format!("&subject={whose}")).await.concat();
        assert_eq!(listed.len(), of_it.count());
    }
    // The right number behind the wrong prefix is nobody.
    let nobody = server.replace("srv_", "db_");
    assert_eq!(list(&format!("&subject={nobody}")).await.concat().len(), 0);

    let last = ids.len() - 1;
    let closed = ids[last].strip_prefix("inc_").unwrap().parse().unwrap();
    let over = json!({"action": "resolve", "reason": "mended by hand"});
    act(&drover, closed, over).await.is(200);
    assert_eq!(list("&state=open").await.concat(), ids[..last]);
    assert_eq!(list("&state=resolved").await.concat(), ids[last..]);
    assert_eq!(list("&state=triggered").await.concat(), ids[..last]);

    let middle = format!("/v1/incidents/{}", ids[4]);
    let middle = drover.get(&middle).await.json();
    let since = middle["opened_at"].as_str().unwrap();
    assert_eq!(list(&format!("&since={since}")).await.concat(), ids[..5]);
    let since = since.replace('Z', "+00:00");
    assert_eq!(list(&format!("&since={since}")).await.concat(), ids[..5]);

    assert_eq!(list("&severity=error").await.concat().len(), 0);
    publish(&drover).await;
    // Of the published ones, the only one of that severity.
    let one = IncidentKind::HostKeyChanged;
    let (_, changed) = all.iter().find(|(kind, _)| *kind == one).unwrap();
    let errors = list("&severity=error").await.concat();
    assert_eq!(errors, std::slice::from_ref(changed));
    let shown = drover.get(&format!("/v1/incidents/{changed}")).await.json();
    shown.shows(json!({"severity": "error", "name": "there"}));
}

#[tokio::test]
async fn an_incident_is_shown_with_all_that_happened() {
    let (drover, server, db) = Deployment::with_app().await;
    let id = escalated(&drover, &db).await;
    let seen = drover.incident(id).await;
    seen.shows(json!({"subject": db, "name": "app"}));
    let possible = json!(["acknowledge", "retry", "hold", "resolve"]);
    assert_eq!(seen["actions"], possible);
    assert_eq!(seen["mode"]["mode"], "act");
    assert_eq!(seen["events"][0]["kind"], "opened");
    let runs = seen["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    runs[3].shows(json!({"step": "restart", "outcome": "failed"}));
    let told = seen["messages"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|m| (m["channel"].as_str().unwrap(), m["state"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("ticket", "delivered"), ("page", "dead")]);
    let message = seen["messages"][0]["id"].as_str().unwrap();
    assert!(message.starts_with("msg_"), "{message}");
    assert_eq!(seen["messages"][1]["last_error"], "PagerDuty answered 403");
    // On its subject's view, and on nobody else's.
    let of = |seen: &Value| seen["incidents"].clone();
    let shown = drover.get(&format!("/v1/resources/{db}")).await.json();
    let short = json!([{"id": id.public(), "kind": "resource_down", "state": "needs_human"}]);
    assert_eq!(of(&shown), short);
    let listed = drover.get("/v1/resources").await.json();
    assert_eq!(of(&listed["items"][0]), short);
    let other = drover.get(&format!("/v1/servers/{server}")).await.json();
    assert_eq!(of(&other), json!([]));
    // A forgotten subject's incident is still told by its name.
    drover.delete(&format!("/v1/resources/{db}")).await.is(204);
    let seen = drover.incident(id).await;
    seen.shows(json!({"name": "app", "resolved_by": "forgotten"}));
    assert_eq!(seen["actions"], json!([]));
}

#[tokio::test]
async fn an_operator_s_word_holds_but_does_not_blind_the_brake() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    for (subject, kind, again) in [
        (Some(server.as_str()), IncidentKind::DiskCritical, false),
        (None, IncidentKind::Blind, true),
    ] {
        let id = open(&drover, subject, kind).await.unwrap();
        assert_eq!(open(&drover, subject, kind).await, None, "one at a time");
        let over = json!({"action": "resolve", "reason": "seen to"});
        act(&drover, id, over).await.is(200);
        let next = open(&drover, subject, kind).await;
        assert_eq!(next, again.then_some(id), "{kind}");
    }
}

#[tokio::test]
async fn whoever_waited_for_a_resolved_incident_goes_on_at_once() {
    let (drover, server, db) = Deployment::with_app().await;
    let over = json!({"action": "resolve", "reason": "seen to"});
    for (subject, kind) in [
        (Some(server.as_str()), IncidentKind::ServerDown),
        (None, IncidentKind::Blind),
    ] {
        let waits = open(&drover, Some(&db), IncidentKind::ResourceDown).await;
        let cover = open(&drover, subject, kind).await.unwrap();
        let waits = match waits {
            Some(id) => id,
            None => drover.open_incident(&db).await,
        };
        put_off(&drover, waits).await;
        act(&drover, cover, over.clone()).await.is(200);
        assert_eq!(is_due(&drover, waits).await, Some(true), "{kind}");
    }
}
