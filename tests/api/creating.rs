//! What is made: what may be asked for, what it then looks like, and the quotas.

use drover::model::Cloud;
use drover_tests::{Shows, sql};
use serde_json::{Value, json};

use crate::refusals::{refuse_all, refused};
use crate::world::Deployment;

#[tokio::test]
async fn a_server_is_wanted_and_shown_as_far_as_it_is_known() {
    let drover = Deployment::with_a_cloud().await;
    let server = drover.created("server", json!({"name": "new"})).await;
    server.shows(json!({"state": "creating", "origin": "created"}));
    server.shows(json!({"address": null, "ssh_user": null}));
    server.shows(json!({"cloud": "local", "region": "local", "zone": null}));
    // The first of the plan production's sizes there.
    assert_eq!(server["size"], "medium");
    let volume = json!({"gib": 100, "type": "gp3", "id": null});
    assert_eq!(server["volume"], volume);
    let operation = &server["operation"];
    operation.shows(json!({"kind": "create_server", "state": "open", "step": 0, "of": 0}));
    let id = operation["id"].as_str().unwrap();
    assert!(id.starts_with("op_"), "{id}");

    let all = json!({
        "name": "all", "cloud": "local", "region": "local", "zone": "b", "size": "large",
        "volume_gib": 7, "volume_type": "gp2", "tier": "standard", "postgres": 15,
    });
    let server = drover.created("server", all).await;
    server.shows(json!({"zone": "b", "size": "large", "volume": {"gib": 7}}));
    let any = drover.created("server", json!({"name": "any", "zone": "any"}));
    assert!(any.await["zone"].is_null());
    // Each has its token in the ring, and each operation its own.
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"tokens": 3, "astray": 0, "queues": {"resolve": {"Pending": 3}}}));
    let listed = drover.get("/v1/servers?state=creating").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_resource_is_wanted_with_a_server_and_shows_what_is_the_customer_s() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({
        "name": "shop", "plan": "production", "maintenance_window": "Sat 22:00 Europe/Berlin",
        "password": "swordfish-of-the-customer",
    });
    let shop = drover.created("resource", body).await;
    shop.shows(json!({"state": "creating", "plan": "production"}));
    assert_eq!(shop["maintenance_window"], "sat 22:00 Europe/Berlin");
    assert_eq!(shop["operation"]["kind"], "create_resource");
    for (field, prefix) in [("database", "d_"), ("user", "u_")] {
        let shown = shop[field].as_str().unwrap();
        assert!(shown.starts_with(prefix), "{shown}");
    }
    let server = shop["server"].as_str().unwrap();
    let server = drover.get(&format!("/v1/servers/{server}")).await.json();
    assert_eq!(server["for_plan"], "production");
    assert_eq!(server["operation"]["kind"], "create_server");

    // Two of the shared plan are on one server.
    let one = drover.created("resource", json!({"name": "one", "plan": "starter"}));
    let one = one.await;
    let two = drover.created("resource", json!({"name": "two", "plan": "starter"}));
    let two = two.await;
    assert_eq!(one["server"], two["server"]);
    assert_ne!(one["port"], two["port"]);
    assert!(one["maintenance_window"].is_null());

    // The customer's password is sealed, and so is drover's own.
    let record = drover.record().await;
    assert!(!record.contains("swordfish"));
    let sql = "select bool_or(password = customer_password) from resources";
    let same: bool = sql::scalar(&drover.pool, sql, ()).await;
    assert!(!same);
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_and_nothing_is_written() {
    let drover = Deployment::start().await;
    let answer = drover.post("/v1/servers", &json!({"name": "a"})).await;
    refused("no region", &answer, 409, "no_region", None);
    assert!(answer.text.contains("drover-worker resolve"), "{answer:?}");
    drover.region(Cloud::Local, "local", &["a", "b"]).await;
    drover.created("server", json!({"name": "taken"})).await;
    let taken = json!({"name": "taken", "plan": "starter"});
    drover.created("resource", taken.clone()).await;
    let before = drover.record().await;

    let server = json!({"name": "new"});
    let table = r#"
{"name": null, "size": "large"} 422 missing_field name | name
{"name": "A b"}                 422 invalid_field name | lower-case
{"cloud": "gcp"}                422 invalid_field cloud | local, ec2
{"cloud": "ec2"}                422 unknown_region cloud | local
{"region": "mars"}              422 unknown_region region | local
{"zone": "c"}                   422 unknown_zone zone | a, b, any
{"size": "m6i.large"}           422 unknown_size size | medium, large
{"tier": "gold"}                422 unknown_tier tier | /v1/tiers
{"volume_gib": 0}               422 invalid_field volume_gib | 65536
{"volume_gib": 65537}           422 invalid_field volume_gib | 65536
{"volume_gib": 1.5}             422 invalid_field volume_gib | 65536
{"volume_type": "io2"}          422 invalid_field volume_type | gp3
{"postgres": 12}                422 invalid_field postgres | 13 to 18
{"postgres": 19}                422 invalid_field postgres | 13 to 18
{"ssh_key": "swordfish"}        422 unknown_field ssh_key | `address`
{"plan": "starter"}             422 unknown_field plan | volume_gib
"#;
    refuse_all(&drover, "/v1/servers", &server, &[], table).await;
    let resource = json!({"name": "new", "plan": "starter"});
    let table = r#"
{"plan": null}                422 missing_field plan | starter, production
{"plan": "free"}              422 unknown_plan plan | starter, production
{"maintenance_window": "now"} 422 invalid_field maintenance_window | sun 03:00
{"zone": "c"}                 422 unknown_zone zone | a, b, any
{"password": ""}              422 invalid_field password | 1 to 1000
{"password": 5}               422 invalid_field password | string
{"port": 5432}                422 unknown_field port | `server`
{"tier": "standard"}          422 unknown_field tier | plan
{"size": "large"}             422 unknown_field size | plan
"#;
    refuse_all(&drover, "/v1/resources", &resource, &[], table).await;
    for (path, body) in [("servers", json!({"name": "taken"})), ("resources", taken)] {
        let answer = drover.post(&format!("/v1/{path}"), &body).await;
        refused(path, &answer, 409, "name_taken", Some("name"));
    }
    let waiting = drover.post("/v1/servers?wait=true", &server).await;
    refused("wait", &waiting, 400, "invalid_parameter", Some("wait"));

    // With two regions, one has to be named; and a plan can be missing in one.
    drover.region(Cloud::Ec2, "eu-central-1", &[]).await;
    let answer = drover.post("/v1/servers", &server).await;
    refused("which", &answer, 422, "missing_field", Some("region"));
    assert!(answer.text.contains("eu-central-1"), "{answer:?}");
    let sql = "update plans set sizes = sizes - 'ec2' where name = 'starter'";
    sql::run(&drover.pool, sql, ()).await;
    let there = json!({"name": "new", "plan": "starter", "cloud": "ec2"});
    let answer = drover.post("/v1/resources", &there).await;
    refused("plan", &answer, 422, "plan_not_there", Some("plan"));
    assert_eq!(drover.record().await, before);
    // A cloud that could not be asked for its zones gets the benefit of the doubt.
    let zone = json!({"name": "new", "cloud": "ec2", "zone": "eu-central-1a"});
    assert_eq!(drover.created("server", zone).await["size"], "m6i.large");
}

