//! Followers: asked for, shown, refused, parted from their leader.

use drover::model::{Cloud, secret};
use drover::store::operations::{self, Fact};
use drover_tests::{Says, Shows, sql};
use serde_json::{Value, json};

use crate::command::{Shell, Terminal, filters};
use crate::made::{id, path};
use crate::refusals::{all_refused, refused};
use crate::world::{Deployment, key};

/// One with a database in zone a that has a server to itself.
async fn with_shop() -> (Deployment, Value) {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    drover.stands_in(&shop, "a").await;
    (drover, shop)
}

impl Deployment {
    /// What a worker notes when the cloud says where a server is.
    async fn stands_in(&self, resource: &Value, zone: &str) {
        let server = self.server_of(resource).await;
        let sql = "update servers set zone = $2 where id = $1";
        sql::run(&self.pool, sql, (id(&server).id, zone)).await;
    }

    pub async fn follow(&self, leader: &Value, body: Value) -> crate::world::Answer {
        let at = format!("{}/followers", path(leader));
        self.post(&at, &body).await
    }

    pub async fn shown(&self, subject: &Value) -> Value {
        self.get(&path(subject)).await.json()
    }

    pub async fn url(&self, resource: &Value, query: &str) -> Value {
        let at = format!("{}/url{query}", path(resource));
        self.get(&at).await.is(200).json()
    }

    pub async fn run(&self, sql: &'static str) {
        sql::run(&self.pool, sql, ()).await;
    }
}

