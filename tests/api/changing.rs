//! What may be asked of servers and resources: at once, or when their window opens.

use chrono::{DateTime, Utc};
use drover::model::{ExposeSecret, OperationId, Window};
use drover_tests::{Says, Shows, records, sql};
use serde_json::{Value, json};

use crate::made::{id, path};
use crate::refusals::{all_refused, refused};
use crate::world::{Deployment, key};

/// When the window that this means opens next; the day after tomorrow at the
/// earliest, whenever this test runs.
fn window_in_two_days() -> (String, DateTime<Utc>) {
    let day = Utc::now() + chrono::Duration::days(2);
    let text = format!("{} 03:00 UTC", day.format("%a").to_string().to_lowercase());
    let window: Window = text.parse().unwrap();
    (text, window.next(Utc::now()).0)
}

async fn finish(drover: &Deployment, operation: &Value) {
    let id = OperationId::from_public(operation["id"].as_str().unwrap()).unwrap();
    records::ended(&drover.pool, id).await;
}

#[tokio::test]
async fn what_disturbs_waits_for_the_window_and_urgent_work_breaks_it_with_a_reason() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let (text, opens) = window_in_two_days();
    let set = json!({"action": "set_window", "maintenance_window": text});
    let answer = drover.ask(&shop, set).await.is(200);
    assert_eq!(answer.json()["maintenance_window"], text);
    let server = drover.server_of(&shop).await;
    let large = json!({"action": "resize", "size": "large"});
    for (subject, on, body) in [
        (&shop, &shop, json!({"action": "restart"})),
        (&server, &server, json!({"action": "reboot"})),
        (&server, &server, json!({"action": "stop_start"})),
        (&server, &server, large.clone()),
        // A server's size is asked for at its resource too.
        (&shop, &server, large),
    ] {
        let answer = drover.ask(subject, body.clone()).await;
        assert_eq!(answer.status, 202, "{body}: {answer:?}");
        let operation = answer.json();
        operation.shows(json!({"kind": body["action"], "subject": on["id"]}));
        operation.shows(json!({"not_before": opens, "asked_by": "api"}));
        let shown = drover.get(&path(on)).await.json();
        assert_eq!(shown["operation"]["id"], operation["id"]);
        finish(&drover, &operation).await;

        let mut urgent = body.clone();
        urgent["now"] = true.into();
        let answer = drover.ask(subject, urgent.clone()).await;
        refused("no reason", &answer, 422, "missing_field", Some("reason"));
        urgent["reason"] = "the disk is dying".into();
        urgent["by"] = "ann".into();
        let operation = drover.ask(subject, urgent).await.json();
        let why = "the disk is dying";
        operation.shows(json!({"not_before": null, "reason": why, "asked_by": "ann"}));
        finish(&drover, &operation).await;
    }

    // The deployment's own window again.
    let set = json!({"action": "set_window", "maintenance_window": null});
    let answer = drover.ask(&shop, set).await;
    assert!(answer.json()["maintenance_window"].is_null());
    let operation = drover.ask(&shop, json!({"action": "restart"})).await.json();
    let sunday = Window::default().next(Utc::now()).0;
    if sunday > Utc::now() {
        assert_eq!(operation["not_before"], json!(sunday));
    }
}

#[tokio::test]
async fn in_its_window_it_is_done_at_once() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let before = Utc::now() - chrono::Duration::hours(1);
    let text = before.format("%a %H:%M UTC").to_string();
    let set = json!({"action": "set_window", "maintenance_window": text});
    drover.ask(&shop, set).await.is(200);
    let operation = drover.ask(&shop, json!({"action": "restart"})).await.json();
    assert!(operation["not_before"].is_null(), "{operation}");
}

#[tokio::test]
async fn several_resources_on_one_server_have_the_deployment_s_window() {
    let (drover, shop) = Deployment::with_a_resource("starter").await;
    let (text, opens) = window_in_two_days();
    let set = json!({"action": "set_window", "maintenance_window": text});
    drover.ask(&shop, set).await.is(200);
    let server = drover.server_of(&shop).await;
    let reboot = json!({"action": "reboot"});
    let alone = drover.ask(&server, reboot.clone()).await.json();
    assert_eq!(alone["not_before"], json!(opens));
    finish(&drover, &alone).await;
    let two = json!({"name": "two", "plan": "starter"});
    drover.created("resource", two).await;
    let both = drover.ask(&server, reboot).await.json();
    let (sunday, ends) = Window::default().next(Utc::now());
    assert!(ends > Utc::now());
    let expected = (sunday > Utc::now()).then_some(sunday);
    assert_eq!(both["not_before"], json!(expected));
}

