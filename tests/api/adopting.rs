//! Adopting and forgetting, and the first contact with a server.

use std::time::Duration;

use drover::model::{Attributes, Cause, DroverRoot, PublicId};
use drover::store::logins;
use drover_tests::{Says, Shows, sql};
use serde_json::{Value, json};

use crate::made;
use crate::refusals::refused;
use crate::world::{Answer, Deployment, key_pair, resource, well};

#[tokio::test]
async fn without_a_host_key_the_first_contact_s_is_shown_and_pinned() {
    let drover = Deployment::start().await;
    let (_, host_key) = key_pair("ecdsa", "");
    let host_key = host_key.rsplit_once(" a comment").unwrap().0;
    let body = json!({"name": "new", "address": "10.1.2.3", "ssh_port": 2222, "ssh_user": "root"});
    let worker = async {
        let id = drover.adopted("new").await;
        let mut seen = Attributes::failed(Cause::HostKeyUnknown, "its host key was read");
        seen.server.host_key = Some(host_key.into());
        drover.feel(&id, seen).await;
        // Between the two, the answer has to wait on.
        tokio::time::sleep(Duration::from_millis(400)).await;
        drover.think(&id, None, Some(host_key)).await;
    };
    let (answer, ()) = tokio::join!(drover.post("/v1/servers", &body), worker);
    assert_eq!(answer.status, 201, "{answer:?}");
    let server = answer.json();
    assert_eq!(server["host_key"], host_key);
    let fingerprint = server["host_key_fingerprint"].as_str().unwrap();
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    server["note"].says(["pinned"]);
    // root logs in, and needs nobody's leave.
    assert!(server["helper"].is_null());
    server.shows(json!({"address": "10.1.2.3", "ssh_port": 2222, "ssh_user": "root"}));
    server.shows(json!({"state": "uncertain", "origin": "adopted"}));
}

/// What is done to an instance is done to one server.
#[tokio::test]
async fn an_instance_is_one_live_servers() {
    let drover = Deployment::start().await;
    let server = |name: &str, address: &str, cloud: &str| json!({"name": name, "address": address, "cloud": cloud, "instance_id": "i-123"});
    let path = "/v1/servers?wait=false";
    let first = drover.post(path, &server("one", "10.1.2.3", "ec2")).await;
    let first = first.is(201).json()["id"].clone();
    let second = drover.post(path, &server("two", "10.1.2.4", "ec2")).await;
    let error = second.is(409).json()["error"].clone();
    error.shows(json!({"code": "already_adopted"}));
    error["message"].says([first.as_str().unwrap()]);
    // Another cloud's is another.
    let local = drover.post(path, &server("two", "10.1.2.4", "local")).await;
    local.is(201);
}

#[tokio::test]
async fn a_host_key_that_does_not_match_takes_the_adoption_back() {
    let drover = Deployment::start().await;
    let (_, host_key) = key_pair("ed25519", "");
    let body = json!({"name": "new", "address": "10.1.2.3", "host_key": host_key});
    let worker = async {
        let id = drover.adopted("new").await;
        let seen = Attributes::failed(Cause::HostKeyChanged, "it shows SHA256:another");
        drover.feel(&id, seen).await;
        id
    };
    let (answer, id) = tokio::join!(drover.post("/v1/servers", &body), worker);
    let error = answer.is(422).json()["error"].clone();
    error.shows(json!({"code": "host_key_mismatch", "field": "host_key"}));
    error["message"].says(["SHA256:another"]);
    drover.get(&format!("/v1/servers/{id}")).await.is(404);
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"live_subjects": 0, "astray": 0}));
    // Name and address are free again.
    drover.post("/v1/servers?wait=false", &body).await.is(201);
}

#[tokio::test]
async fn a_server_that_does_not_answer_yet_is_adopted_all_the_same() {
    let drover = Deployment::start().await;
    let (key, host_key) = key_pair("rsa", "");
    let body = json!({
        "name": "new", "address": "10.1.2.3", "host_key": host_key, "ssh_key": key,
        "cloud": "ec2", "instance_id": "i-123", "zone": "eu-central-1a",
    });
    let worker = async {
        let id = drover.adopted("new").await;
        let seen = Attributes::failed(Cause::Timeout, "no answer in 10 s");
        drover.feel(&id, seen).await;
    };
    let (answer, ()) = tokio::join!(drover.post("/v1/servers", &body), worker);
    assert_eq!(answer.status, 201, "{answer:?}");
    let server = answer.json();
    server["note"].says(["no answer in 10 s"]);
    let helper = "drover-worker helper postgres --ssh-key FILE | ssh root@10.1.2.3 sh";
    assert_eq!(server["helper"], helper);
    assert_eq!(server["last_observation"]["attributes"]["cause"], "timeout");
    server.shows(json!({"cloud": "ec2", "instance_id": "i-123"}));
    // A comment is no part of the pinned key, and the private one is not shown.
    answer
        .text
        .never_says(["a comment", "PRIVATE KEY", key.lines().nth(3).unwrap()]);
}