/// How many of these were answered with each status.
async fn all_at_once(drover: &Deployment, path: &str, bodies: Vec<Value>) -> (usize, usize) {
    let all = bodies.iter().map(|body| drover.post(path, body));
    let answers = futures::future::join_all(all).await;
    let of = |status| answers.iter().filter(|a| a.status == status).count();
    let (made, over) = (of(202), of(409));
    assert_eq!(made + over, answers.len(), "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status == 409) {
        refused("over", answer, 409, "quota_exceeded", None);
    }
    (made, over)
}

fn many(n: usize, plan: &str) -> Vec<Value> {
    (0..n)
        .map(|n| json!({"name": format!("{plan}-{n}"), "plan": plan}))
        .collect()
}

#[tokio::test]
async fn a_quota_is_kept_to_the_last_one_however_many_ask_at_once() {
    let drover = Deployment::with_quotas(7, 4).await;
    drover.region(Cloud::Local, "local", &[]).await;
    // Adopted ones do not count.
    let server = drover.server("there").await;
    drover.resource(&server, "app").await;

    let (made, over) = all_at_once(&drover, "/v1/resources", many(20, "production")).await;
    assert_eq!((made, over), (4, 16), "each has a server to itself");
    let servers = (0..5).map(|n| json!({"name": format!("s-{n}")})).collect();
    assert_eq!(all_at_once(&drover, "/v1/servers", servers).await, (0, 5));
    let answer = drover.post("/v1/servers", &json!({"name": "one"})).await;
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("DROVER_QUOTA_SERVERS"), "{message}");
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"tokens": 10, "astray": 0, "live_subjects": 10}));
}

#[tokio::test]
async fn a_plan_has_a_limit_of_its_own() {
    let drover = Deployment::with_quotas(5, 9).await;
    drover.region(Cloud::Local, "local", &[]).await;
    let sql = "update plans set max_resources = 3 where name = 'starter'";
    sql::run(&drover.pool, sql, ()).await;
    let (made, _) = all_at_once(&drover, "/v1/resources", many(9, "starter")).await;
    assert_eq!(made, 3);
    let answer = drover.post("/v1/resources", &many(10, "starter")[9]).await;
    assert!(answer.text.contains("max_resources"), "{answer:?}");
    let (made, _) = all_at_once(&drover, "/v1/resources", many(9, "production")).await;
    assert_eq!(made, 2, "the deployment's own holds besides");
    let tenth = &many(10, "production")[9];
    let answer = drover.post("/v1/resources", tenth).await;
    assert!(answer.text.contains("DROVER_QUOTA_RESOURCES"), "{answer:?}");
}

#[tokio::test]
async fn plans_and_regions_say_what_can_be_asked_for() {
    let drover = Deployment::start().await;
    assert_eq!(drover.get("/v1/regions").await.json()["items"], json!([]));
    drover.region(Cloud::Local, "local", &["a"]).await;
    let regions = drover.get("/v1/regions").await.json();
    let local = &regions["items"][0];
    local.shows(json!({"cloud": "local", "zones": ["a"], "problem": null}));
    let small = json!({"name": "small", "vcpus": 1, "memory_mib": 512});
    assert_eq!(local["sizes"][0], small);
    assert_eq!(local["sizes"].as_array().unwrap().len(), 3);
    let plans = drover.get("/v1/plans").await.json();
    assert_eq!(plans["items"][0]["name"], "starter");
    let plan = drover.get("/v1/plans/production").await.json();
    assert_eq!(plan["sizes"]["local"], json!(["medium", "large"]));
    assert_eq!(plan, plans["items"][1]);
    let answer = drover.get("/v1/plans/free").await;
    refused("plan", &answer, 404, "not_found", Some("name"));
    assert!(answer.text.contains("starter, production"), "{answer:?}");
    let answer = drover.get("/v1/regions?x=1").await;
    refused("parameter", &answer, 400, "unknown_parameter", Some("x"));
}
