//! What commits wait for: asked for at birth and later, refused where nobody could be
//! waited for, and what follows from it for the last follower.

use drover::model::Durability;
use drover::store::operations::{self, Fact};
use drover_tests::sql;
use serde_json::{Value, json};

use crate::command::{Shell, words};
use crate::made::{id, path};
use crate::refusals::{refuse_all, refused};
use crate::world::Deployment;

fn set(durability: &str) -> Value {
    json!({"action": "set_durability", "durability": durability})
}

impl Deployment {
    async fn durability(&self, resource: &Value) -> Value {
        self.get(&path(resource)).await.json()["durability"].clone()
    }
}

#[tokio::test]
async fn sync_is_had_from_birth_by_plans_with_followers_and_refused_to_others() {
    let drover = Deployment::with_a_cloud().await;
    let table = r#"
{"plan": "production", "durability": "sync"} 422 no_follower durability | plan production comes without one
{"plan": "premium", "durability": "quorum"}  422 invalid_field durability | async, sync
"#;
    let shop = json!({"name": "shop"});
    refuse_all(&drover, "/v1/resources", &shop, &[], table).await;

    let shell = Shell(&drover);
    let create = words("create resource --name=safe --plan=premium --durability=sync");
    let safe = shell.json(&create).await;
    assert_eq!(safe["durability"], "sync");
    let follower = safe["followers"][0].as_str().unwrap();
    let follower = format!("/v1/resources/{follower}");
    let follower = drover.get(&follower).await.json();
    assert_eq!(follower["durability"], "sync", "it may lead one day");
    let create = ["create", "resource", "--name=quick", "--plan=premium"];
    assert_eq!(shell.json(&create).await["durability"], "async");
    // Where the plan is sync, whoever says nothing gets that, and async who says so.
    let sql = "update plans set durability = 'sync' where name in ('premium', 'starter')";
    sql::run(&drover.pool, sql, ()).await;
    let create = ["create", "resource", "--name=other", "--plan=premium"];
    assert_eq!(shell.json(&create).await["durability"], "sync");
    let create = [
        &create[..2],
        &["--name=third", "--plan=premium", "--durability=async"],
    ];
    assert_eq!(shell.json(&create.concat()).await["durability"], "async");
    let small = json!({"name": "small", "plan": "starter"});
    let answer = drover.post("/v1/resources", &small).await;
    let field = Some("durability");
    refused("the plan's", &answer, 422, "no_follower", field);
}

#[tokio::test]
async fn durability_is_changed_where_a_follower_is_and_keeps_the_last_one() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let table = r#"
{"durability": "sync"}  409 no_follower -
{"durability": "never"} 422 invalid_field durability
{}                      422 missing_field durability
"#;
    let set_it = json!({"action": "set_durability"});
    let at = format!("{}/actions", path(&shop));
    refuse_all(&drover, &at, &set_it, &[], table).await;
    // One that is being made is nobody to wait for.
    let making = drover.follow(&shop, json!({})).await;
    let answer = drover.ask(&shop, set("sync")).await;
    refused("in the making", &answer, 409, "no_follower", None);
    let making = making.json();
    drover.is_in_service(&making, "10.0.0.8").await;
    let follower = drover.get(&path(&making)).await.json();
    let answer = drover.ask(&follower, set("sync")).await;
    refused("a follower's", &answer, 409, "is_follower", None);

    let shell = Shell(&drover);
    let text = shell.text(&["act", "shop", "set-durability", "sync"]).await;
    assert!(text.contains("Changing the durability of shop"), "{text}");
    let asked = drover.ask(&shop, set("async")).await;
    refused("busy", &asked, 409, "busy", None);
    let open = drover.get(&path(&shop)).await.json()["operation"].clone();
    let open = format!("/v1/operations/{}", open["id"].as_str().unwrap());
    let open = drover.get(&open).await.json();
    assert_eq!(open["params"], json!({"durability": "sync"}), "{open}");
    let sync = Fact::Durability(Durability::Sync);
    drover.is_done(&shop, Some(&sync)).await;
    for node in [&shop, &follower] {
        assert_eq!(drover.durability(node).await, "sync");
    }

    // The last one stays; of two, one may go.
    let before = drover.record().await;
    let part = json!({"action": "unfollow"});
    let name = follower["name"].as_str().unwrap();
    let destroy = format!("{}?confirm={name}", path(&follower));
    for answer in [
        drover.ask(&follower, part.clone()).await,
        drover.delete(&destroy).await,
    ] {
        refused("the last", &answer, 409, "last_follower", None);
        assert!(answer.text.contains("set-durability async"), "{answer:?}");
        assert_eq!(drover.record().await, before);
    }
    let second = drover.follower_of(&shop, "10.0.0.7").await;
    assert_eq!(second["durability"], "sync");
    drover.ask(&second, part.clone()).await.is(202);
    let answer = drover.delete(&destroy).await;
    refused("the other goes", &answer, 409, "last_follower", None);
    // Who leads alone from then on waits for nobody.
    let mut db = drover.pool.begin().await.unwrap();
    let open = operations::open_of(&mut db, id(&second).id).await.unwrap();
    let leads = Fact::Leads {
        customer: vec![1],
        replication: None,
        by: open[0].id,
    };
    let applied = operations::apply(&mut db, id(&second).id, &leads, "t").await;
    applied.unwrap();
    db.commit().await.unwrap();
    assert_eq!(drover.durability(&second).await, "async");

    drover.ask(&shop, set("async")).await.is(202);
    let fact = Fact::Durability(Durability::Async);
    drover.is_done(&shop, Some(&fact)).await;
    drover.ask(&follower, part).await.is(202);
    // With its leader, it may go at any time.
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let follower = drover.follower_of(&shop, "10.0.0.7").await;
    drover.ask(&shop, set("sync")).await.is(202);
    drover.is_done(&shop, Some(&sync)).await;
    assert_eq!(drover.durability(&follower).await, "sync");
    let destroy = format!("{}?confirm=shop", path(&shop));
    drover.delete(&destroy).await.is(202);
    let going = drover.get(&path(&follower)).await.json();
    assert_eq!(going["state"], "destroying");
}