#[tokio::test]
async fn a_follower_is_wanted_in_another_zone_and_both_sides_show_it() {
    let (drover, shop) = with_shop().await;
    shop.shows(json!({"leader": null, "followers": [], "epoch": 1}));
    let first = drover.follow(&shop, json!({})).await.is(202).json();
    first.shows(json!({"state": "creating", "leader": shop["id"], "followers": []}));
    assert_eq!(first["operation"]["kind"], "create_follower");
    assert!(
        first["name"].as_str().unwrap().starts_with("shop-"),
        "{first}"
    );
    // What the customer has, and when it may be disturbed, is the leader's.
    for same in ["database", "user", "plan", "tier", "maintenance_window"] {
        assert_eq!(first[same], shop[same], "{same}");
    }
    let server = drover.server_of(&first).await;
    assert_ne!(first["server"], shop["server"]);
    server.shows(json!({"zone": "b", "size": "medium", "for_plan": "production"}));
    assert_eq!(server["operation"]["kind"], "create_server");

    let wanted = json!({"name": "reader", "zone": "b", "size": "large"});
    let second = drover.follow(&shop, wanted).await.json();
    let server = drover.server_of(&second).await;
    assert_eq!(second["name"], "reader");
    server.shows(json!({"zone": "b", "size": "large"}));
    // Two stand in b, one in a: its leader.
    let third = drover.follow(&shop, json!({})).await.json();
    assert_eq!(drover.server_of(&third).await["zone"], "a");

    let all = json!([first["id"], second["id"], third["id"]]);
    assert_eq!(drover.shown(&shop).await["followers"], all);
    let listed = drover.get("/v1/resources").await.json();
    for item in listed["items"].as_array().unwrap() {
        let (leads, expected) = match item["id"] == shop["id"] {
            true => (Value::Null, all.clone()),
            false => (shop["id"].clone(), json!([])),
        };
        item.shows(json!({"leader": leads, "followers": expected}));
    }
    assert!(drover.shown(&server).await.get("followers").is_none());

    let deleted = format!("{}?confirm=reader", path(&second));
    drover.delete(&deleted).await.is(202);
    drover.is_gone(&second).await;
    let left = json!([first["id"], third["id"]]);
    assert_eq!(drover.shown(&shop).await["followers"], left);
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"tokens": 7, "live_subjects": 7, "astray": 0}));
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_and_nothing_is_written() {
    let (drover, shop) = with_shop().await;
    let follower = drover.follow(&shop, json!({"name": "reader"})).await.json();
    let shared = json!({"name": "small", "plan": "starter"});
    let shared = drover.created("resource", shared).await;
    let there = drover.server("there").await;
    let adopted = drover.resource(&there, "app").await;
    let adopted = drover.get(&format!("/v1/resources/{adopted}")).await.json();
    let going = json!({"name": "going", "plan": "production"});
    let going = drover.created("resource", going).await;
    let deleted = format!("{}?confirm=going", path(&going));
    drover.delete(&deleted).await.is(202);

    let table = r#"
shop     {"name": "A b"}     422 invalid_field name | lower-case
shop     {"name": "reader"}  409 name_taken name | bears it
shop     {"zone": "c"}       422 unknown_zone zone | a, b
shop     {"size": "small"}   422 unknown_size size | medium, large
shop     {"plan": "premium"} 422 unknown_field plan | zone
follower {}                  409 is_follower - | its leader
shared   {}                  409 shared_plan - | starter
adopted  {}                  409 adopted - | adopted
going    {}                  409 wrong_state - | destroyed
"#;
    let named = [
        ("shop", &shop),
        ("follower", &follower),
        ("shared", &shared),
        ("adopted", &adopted),
        ("going", &going),
    ];
    all_refused(&drover, table, async |who, body| {
        let (_, of) = named.iter().find(|(name, _)| *name == who).unwrap();
        drover.follow(of, body).await
    })
    .await;
    let nobody = json!({"kind": "resource", "id": "db_01J8ZC0T3YQ5V7N2M4K6H9D1XB"});
    let answer = drover.follow(&nobody, json!({})).await;
    refused("nobody", &answer, 404, "not_found", Some("id"));

    for _ in 1..5 {
        drover.follow(&shop, json!({})).await.is(202);
    }
    let before = drover.record().await;
    let answer = drover.follow(&shop, json!({})).await;
    refused("a sixth", &answer, 409, "too_many_followers", None);
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn followers_count_for_the_quotas_to_the_last_one() {
    let drover = Deployment::with_quotas(3, 9).await;
    drover.region(Cloud::Local, "local", &["a", "b"]).await;
    let shop = json!({"name": "shop", "plan": "production", "zone": "a"});
    let shop = drover.created("resource", shop).await;
    // Five at once: there is room for two.
    let asked = (0..5).map(|_| drover.follow(&shop, json!({})));
    let answers = futures::future::join_all(asked).await;
    let of = |status| answers.iter().filter(|a| a.status == status).count();
    assert_eq!((of(202), of(409)), (2, 3), "{answers:?}");
    let over = answers.iter().find(|a| a.status == 409).unwrap();
    refused("over", over, 409, "quota_exceeded", None);
    assert!(over.text.contains("DROVER_QUOTA_RESOURCES"), "{over:?}");
    let followers = drover.shown(&shop).await["followers"].clone();
    assert_eq!(followers.as_array().unwrap().len(), 2);
    // And for the plan's own limit: one of plan premium is two.
    let drover = Deployment::with_a_cloud().await;
    drover.run("update plans set max_resources = 2").await;
    let one = json!({"name": "one", "plan": "premium"});
    let one = drover.created("resource", one).await;
    let before = drover.record().await;
    let two = json!({"name": "two", "plan": "premium"});
    let two = drover.post("/v1/resources", &two).await;
    for answer in [two, drover.follow(&one, json!({})).await] {
        refused("the plan's", &answer, 409, "quota_exceeded", None);
        assert!(answer.text.contains("max_resources"), "{answer:?}");
    }
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn premium_has_a_follower_from_its_birth_in_another_zone_or_is_not_made() {
    let drover = Deployment::start().await;
    drover.region(Cloud::Local, "local", &["a"]).await;
    let before = drover.record().await;
    let shop = json!({"name": "shop", "plan": "premium"});
    let answer = drover.post("/v1/resources", &shop).await;
    refused("one zone", &answer, 409, "too_few_zones", Some("region"));
    assert!(answer.text.contains("needs 2"), "{answer:?}");
    assert_eq!(drover.record().await, before);

    drover.region(Cloud::Local, "local", &["a", "b", "c"]).await;
    let here = json!({"name": "here", "plan": "premium", "zone": "c"});
    for (body, zone) in [(shop, None), (here, Some("c"))] {
        let made = drover.created("resource", body).await;
        let followers = made["followers"].as_array().unwrap();
        assert_eq!(followers.len(), 1, "{made}");
        let at = format!("/v1/resources/{}", followers[0].as_str().unwrap());
        let follower = drover.get(&at).await.json();
        follower.shows(json!({"leader": made["id"], "state": "creating"}));
        let name = format!("{}-follower-1", made["name"].as_str().unwrap());
        assert_eq!(follower["name"], name);
        let zones = [&made, &follower].map(|resource| drover.server_of(resource));
        let zones = futures::future::join_all(zones).await;
        assert_ne!(zones[0]["zone"], zones[1]["zone"]);
        assert!(zones.iter().all(|server| server["zone"].is_string()));
        if let Some(zone) = zone {
            assert_eq!(zones[0]["zone"], zone);
        }
    }
    // Its follower's name is taken: then neither is made.
    let taken = json!({"name": "next-follower-1", "plan": "starter"});
    drover.created("resource", taken).await;
    let before = drover.record().await;
    let next = json!({"name": "next", "plan": "premium"});
    let answer = drover.post("/v1/resources", &next).await;
    refused("taken", &answer, 409, "name_taken", Some("name"));
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn a_follower_has_its_leader_s_customer_until_it_leads_itself() {
    let (drover, shop) = with_shop().await;
    let reader = drover.follow(&shop, json!({"name": "reader"})).await.json();
    let unfollow = json!({"action": "unfollow", "reason": "a copy to try things with"});
    let answer = drover.ask(&reader, unfollow.clone()).await;
    refused("too early", &answer, 409, "wrong_state", None);
    drover.is_in_service(&reader, "10.0.0.10").await;

    let at = format!("{}/credentials", path(&reader));
    let credentials = drover.get(&at).await.json();
    credentials.shows(json!({"password": "swordfish of theirs", "host": "10.0.0.10"}));
    let url = credentials["url"].as_str().unwrap();
    url.says(["@10.0.0.9:5432,10.0.0.10:5432/"]);
    assert!(url.ends_with("prefer-standby"), "{url}");

    let there = drover.server("there").await;
    let adopted = drover.resource(&there, "app").await;
    let adopted = drover.get(&format!("/v1/resources/{adopted}")).await.json();
    let server = drover.server_of(&shop).await;
    let rotate = json!({"action": "rotate_password", "password": "swordfish again"});
    let table = r#"
shop    {"action": "unfollow", "reason": "x"}                        409 no_follower -
adopted {"action": "unfollow", "reason": "x"}                        409 adopted -
server  {"action": "unfollow", "reason": "x"}                        422 unknown_action action
reader  {"action": "rotate_password", "password": "swordfish again"} 409 is_follower -
reader  {"action": "unfollow", "now": true, "reason": "x"}           422 unknown_field now
"#;
    let named = [
        ("shop", &shop),
        ("adopted", &adopted),
        ("server", &server),
        ("reader", &reader),
    ];
    all_refused(&drover, table, async |who, body| {
        let (_, of) = named.iter().find(|(name, _)| *name == who).unwrap();
        drover.ask(of, body).await
    })
    .await;

    let operation = drover.ask(&reader, unfollow).await.is(202).json();
    operation.shows(json!({"kind": "unfollow", "not_before": null}));
    let again = drover.ask(&reader, json!({"action": "restart"})).await;
    refused("busy", &again, 409, "busy", None);

    // What a worker writes down when it leads.
    let key = key();
    let own = id(&reader).id;
    let seal = |what: &str, plain: &str| {
        let belongs = format!("{own}/{what}");
        key.seal(&secret(plain), &belongs).unwrap()
    };
    let mut db = drover.pool.begin().await.unwrap();
    let open = operations::open_of(&mut db, own).await.unwrap().remove(0);
    let leads = Fact::Leads {
        customer: seal("customer", "swordfish of the copy"),
        replication: Some(seal("replication", "swordfish for followers")),
        by: open.id,
    };
    let applied = operations::apply(&mut db, own, &leads, "tester").await;
    applied.unwrap();
    db.commit().await.unwrap();
    drover_tests::records::ended(&drover.pool, open.id).await;
    let reader = drover.shown(&reader).await;
    reader.shows(json!({"leader": null, "epoch": 2}));
    assert_eq!(drover.shown(&shop).await["followers"], json!([]));
    let told = drover.get("/v1/events").await.json();
    let [event] = &told["items"].as_array().unwrap()[..] else {
        panic!("{told}")
    };
    event.shows(json!({"kind": "unfollow", "name": reader["name"], "epoch": 2}));
    event.shows(json!({"new_leader": {"id": reader["id"]}, "old_leader": {"id": shop["id"]}}));
    let credentials = drover.get(&at).await.json();
    assert_eq!(credentials["password"], "swordfish of the copy");
    let url = drover.url(&shop, "").await;
    assert!(!url["url"].as_str().unwrap().contains("10.0.0.10"), "{url}");
    // It can be followed itself, and keeps its own customer.
    drover.follow(&reader, json!({})).await.is(202);
    drover.ask(&reader, rotate).await.is(202);
}

#[tokio::test]
async fn a_leader_takes_its_followers_along_and_who_was_parted_stays() {
    let (drover, shop) = with_shop().await;
    let made = drover.follower_of(&shop, "10.0.0.10").await;
    let making = drover.follow(&shop, json!({})).await.json();
    let parted = drover.follower_of(&shop, "10.0.0.11").await;
    let sql = "update resources set leader_id = null where id = $1";
    sql::run(&drover.pool, sql, [id(&parted).id]).await;
    let before = drover.record().await;
    let answer = drover.delete(&path(&shop)).await;
    refused("name", &answer, 409, "confirmation_needed", Some("confirm"));
    assert_eq!(drover.record().await, before);
    let deleted = format!("{}?confirm=shop", path(&shop));
    for _ in 0..2 {
        drover.delete(&deleted).await.is(202);
    }
    for going in [&shop, &made, &making] {
        let seen = drover.shown(going).await;
        seen.shows(json!({"state": "destroying", "operation": {"kind": "destroy_resource"}}));
    }
    let stays = drover.shown(&parted).await;
    stays.shows(json!({"state": "available", "operation": null}));
}

#[tokio::test]
async fn followers_at_the_terminal() {
    let (drover, shop) = with_shop().await;
    let named = "update resources set customer_role = 'u_1', customer_database = 'd_1'";
    drover.run(named).await;
    let shell = Shell(&drover);
    let mut at = Terminal::of(&drover);
    at.tell("url shop").await;
    at.tell("follow shop --name=reader --size=large").await;
    let reader = shell.json(&["show", "reader"]).await;
    drover.is_in_service(&reader, "10.0.0.10").await;
    at.tell("resources").await;
    at.tell("show shop").await;
    at.tell("show reader").await;
    at.tell("url shop").await;
    at.tell("url shop --role=follower").await;
    at.tell("act reader unfollow --by=ann").await;
    insta::with_settings!({filters => filters(&[])}, { insta::assert_snapshot!(at.told) });
    let whole = shell.json(&["url", "reader", "--role=leader"]).await;
    assert_eq!(whole["nodes"][0]["id"], shop["id"]);
}
