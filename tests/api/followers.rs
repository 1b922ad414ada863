//! Followers: asked for, shown, refused, parted from their leader; and where clients
//! connect.

use drover::config::Quotas;
use drover::model::{Cloud, SecretKey, secret};
use drover::store::operations::{self, Fact};
use drover_tests::sql;
use serde_json::{Value, json};

use crate::command::Shell;
use crate::made::{id, path};
use crate::refusals::refused;
use crate::world::Deployment;

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

    async fn follow(&self, leader: &Value, body: Value) -> crate::world::Answer {
        self.post(&format!("{}/followers", path(leader)), &body)
            .await
    }

    async fn shown(&self, subject: &Value) -> Value {
        self.get(&path(subject)).await.json()
    }

    async fn url(&self, resource: &Value, query: &str) -> Value {
        let answer = self.get(&format!("{}/url{query}", path(resource))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn run(&self, sql: &'static str) {
        sql::run(&self.pool, sql, ()).await;
    }
}

#[tokio::test]
async fn a_follower_is_wanted_in_another_zone_and_both_sides_show_it() {
    let (drover, shop) = with_shop().await;
    assert_eq!(
        (&shop["leader"], &shop["followers"], &shop["epoch"]),
        (&Value::Null, &json!([]), &json!(1))
    );
    let answer = drover.follow(&shop, json!({})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let first = answer.json();
    assert_eq!(
        (&first["state"], &first["leader"], &first["followers"]),
        (&json!("creating"), &shop["id"], &json!([]))
    );
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
    assert_eq!(
        (&server["zone"], &server["size"], &server["for_plan"]),
        (&json!("b"), &json!("medium"), &json!("production"))
    );
    assert_eq!(server["operation"]["kind"], "create_server");

    let wanted = json!({"name": "reader", "zone": "b", "size": "large"});
    let second = drover.follow(&shop, wanted).await.json();
    let server = drover.server_of(&second).await;
    assert_eq!(
        (&second["name"], &server["zone"], &server["size"]),
        (&json!("reader"), &json!("b"), &json!("large"))
    );
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
        assert_eq!((&item["leader"], &item["followers"]), (&leads, &expected));
    }
    assert!(drover.shown(&server).await.get("followers").is_none());

    let deleted = format!("{}?confirm=reader", path(&second));
    assert_eq!(drover.delete(&deleted).await.status, 202);
    drover.is_gone(&second).await;
    let left = json!([first["id"], third["id"]]);
    assert_eq!(drover.shown(&shop).await["followers"], left);
    let ring = drover.get("/v1/ring").await.json();
    assert_eq!(
        (&ring["tokens"], &ring["live_subjects"], &ring["astray"]),
        (&json!(7), &json!(7), &json!(0))
    );
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
    assert_eq!(drover.delete(&deleted).await.status, 202);

    let before = drover.record().await;
    for (what, of, body, status, code, field, says) in [
        (
            "name",
            &shop,
            json!({"name": "A b"}),
            422,
            "invalid_field",
            Some("name"),
            "lower-case",
        ),
        (
            "taken",
            &shop,
            json!({"name": "reader"}),
            409,
            "name_taken",
            Some("name"),
            "bears it",
        ),
        (
            "zone",
            &shop,
            json!({"zone": "c"}),
            422,
            "unknown_zone",
            Some("zone"),
            "a, b",
        ),
        (
            "size",
            &shop,
            json!({"size": "small"}),
            422,
            "unknown_size",
            Some("size"),
            "medium, large",
        ),
        (
            "plan",
            &shop,
            json!({"plan": "premium"}),
            422,
            "unknown_field",
            Some("plan"),
            "zone",
        ),
        (
            "a follower's",
            &follower,
            json!({}),
            409,
            "is_follower",
            None,
            "its leader",
        ),
        (
            "a shared one's",
            &shared,
            json!({}),
            409,
            "shared_plan",
            None,
            "starter",
        ),
        (
            "an adopted one's",
            &adopted,
            json!({}),
            409,
            "adopted",
            None,
            "adopted",
        ),
        (
            "a going one's",
            &going,
            json!({}),
            409,
            "wrong_state",
            None,
            "destroyed",
        ),
    ] {
        let answer = drover.follow(of, body).await;
        refused(what, &answer, status, code, field);
        assert!(answer.text.contains(says), "{what}: {answer:?}");
        assert_eq!(drover.record().await, before, "{what}");
    }
    let nobody = json!({"kind": "resource", "id": "db_01J8ZC0T3YQ5V7N2M4K6H9D1XB"});
    let answer = drover.follow(&nobody, json!({})).await;
    refused("nobody", &answer, 404, "not_found", Some("id"));

    for _ in 1..5 {
        assert_eq!(drover.follow(&shop, json!({})).await.status, 202);
    }
    let before = drover.record().await;
    let answer = drover.follow(&shop, json!({})).await;
    refused("a sixth", &answer, 409, "too_many_followers", None);
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn followers_count_for_the_quotas_to_the_last_one() {
    let drover = Deployment::with_quotas(Quotas {
        resources: 3,
        servers: 9,
    })
    .await;
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
    let bodies = [
        (json!({"name": "shop", "plan": "premium"}), None),
        (
            json!({"name": "here", "plan": "premium", "zone": "c"}),
            Some("c"),
        ),
    ];
    for (body, zone) in bodies {
        let made = drover.created("resource", body).await;
        let followers = made["followers"].as_array().unwrap();
        assert_eq!(followers.len(), 1, "{made}");
        let at = format!("/v1/resources/{}", followers[0].as_str().unwrap());
        let follower = drover.get(&at).await.json();
        assert_eq!(
            (&follower["leader"], &follower["state"]),
            (&made["id"], &json!("creating"))
        );
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
async fn clients_find_all_nodes_that_are_there_in_one_address() {
    let drover = Deployment::with_a_cloud().await;
    let shop = json!({"name": "shop", "plan": "production", "zone": "a"});
    let shop = drover.created("resource", shop).await;
    let at = format!("{}/url", path(&shop));
    refused("early", &drover.get(&at).await, 409, "not_ready", None);
    for (query, code, field) in [
        ("?role=writer", "invalid_parameter", "role"),
        ("?user=x", "unknown_parameter", "user"),
        ("?role=leader&role=follower", "invalid_parameter", "role"),
    ] {
        let answer = drover.get(&format!("{at}{query}")).await;
        refused(query, &answer, 400, code, Some(field));
    }
    drover
        .is_made(&drover.server_of(&shop).await, "10.0.0.9")
        .await;
    drover.is_made(&shop, "").await;
    let (user, database) = (
        shop["user"].as_str().unwrap(),
        shop["database"].as_str().unwrap(),
    );
    // Of one node there is nothing to choose, but for a reader, which may come to have
    // a follower.
    let alone = drover.url(&shop, "").await;
    let address = format!("postgresql://{user}@10.0.0.9:5432/{database}?sslmode=require");
    assert_eq!(alone["url"], address);
    assert!(alone["tls_root_certs"].is_null());
    let reads = format!("{address}&target_session_attrs=prefer-standby");
    assert_eq!(drover.url(&shop, "?role=follower").await["url"], reads);

    // A follower that is being made is no node, and has none but its leader's.
    let reader = drover.follow(&shop, json!({"name": "reader"})).await.json();
    drover
        .is_made(&drover.server_of(&reader).await, "fd00::10")
        .await;
    assert_eq!(drover.url(&shop, "").await["url"], address);
    assert_eq!(drover.url(&reader, "").await["url"], address);
    drover.is_made(&reader, "").await;
    drover
        .run(
            "update resources set tls_root_cert = E'certificate of '
             || coalesce(leader_id, 'nobody') || E'\\n'",
        )
        .await;
    for resource in [&shop, &reader] {
        let both = drover.url(resource, "?role=leader").await;
        let hosts = format!("postgresql://{user}@10.0.0.9:5432,[fd00::10]:5432/{database}");
        let writes = format!("{hosts}?sslmode=verify-full&target_session_attrs=read-write");
        assert_eq!(both["url"], writes);
        let reads = drover.url(resource, "?role=follower").await;
        let reads = reads["url"].as_str().unwrap();
        assert!(reads.starts_with(&hosts), "{reads}");
        assert!(
            reads.ends_with("&target_session_attrs=prefer-standby"),
            "{reads}"
        );
        let roles: Vec<&Value> = both["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| &node["role"])
            .collect();
        assert_eq!(roles, ["leader", "follower"]);
        assert_eq!(both["nodes"][1]["zone"], "b");
        let certificates = both["tls_root_certs"].as_str().unwrap();
        assert_eq!(certificates.lines().count(), 2, "{certificates}");
    }
    // A node that nobody can check keeps the others from being checked.
    drover
        .run("update resources set tls_root_cert = null where leader_id is null")
        .await;
    let unpinned = drover.url(&shop, "").await;
    assert!(
        unpinned["url"]
            .as_str()
            .unwrap()
            .contains("sslmode=require"),
        "{unpinned}"
    );

    // One that is to be destroyed is left out at once.
    let deleted = format!("{}?confirm=reader", path(&reader));
    assert_eq!(drover.delete(&deleted).await.status, 202);
    assert_eq!(drover.url(&shop, "").await["url"], address);
}

#[tokio::test]
async fn a_follower_has_its_leader_s_customer_until_it_leads_itself() {
    let (drover, shop) = with_shop().await;
    let reader = drover.follow(&shop, json!({"name": "reader"})).await.json();
    let unfollow = json!({"action": "unfollow", "reason": "a copy to try things with"});
    let answer = drover.ask(&reader, unfollow.clone()).await;
    refused("too early", &answer, 409, "wrong_state", None);
    drover
        .is_made(&drover.server_of(&reader).await, "10.0.0.10")
        .await;
    drover.is_made(&reader, "").await;

    let credentials = drover
        .get(&format!("{}/credentials", path(&reader)))
        .await
        .json();
    assert_eq!(credentials["password"], "swordfish of theirs");
    assert_eq!(credentials["host"], "10.0.0.10");
    let url = credentials["url"].as_str().unwrap();
    assert!(
        url.contains("@10.0.0.9:5432,10.0.0.10:5432/") && url.ends_with("prefer-standby"),
        "{url}"
    );

    let there = drover.server("there").await;
    let adopted = drover.resource(&there, "app").await;
    let adopted = drover.get(&format!("/v1/resources/{adopted}")).await.json();
    let server = drover.server_of(&shop).await;
    let rotate = json!({"action": "rotate_password", "password": "swordfish again"});
    let before = drover.record().await;
    for (what, of, body, status, code, field) in [
        ("leads", &shop, &unfollow, 409, "no_follower", None),
        ("adopted", &adopted, &unfollow, 409, "adopted", None),
        (
            "server",
            &server,
            &unfollow,
            422,
            "unknown_action",
            Some("action"),
        ),
        ("password", &reader, &rotate, 409, "is_follower", None),
    ] {
        let answer = drover.ask(of, body.clone()).await;
        refused(what, &answer, status, code, field);
        assert_eq!(drover.record().await, before, "{what}");
    }
    let now = json!({"action": "unfollow", "now": true, "reason": "x"});
    let answer = drover.ask(&reader, now).await;
    refused("now", &answer, 422, "unknown_field", Some("now"));

    let answer = drover.ask(&reader, unfollow).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let operation = answer.json();
    assert_eq!(
        (&operation["kind"], &operation["not_before"]),
        (&json!("unfollow"), &Value::Null)
    );
    let again = drover.ask(&reader, json!({"action": "restart"})).await;
    refused("busy", &again, 409, "busy", None);

    // What a worker writes down when it leads.
    let key = SecretKey::from_base64(&["A".repeat(43), "=".into()].concat()).unwrap();
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
    operations::apply(&mut db, own, &leads, "tester")
        .await
        .unwrap();
    let done = drover::model::OperationState::Done;
    operations::end(&mut db, open.id, done, "tester", "it leads")
        .await
        .unwrap();
    db.commit().await.unwrap();
    let reader = drover.shown(&reader).await;
    assert_eq!(
        (&reader["leader"], &reader["epoch"]),
        (&Value::Null, &json!(2))
    );
    assert_eq!(drover.shown(&shop).await["followers"], json!([]));
    let told = drover.get("/v1/events").await.json();
    let [event] = &told["items"].as_array().unwrap()[..] else {
        panic!("{told}")
    };
    assert_eq!(
        (&event["kind"], &event["name"], &event["epoch"]),
        (&json!("unfollow"), &reader["name"], &json!(2))
    );
    assert_eq!(
        (&event["new_leader"]["id"], &event["old_leader"]["id"]),
        (&reader["id"], &shop["id"])
    );
    let credentials = drover
        .get(&format!("{}/credentials", path(&reader)))
        .await
        .json();
    assert_eq!(credentials["password"], "swordfish of the copy");
    let url = drover.url(&shop, "").await;
    assert!(!url["url"].as_str().unwrap().contains("10.0.0.10"), "{url}");
    // It can be followed itself, and keeps its own customer.
    assert_eq!(drover.follow(&reader, json!({})).await.status, 202);
    assert_eq!(drover.ask(&reader, rotate).await.status, 202);
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
        assert_eq!(drover.delete(&deleted).await.status, 202);
    }
    for going in [&shop, &made, &making] {
        let seen = drover.shown(going).await;
        assert_eq!(
            (&seen["state"], &seen["operation"]["kind"]),
            (&json!("destroying"), &json!("destroy_resource"))
        );
    }
    let stays = drover.shown(&parted).await;
    assert_eq!(
        (&stays["state"], &stays["operation"]),
        (&json!("available"), &Value::Null)
    );
}

#[tokio::test]
async fn followers_at_the_terminal() {
    let (drover, shop) = with_shop().await;
    drover
        .run("update resources set customer_role = 'u_1', customer_database = 'd_1'")
        .await;
    let shell = Shell(&drover);
    let mut told = String::new();
    let mut tell = async |arguments: &[&str]| {
        let text = shell.text(arguments).await;
        told += &format!("$ drover {}\n{text}\n", arguments.join(" "));
    };
    tell(&["url", "shop"]).await;
    tell(&["follow", "shop", "--name=reader", "--size=large"]).await;
    let reader = shell.json(&["show", "reader"]).await;
    drover
        .is_made(&drover.server_of(&reader).await, "10.0.0.10")
        .await;
    drover.is_made(&reader, "").await;
    tell(&["resources"]).await;
    tell(&["show", "shop"]).await;
    tell(&["show", "reader"]).await;
    tell(&["url", "shop"]).await;
    tell(&["url", "shop", "--role=follower"]).await;
    tell(&["act", "reader", "unfollow", "--by=ann"]).await;
    insta::with_settings!({filters => vec![
        (r"\b(srv|db|op)_[0-9A-Z]{26}", "${1}_ID"),
        (r"\d+s ago", "Ns ago"),
        (r" {2,}", "  "),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    ]}, { insta::assert_snapshot!(told) });
    let whole = shell.json(&["url", "reader", "--role=leader"]).await;
    assert_eq!(whole["nodes"][0]["id"], shop["id"]);
}