#[tokio::test]
async fn root_s_one_command_is_told_unless_a_drover_root_was_felt() {
    let drover = Deployment::start().await;
    for (name, version) in [("with", Some(1)), ("without", None)] {
        let (_, host_key) = key_pair("ed25519", "");
        let body = json!({"name": name, "address": format!("{name}.example"),
            "ssh_user": "keeper", "host_key": host_key});
        let worker = async {
            let id = drover.adopted(name).await;
            let mut seen = Attributes::available(1.0);
            let newest = Some(2);
            seen.server.drover_root = Some(DroverRoot { version, newest });
            drover.feel(&id, seen).await;
        };
        let (answer, ()) = tokio::join!(drover.post("/v1/servers", &body), worker);
        let server = answer.is(201).json();
        let felt = &server["last_observation"]["attributes"]["drover_root"];
        assert_eq!(
            (&felt["version"], &felt["newest"]),
            (&json!(version), &json!(2))
        );
        let helper = "drover-worker helper keeper | ssh root@without.example sh";
        let helper = version.is_none().then_some(helper);
        assert_eq!(server["helper"], json!(helper));
    }
}

#[tokio::test]
async fn without_workers_the_answer_says_so_after_ten_seconds() {
    let drover = Deployment::start().await;
    let begun = std::time::Instant::now();
    let body = json!({"name": "new", "address": "10.1.2.3"});
    let answer = drover.post("/v1/servers", &body).await.is(201);
    assert!(answer.json()["host_key"].is_null());
    answer.json()["note"].says(["no worker"]);
    assert!((9.5..12.0).contains(&begun.elapsed().as_secs_f64()));
}

/// Sends all of these at once. The table is held meanwhile, so that none of them
/// can be through before the last one has looked for duplicates.
async fn all_at_once(drover: &Deployment, table: &str, path: &str, bodies: Vec<Value>) -> Vec<u16> {
    let mut held = drover.pool.begin().await.unwrap();
    let lock = format!("lock table {table} in share row exclusive mode");
    sql::run(&mut *held, sqlx::AssertSqlSafe(lock), ()).await;
    let all = bodies.iter().map(|body| drover.post(path, body));
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(all), release);
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn the_same_place_cannot_be_adopted_twice_at_once() {
    let drover = Deployment::start().await;
    let server = |n| json!({"name": format!("n{n}"), "address": "10.1.2.3"});
    let servers = (0..5).map(server).collect();
    let statuses = all_at_once(&drover, "servers", "/v1/servers?wait=false", servers).await;
    assert_eq!(statuses, [201, 409, 409, 409, 409]);
    let server = drover.get("/v1/servers").await.json()["items"][0]["id"].clone();
    let on = |n| {
        let mut body = resource(server.as_str().unwrap(), &format!("n{n}"));
        body["database"] = "app".into();
        body
    };
    let resources = (0..5).map(on).collect();
    let statuses = all_at_once(&drover, "resources", "/v1/resources", resources).await;
    assert_eq!(statuses, [201, 409, 409, 409, 409]);
}

impl Deployment {
    /// Asks to adopt a database, with this changed.
    async fn adopts(&self, server: &str, name: &str, change: Value) -> Answer {
        let mut body = resource(server, name);
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        self.post("/v1/resources", &body).await
    }

