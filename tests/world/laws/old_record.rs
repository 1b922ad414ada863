//! A control database that is another one than before: restored elsewhere, or copied.

use std::time::Duration;

use drover::model::DeploymentId;
use drover::store::old_record;
use drover_tests::{Deployment, Shows, sql, until, when};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

/// A deployment whose control database was restored beside the first.
async fn restored() -> (Deployment, Value) {
    let mut drover = Deployment::new(&json!({})).await.unwrap();
    drover.start(&["web", "clock"]).await.unwrap();
    let known = "select count(*) from deployment where database_oid is not null";
    let pool = drover.pool.clone();
    sql::until(&pool, "it is known", SOON, known, |n: &i64| *n == 1).await;
    assert_eq!(mode(&drover).await["mode"], "act");
    let was = drover.get("/v1/record").await.unwrap();
    was.shows(json!({"doubt": null, "differences": []}));

    for kind in ["web", "clock"] {
        drover.processes.kill(kind).unwrap();
    }
    let dump = drover.dir().join("dump.sql");
    drover.postgres.dump("drover", &dump).unwrap();
    let (url, pool) = drover.postgres.empty_database("restored").await.unwrap();
    drover.postgres.restore(&dump, "restored").unwrap();
    drover.pool = pool;
    drover.processes.set("DATABASE_URL", url);
    drover
        .start(&["web", "clock", "resolve", "notify"])
        .await
        .unwrap();
    let open =
        "select count(*) from incidents where kind = 'record_is_old' and state <> 'resolved'";
    sql::until(&drover.pool, "an incident", SOON, open, |n: &i64| *n == 1).await;
    (drover, was)
}

async fn mode(drover: &Deployment) -> Value {
    drover.get("/v1/modes").await.unwrap()["items"][0].clone()
}

async fn over(drover: &Deployment) {
    until("it is over", SOON, || async {
        let sql = "select state from incidents where kind = 'record_is_old'";
        let state: String = sql::scalar(&drover.pool, sql, ()).await;
        when(state == "resolved", state)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_restored_elsewhere_begins_in_hold_until_it_is_adopted() {
    let (drover, was) = restored().await;
    let held = mode(&drover).await;
    assert_eq!(held["mode"], "hold");
    assert!(
        held["reason"]
            .as_str()
            .unwrap()
            .contains("another one than before"),
        "{held}"
    );
    let now = drover.get("/v1/record").await.unwrap();
    assert!(
        now["doubt"].as_str().unwrap().contains("another one"),
        "{now}"
    );
    let adopted = drover
        .run(&["drover", "adopt-record", "--yes"])
        .await
        .unwrap();
    assert!(adopted.contains("adopted"), "{adopted}");
    assert_eq!(mode(&drover).await["mode"], "act");
    over(&drover).await;
    let now = drover.get("/v1/record").await.unwrap();
    now.shows(json!({"doubt": null, "deployment": was["deployment"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_becomes_a_deployment_of_its_own_and_stays_in_hold() {
    let (drover, was) = restored().await;
    let both = [
        "drover",
        "adopt-record",
        "--yes",
        "--copy",
        "--leader",
        "db_x",
    ];
    drover.run(&both).await.unwrap_err();
    let copy = ["drover", "adopt-record", "--yes", "--copy"];
    drover.run(&copy).await.unwrap();
    let now = drover.get("/v1/record").await.unwrap();
    assert_eq!(now["doubt"], Value::Null, "{now}");
    assert_ne!(now["deployment"], was["deployment"]);
    let held = mode(&drover).await;
    assert_eq!(held["mode"], "hold");
    assert!(
        held["reason"].as_str().unwrap().contains("a copy of"),
        "{held}"
    );
    over(&drover).await;
    let own: DeploymentId = {
        let mut db = drover.pool.acquire().await.unwrap();
        old_record::deployment(&mut db).await.unwrap()
    };
    assert_eq!(now["deployment"], own.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_leader_cannot_be_said_to_lead() {
    let mut drover = Deployment::new(&json!({})).await.unwrap();
    drover.start(&["web"]).await.unwrap();
    for (body, field) in [
        (json!({"leaders": "db_1"}), "leaders"),
        (json!({"leaders": [1]}), "leaders"),
        (
            json!({"leaders": ["srv_01J8ZC0T3YQ5V7N2M4K6H9D1XC"]}),
            "leaders",
        ),
        (json!({"leaders": ["nobody"]}), "is not an id"),
        (
            json!({"leaders": ["db_01J8ZC0T3YQ5V7N2M4K6H9D1XC"], "copy": true}),
            "leaders",
        ),
        (json!({"copy": 3}), "copy"),
        (json!({"leader": []}), "leader"),
    ] {
        let refused = drover.post("/v1/record/adopt", &body).await.unwrap_err();
        assert!(refused.to_string().contains(field), "{refused}");
    }
    let adopt = "/v1/record/adopt";
    drover.post(adopt, &json!({})).await.unwrap();
    let twice = drover.post(adopt, &json!({})).await.unwrap_err();
    assert!(twice.to_string().contains("already"), "{twice}");
}
