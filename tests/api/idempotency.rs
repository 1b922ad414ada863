//! A POST that is repeated under its Idempotency-Key is done once.

use std::time::Duration;

use drover_tests::sql;
use serde_json::{Value, json};

use crate::refusals::refused;
use crate::world::{Answer, Deployment, TOKEN};

async fn post(drover: &Deployment, key: &str, path: &str, body: &Value) -> Answer {
    let request = drover
        .request("POST", path)
        .bearer_auth(TOKEN)
        .header("idempotency-key", key);
    drover.send(request.body(body.to_string())).await
}

async fn count(drover: &Deployment, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sql::scalar(&drover.pool, sql, ()).await
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_nothing_is_done_twice() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop", "plan": "starter", "password": "swordfish"});
    let first = post(&drover, "k-1", "/v1/resources", &body).await.is(202);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = post(&drover, "k-1", "/v1/resources", &body).await.is(202);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("content-type"), "application/json");
    assert_eq!(count(&drover, "resources").await, 1);

    let mut other = body.clone();
    other["password"] = "swordfis".into();
    let answer = post(&drover, "k-1", "/v1/resources", &other).await;
    refused("body", &answer, 422, "idempotency_key_reused", None);
    let answer = post(&drover, "k-1", "/v1/resources?x=1", &body).await;
    refused("query", &answer, 422, "idempotency_key_reused", None);
    // Another path is another request; so is another key.
    let server = json!({"name": "shop"});
    post(&drover, "k-1", "/v1/servers", &server).await.is(202);
    let answer = post(&drover, "k-2", "/v1/resources", &body).await;
    refused("taken", &answer, 409, "name_taken", Some("name"));
    // A refusal is kept too.
    let rename = json!({"action": "rename", "name": "store"});
    let first = first.json()["id"].as_str().unwrap().to_owned();
    let at = format!("/v1/resources/{first}/actions");
    post(&drover, "k-3", &at, &rename).await.is(200);
    let answer = post(&drover, "k-2", "/v1/resources", &body).await;
    refused("still", &answer, 409, "name_taken", Some("name"));
    assert_eq!(answer.header("idempotency-replayed"), "true");

    let sql = "select string_agg(k::text, ' ') from idempotency_keys k";
    let kept: String = sql::scalar(&drover.pool, sql, ()).await;
    assert!(!kept.contains("swordfish"), "{kept}");
    // After a day the key is new.
    let sql = "update idempotency_keys set created_at = now() - interval '25 hours'";
    sql::run(&drover.pool, sql, ()).await;
    post(&drover, "k-2", "/v1/resources", &body).await.is(202);
    let mut db = drover.pool.acquire().await.unwrap();
    let pruned = drover::store::idempotency::prune(&mut db).await;
    assert_eq!(pruned.unwrap(), 3);
    assert_eq!(count(&drover, "idempotency_keys").await, 1);
}

#[tokio::test]
async fn of_twenty_at_once_one_is_done() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop", "plan": "production"});
    let all = (0..20).map(|_| post(&drover, "race", "/v1/resources", &body));
    let answers = futures::future::join_all(all).await;
    let done: Vec<&Answer> = answers.iter().filter(|a| a.status == 202).collect();
    assert!(!done.is_empty());
    let new = |a: &&&Answer| a.header("idempotency-replayed").is_empty();
    assert_eq!(done.iter().filter(new).count(), 1);
    for answer in &answers {
        if answer.status == 202 {
            assert_eq!(answer.json()["id"], done[0].json()["id"]);
        } else {
            refused("race", answer, 409, "in_progress", None);
        }
    }
    assert_eq!(count(&drover, "resources").await, 1);
    assert_eq!(count(&drover, "servers").await, 1);
}

#[tokio::test]
async fn a_caller_that_hangs_up_finds_the_answer() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop", "plan": "production"});
    // Everybody who makes something waits here.
    let mut held = drover.pool.begin().await.unwrap();
    let sql = "select pg_advisory_xact_lock(hashtextextended('quotas', 0))";
    sql::run(&mut *held, sql, ()).await;
    let first = post(&drover, "k", "/v1/resources", &body);
    let first = tokio::time::timeout(Duration::from_millis(500), first).await;
    assert!(first.is_err(), "{first:?}");
    let answer = post(&drover, "k", "/v1/resources", &body).await;
    refused("at work", &answer, 409, "in_progress", None);
    assert!(answer.text.contains("still at work"), "{answer:?}");
    let sql = "update idempotency_keys set created_at = created_at - interval '61 s'";
    sql::run(&drover.pool, sql, ()).await;
    let answer = post(&drover, "k", "/v1/resources", &body).await;
    refused("cut off", &answer, 409, "in_progress", None);
    assert!(answer.text.contains("a new key"), "{answer:?}");
    let sql = "update idempotency_keys set created_at = created_at + interval '61 s'";
    sql::run(&drover.pool, sql, ()).await;
    held.rollback().await.unwrap();
    for _ in 0..100 {
        let answer = post(&drover, "k", "/v1/resources", &body).await;
        if answer.status == 202 {
            assert_eq!(answer.header("idempotency-replayed"), "true");
            assert_eq!(count(&drover, "resources").await, 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the answer was not kept");
}

#[tokio::test]
async fn after_a_failure_the_key_is_free_again() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop", "plan": "production"});
    sql::run(&drover.pool, "alter table operations rename to away", ()).await;
    let answer = post(&drover, "k", "/v1/resources", &body).await;
    refused("broken", &answer, 500, "internal", None);
    assert_eq!(count(&drover, "idempotency_keys").await, 0);
    sql::run(&drover.pool, "alter table away rename to operations", ()).await;
    post(&drover, "k", "/v1/resources", &body).await.is(202);
}

#[tokio::test]
async fn a_key_is_one_to_255_visible_characters_and_bodies_are_bounded() {
    let drover = Deployment::with_a_cloud().await;
    let body = json!({"name": "shop"});
    for key in ["", "a b", "ü", &"k".repeat(256)] {
        let answer = post(&drover, key, "/v1/servers", &body).await;
        refused(key, &answer, 400, "invalid_idempotency_key", None);
    }
    let twice = drover
        .request("POST", "/v1/servers")
        .bearer_auth(TOKEN)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    let answer = drover.send(twice.body(body.to_string())).await;
    refused("two", &answer, 400, "invalid_idempotency_key", None);
    let large = json!({"name": "x".repeat(1024 * 1024)});
    let answer = post(&drover, "k", "/v1/servers", &large).await;
    refused("large", &answer, 413, "body_too_large", None);
    assert_eq!(count(&drover, "idempotency_keys").await, 0);
    // Whoever has no token has no keys either.
    let request = drover
        .request("POST", "/v1/servers")
        .header("idempotency-key", "k");
    let answer = drover.send(request.body(body.to_string())).await;
    refused("token", &answer, 401, "unauthorized", None);
    let longest = "k".repeat(255);
    post(&drover, &longest, "/v1/servers", &body).await.is(202);
    // A control character in what is refused does not break the keeping.
    let odd = json!({"name": "new", "a\0b": 1});
    post(&drover, "nul", "/v1/servers", &odd).await.is(422);
    post(&drover, "nul", "/v1/servers", &odd).await.is(422);
}