    /// Adopts a server at this address, beside whatever is there.
    async fn beside(&self, name: &str, at: Value) -> String {
        let mut body = json!({"name": name, "ssh_port": 2222});
        body.as_object_mut()
            .unwrap()
            .extend(at.as_object().unwrap().clone());
        let answer = self.post("/v1/servers?wait=false", &body).await.is(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

/// drover works there as superuser: who adopts what it made could take a customer's login.
#[tokio::test]
async fn nothing_is_adopted_on_a_server_that_drover_made() {
    let (drover, shop) = Deployment::with_a_resource("starter").await;
    let made = shop["server"].as_str().unwrap();
    let (_, key) = key_pair("ed25519", "");
    let key = key.rsplit_once(" a comment").unwrap().0;
    let sql = "update servers set host_key = $2 where id = $1";
    sql::run(&drover.pool, sql, (&made[4..], key)).await;
    let address = drover
        .beside("address", json!({"address": "10.0.0.9"}))
        .await;
    let alias = json!({"address": "alias.example", "host_key": key});
    let alias = drover.beside("alias", alias).await;
    let another = drover
        .beside("another", json!({"address": "10.0.0.10"}))
        .await;
    let before = drover.record().await;
    for server in [made, &address, &alias] {
        for role in ["postgres", "drover", "u_of_a_customer"] {
            let change = json!({"user": role, "port": 5433});
            let answer = drover.adopts(server, "mine", change).await;
            refused(role, &answer, 409, "made_by_drover", Some("server"));
            answer.text.says([made]);
        }
    }
    assert_eq!(drover.record().await, before);
    drover.adopts(&another, "mine", json!({})).await.is(201);
}

#[tokio::test]
async fn a_role_has_one_password_and_so_one_owner() {
    let (drover, server, db) = Deployment::with_app().await;
    let same = drover
        .beside("same", json!({"address": "there.example"}))
        .await;
    let another = json!({"password": "swordfish-of-another"});
    for server in [&server, &same] {
        let before = drover.record().await;
        let answer = drover.adopts(server, "mine", another.clone()).await;
        refused("role", &answer, 409, "role_taken", Some("user"));
        answer.text.says([&*db]);
        assert_eq!(drover.record().await, before);
    }
    // More of the same cluster: by the one who knows the password, or as another role.
    drover.adopts(&server, "second", json!({})).await.is(201);
    let reader = json!({"password": "swordfish-of-another", "user": "reader"});
    drover.adopts(&server, "third", reader).await.is(201);
    let port = json!({"password": "swordfish-of-another", "port": 5433});
    drover.adopts(&server, "fourth", port).await.is(201);
}

/// What `restore_login` asks before it sets a password.
#[tokio::test]
async fn only_a_password_that_has_worked_counts_as_one_of_drover_s() {
    let (drover, shop) = Deployment::with_a_resource("starter").await;
    let server = drover.server("there").await;
    let app = drover.resource(&server, "app").await;
    let id = app.parse::<PublicId>().unwrap().id;
    let mut db = drover.pool.acquire().await.unwrap();
    let refusal = Attributes::failed(Cause::Authentication, "password authentication failed");
    let seen = drover.feel(&app, refusal).await;
    drover.turns(&app, "uncertain", "unavailable", seen).await;
    assert!(!logins::was_let_in(&mut db, id).await.unwrap());
    let seen = drover.feel(&app, well()).await;
    drover.turns(&app, "unavailable", "available", seen).await;
    assert!(logins::was_let_in(&mut db, id).await.unwrap());
    // What drover made has a password of drover's own.
    let made = made::id(&shop).id;
    assert!(logins::was_let_in(&mut db, made).await.unwrap());

    // It turns out to be in the very cluster that drover made for the shop.
    let elsewhere = !logins::in_anothers_cluster(&mut db, id).await.unwrap();
    assert!(elsewhere);
    let sql = "update resources set system_identifier = '7000000000000000001' where id = any($1)";
    sql::run(&drover.pool, sql, [vec![id, made]]).await;
    assert!(logins::in_anothers_cluster(&mut db, id).await.unwrap());
    assert!(!logins::in_anothers_cluster(&mut db, made).await.unwrap());
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_may_come_back() {
    let (drover, server, db) = Deployment::with_app().await;
    for of in [format!("resources/{db}"), format!("servers/{server}")] {
        let path = format!("/v1/{of}");
        drover.delete(&path).await.is(204);
        drover.get(&path).await.is(404);
        drover.delete(&path).await.is(404);
    }
    let ring = drover.get("/v1/ring").await.json();
    ring.shows(json!({"tokens": 0, "astray": 0}));
    let again = drover.server("there").await;
    assert_ne!(again, server);
    assert_ne!(drover.resource(&again, "app").await, db);
}

#[tokio::test]
async fn a_secret_is_in_no_answer_and_sealed_in_the_record() {
    let drover = Deployment::start().await;
    let (key, _) = key_pair("ed25519", "");
    let body = json!({"name": "there", "address": "there.example", "ssh_key": key});
    let answer = drover.post("/v1/servers?wait=false", &body).await;
    let server = answer.json()["id"].as_str().unwrap().to_owned();
    let app = resource(&server, "app");
    let made = drover.post("/v1/resources", &app).await;
    let db = made.json()["id"].as_str().unwrap().to_owned();
    drover.feel(&db, well()).await;
    let mut texts = vec![answer.text, made.text, drover.record().await];
    for path in ["servers", "resources", "ring", "tiers"] {
        texts.push(drover.get(&format!("/v1/{path}")).await.text);
    }
    for path in ["", "/observations", "/transitions"] {
        for of in [format!("servers/{server}"), format!("resources/{db}")] {
            texts.push(drover.get(&format!("/v1/{of}{path}")).await.text);
        }
    }
    for path in ["/", "/metrics", "/healthz"] {
        texts.push(drover.get(path).await.text);
    }
    let key_line = key.lines().nth(2).unwrap();
    for text in texts {
        text.never_says(["swordfish", key_line, "password\":", "ssh_key"]);
    }
    let sealed: Vec<u8> = sql::scalar(&drover.pool, "select password from resources", ()).await;
    assert!(!sealed.windows(9).any(|w| w == b"swordfish"));
}