#[tokio::test]
async fn growing_and_a_new_password_do_not_wait_and_the_password_is_sealed() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let grow = json!({"action": "grow", "volume_gib": 200, "reason": "it fills up"});
    let operation = drover.ask(&shop, grow).await.json();
    assert_eq!(operation["subject"], shop["server"]);
    assert_eq!(operation["params"], json!({"volume_gib": 200}));
    assert!(operation["not_before"].is_null());

    let rotate = json!({"action": "rotate_password", "password": "swordfish-the-second"});
    let answer = drover.ask(&shop, rotate).await.is(202);
    assert!(!answer.text.contains("swordfish"), "{answer:?}");
    let operation = answer.json();
    assert_eq!(operation["params"], json!({}));
    let kept = async |operation: &Value| -> String {
        let id = OperationId::from_public(operation["id"].as_str().unwrap()).unwrap();
        let sql = "select secret from operations where kind = 'rotate_password' and id = $1";
        let sealed: Vec<u8> = sql::scalar(&drover.pool, sql, [id]).await;
        let opened = key().open(&sealed, &format!("{id}/secret")).unwrap();
        ExposeSecret::expose_secret(&opened).to_owned()
    };
    assert_eq!(kept(&operation).await, "swordfish-the-second");
    assert!(!drover.record().await.contains("swordfish"));
    finish(&drover, &operation).await;

    // Without one, it is made up.
    let rotate = json!({"action": "rotate_password"});
    let operation = drover.ask(&shop, rotate).await.json();
    let opened = kept(&operation).await;
    assert!(opened.len() == 32 && opened.bytes().all(|b| b.is_ascii_alphanumeric()));
}

#[tokio::test]
async fn a_new_name_is_there_at_once_and_unique() {
    let (drover, shop) = Deployment::with_a_resource("starter").await;
    let other = json!({"name": "other", "plan": "starter"});
    drover.created("resource", other).await;
    let rename = |name: &str| json!({"action": "rename", "name": name});
    let answer = drover.ask(&shop, rename("store")).await.is(200);
    assert_eq!(answer.json()["name"], "store");
    drover.ask(&shop, rename("store")).await.is(200);
    let answer = drover.ask(&shop, rename("other")).await;
    refused("taken", &answer, 409, "name_taken", Some("name"));
    let answer = drover.ask(&shop, rename("Not A Name")).await;
    refused("name", &answer, 422, "invalid_field", Some("name"));
    // A server may bear a resource's name, and an adopted one be renamed.
    let server = drover.server_of(&shop).await;
    drover.ask(&server, rename("other")).await.is(200);
    let adopted = drover.server("there").await;
    let adopted = drover.get(&format!("/v1/servers/{adopted}")).await.json();
    drover.ask(&adopted, rename("here")).await.is(200);
    // Many who want one name: one gets it.
    let mut all = Vec::new();
    for n in 0..6 {
        let body = json!({"name": format!("r{n}"), "plan": "starter"});
        all.push(drover.created("resource", body).await);
    }
    let asked = all.iter().map(|one| drover.ask(one, rename("wanted")));
    let answers = futures::future::join_all(asked).await;
    let got = answers.iter().filter(|a| a.status == 200).count();
    assert_eq!(got, 1, "{answers:?}");
    for answer in answers.iter().filter(|a| a.status != 200) {
        refused("race", answer, 409, "name_taken", Some("name"));
    }
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_nothing_is_written() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let small = json!({"name": "small", "plan": "starter"});
    let small = drover.created("resource", small).await;
    let server = drover.server_of(&shop).await;
    let shared = drover.server_of(&small).await;
    let table = r#"
shop   {}                                                  422 missing_field action | action
shop   {"action": "reboot"}                                422 unknown_action action | rotate_password
server {"action": "restart"}                               422 unknown_action action | stop_start
shop   {"action": "restart", "size": "large"}              422 unknown_field size | reason
shop   {"action": "restart", "now": "yes"}                 422 invalid_field now | true or false
shop   {"action": "resize"}                                422 missing_field size | size
shop   {"action": "resize", "size": "small"}               422 unknown_size size | medium, large
server {"action": "resize", "size": "t3.large"}            422 unknown_size size | small, medium, large
shop   {"action": "resize", "size": "medium"}              422 same_size size | medium
shop   {"action": "grow"}                                  422 missing_field volume_gib | volume_gib
shop   {"action": "grow", "volume_gib": 99}                422 volume_smaller volume_gib | 100 GiB
server {"action": "grow", "volume_gib": 100}               422 volume_smaller volume_gib | 100 GiB
server {"action": "grow", "volume_gib": 70000}             422 invalid_field volume_gib | 65536
shop   {"action": "rotate_password", "password": ""}       422 invalid_field password | 1 to 1000
shop   {"action": "set_window", "maintenance_window": "x"} 422 invalid_field maintenance_window | sun 03:00
small  {"action": "restart"}                               409 wrong_state - | creating
shared {"action": "reboot"}                                409 wrong_state - | creating
"#;
    let named = [
        ("shop", &shop),
        ("server", &server),
        ("small", &small),
        ("shared", &shared),
    ];
    all_refused(&drover, table, async |who, body| {
        let (_, on) = named.iter().find(|(name, _)| *name == who).unwrap();
        drover.ask(on, body).await
    })
    .await;
    drover.is_made(&shared, "10.0.0.10").await;
    drover.is_made(&small, "").await;
    for body in [
        json!({"action": "resize", "size": "large"}),
        json!({"action": "grow", "volume_gib": 500}),
    ] {
        let answer = drover.ask(&small, body).await;
        refused("shared", &answer, 409, "shared_plan", None);
        assert!(answer.text.contains("starter"), "{answer:?}");
    }
    // One that waits for its window keeps nothing off but its own kind, and what is done
    // at once is one at a time.
    let restart = json!({"action": "restart"});
    let first = drover.ask(&shop, restart.clone()).await.json();
    let answer = drover.ask(&shop, restart.clone()).await;
    refused("waiting", &answer, 409, "busy", None);
    answer.text.says([first["id"].as_str().unwrap()]);
    let rotate = json!({"action": "rotate_password"});
    let first = drover.ask(&shop, rotate).await.json();
    let wait = json!({"action": "set_durability", "durability": "async"});
    let answer = drover.ask(&shop, wait).await;
    refused("busy", &answer, 409, "busy", None);
    answer.text.says([first["id"].as_str().unwrap()]);
    // What is on its way out is left alone, renaming included.
    let gone = format!("{}?confirm=shop", path(&shop));
    drover.delete(&gone).await.is(202);
    for body in [
        restart,
        json!({"action": "rename", "name": "x"}),
        json!({"action": "set_window"}),
    ] {
        let answer = drover.ask(&shop, body).await;
        refused("going", &answer, 409, "wrong_state", None);
    }
    drover.is_gone(&shop).await;
    let answer = drover.ask(&shop, json!({"action": "restart"})).await;
    refused("gone", &answer, 404, "not_found", Some("id"));
}

#[tokio::test]
async fn of_what_was_adopted_little_can_be_asked() {
    let (drover, server, db) = Deployment::with_app().await;
    let db = drover.get(&format!("/v1/resources/{db}")).await.json();
    let server = drover.get(&format!("/v1/servers/{server}")).await.json();
    for (on, body) in [
        (&db, json!({"action": "resize", "size": "large"})),
        (&db, json!({"action": "grow", "volume_gib": 200})),
        (&db, json!({"action": "rotate_password"})),
        (&server, json!({"action": "reboot"})),
        (&server, json!({"action": "stop_start"})),
        (&server, json!({"action": "resize", "size": "large"})),
        (&server, json!({"action": "grow", "volume_gib": 200})),
    ] {
        let answer = drover.ask(on, body.clone()).await;
        refused(&body.to_string(), &answer, 409, "adopted", None);
    }
    let window = json!({"action": "set_window", "maintenance_window": "mon 04:00 UTC"});
    drover.ask(&db, window).await.is(200);
    drover.ask(&db, json!({"action": "restart"})).await.is(202);
    // A cloud reboots even a server that was adopted.
    let body = json!({"name": "ec", "address": "ec.example", "cloud": "ec2", "instance_id": "i-1"});
    let answer = drover.post("/v1/servers?wait=false", &body).await;
    let reboot = json!({"action": "reboot"});
    drover.ask(&answer.json(), reboot).await.is(202);
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_is_heard() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let server = drover.server_of(&shop).await;
    let asked = (0..12).map(|n| {
        let on = if n % 2 == 0 { &shop } else { &server };
        drover.ask(on, json!({"action": "grow", "volume_gib": 200 + n}))
    });
    let answers = futures::future::join_all(asked).await;
    let heard = answers.iter().filter(|a| a.status == 202).count();
    assert_eq!(heard, 1, "{answers:?}");
    for answer in answers.iter().filter(|a| a.status != 202) {
        refused("race", answer, 409, "busy", None);
    }
    // Changes and destroying at once: whatever comes first, nothing breaks.
    let gone = format!("{}?confirm=shop", path(&shop));
    let destroy = async { drover.delete(&gone).await };
    let asks =
        futures::future::join_all((0..8).map(|_| drover.ask(&shop, json!({"action": "restart"}))));
    let (destroyed, asked) = tokio::join!(destroy, asks);
    assert_eq!(destroyed.status, 202, "{destroyed:?}");
    for answer in asked {
        assert!([202, 409].contains(&answer.status), "{answer:?}");
    }
    let sql = "select count(*) from operations where state = 'open' and subject_id = $1";
    let open: i64 = sql::scalar(&drover.pool, sql, [id(&shop).id]).await;
    assert_eq!(open, 1);
}
