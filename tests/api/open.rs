//! What is open to everybody: health, metrics and the page.

use std::time::Duration;

use drover_tests::{Says, Shows, sql};
use serde_json::{Value, json};

use crate::world::{Answer, Deployment, well};

async fn open(drover: &Deployment, path: &str) -> Answer {
    // The numbers are read once a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    drover.send(drover.request("GET", path)).await
}

/// Why health fails.
async fn reasons(drover: &Deployment) -> String {
    let health = open(drover, "/healthz").await.is(503).json();
    assert_eq!(health["status"], "failing");
    health["reasons"].to_string()
}

#[tokio::test]
async fn health_says_why_it_fails() {
    let drover = Deployment::start().await;
    // An empty herd is well.
    let answer = open(&drover, "/healthz").await.is(200);
    assert_eq!(answer.json()["status"], "ok");
    drover
        .run("update clock_lead set leads_until = now() - interval '1 s'")
        .await;
    let answer = open(&drover, "/healthz").await.is(200);
    answer.json().shows(json!({"status": "degraded"}));
    answer.text.says(["no clock leads"]);
    let server = drover.server("there").await;
    drover.feel(&server, well()).await;
    let answer = open(&drover, "/healthz").await.is(200);
    assert_eq!(answer.json()["live_subjects"], 1);

    drover
        .run("update apalis.jobs set done_at = now() - interval '61 s'")
        .await;
    reasons(&drover).await.says(["oldest observation is 6"]);
    drover
        .run("update apalis.jobs set done_at = now() - interval '40 s'")
        .await;
    open(&drover, "/healthz").await.is(200);
    drover.run("delete from apalis.jobs").await;
    reasons(&drover).await.says(["lost or extra"]);
    let page = open(&drover, "/").await;
    page.text
        .says(["lost or extra (1 live subjects, 0 tokens)"]);
    // Someone holds the subjects: the database is there, but does not answer.
    let mut held = drover.pool.begin().await.unwrap();
    sql::run(&mut *held, "lock table subjects", ()).await;
    let begun = std::time::Instant::now();
    reasons(&drover).await.says(["within 2s"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    held.rollback().await.unwrap();

    drover.pool.close().await;
    reasons(&drover).await.says(["control database"]);
    let answer = drover.get("/v1/servers").await.is(503);
    assert_eq!(answer.json()["error"]["code"], "database_unavailable");
    let page = open(&drover, "/").await.is(503);
    page.text.says(["database does not answer"]);
    let metrics = open(&drover, "/metrics").await.is(200);
    metrics.text.says(["drover_database_up 0"]);
}

#[tokio::test]
async fn metrics_are_read_line_by_line() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    drover.resource(&server, "app").await;
    drover.feel(&server, well()).await;
    let answer = open(&drover, "/metrics").await.is(200);
    let kind = answer.header("content-type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let mut values = std::collections::BTreeMap::new();
    for line in answer.text.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("drover_"), "{line}");
        let before = values.insert(name, value.parse::<f64>().unwrap());
        assert_eq!(before, None, "{line} twice");
    }
    assert_eq!(answer.text.lines().last(), Some("# EOF"));
    for (name, value) in [
        ("drover_database_up", 1.0),
        ("drover_live_subjects", 2.0),
        ("drover_subjects{kind=\"server\",state=\"uncertain\"}", 1.0),
        (
            "drover_subjects{kind=\"resource\",state=\"unavailable\"}",
            0.0,
        ),
        ("drover_tokens{queue=\"think\",status=\"Pending\"}", 1.0),
        ("drover_tokens{queue=\"feel\",status=\"Queued\"}", 0.0),
        ("drover_workers{queue=\"feel\"}", 1.0),
        ("drover_tokens_astray", 0.0),
        ("drover_laps_last_minute", 1.0),
    ] {
        assert_eq!(values.get(name), Some(&value), "{name}: {values:?}");
    }
    assert!((0.0..60.0).contains(&values["drover_oldest_observation_seconds"]));
}

#[tokio::test]
async fn the_page_shows_counts_and_nothing_that_needs_a_token() {
    let drover = Deployment::start().await;
    let server = drover.server("hidden-name").await;
    drover.feel(&server, well()).await;
    let page = open(&drover, "/").await.is(200);
    page.text.says(["uncertain", "The ring turns."]);
    page.text
        .never_says(["hidden-name", &server, "hidden-name.example"]);
    let policy = page.header("content-security-policy");
    let (_, nonce) = policy.split_once("'nonce-").unwrap();
    let (nonce, _) = nonce.split_once('\'').unwrap();
    assert!(page.text.contains(&format!("<script nonce=\"{nonce}\">")));
    let other = open(&drover, "/").await;
    assert!(!other.text.contains(nonce), "a nonce is used once");
    for path in ["/", "/healthz", "/metrics", "/v1/ring"] {
        let answer = drover.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        let policy = answer.header("content-security-policy");
        policy.says(["default-src 'none'"]);
    }
}

#[tokio::test]
async fn open_operations_are_on_the_page_and_in_the_metrics_without_their_subjects() {
    let drover = Deployment::with_a_cloud().await;
    let page = open(&drover, "/").await;
    assert!(page.text.contains("Open operations"), "{page:?}");
    let body = json!({"name": "hidden-name", "plan": "production"});
    let shop = drover.created("resource", body).await;
    let server = drover.server_of(&shop).await;
    drover.stands(&server, 2, "10.0.0.9 refuses", true).await;
    let page = open(&drover, "/").await;
    page.text
        .says(["create resource", "queued", "create server"]);
    page.text.says(["step 3 of 7: await ssh"]);
    let stuck = "<td class=\"bad\">step 3 of 7: await ssh, stuck";
    assert_eq!(page.text.matches(stuck).count(), 1, "{}", page.text);
    let id = shop["id"].as_str().unwrap();
    let name = server["name"].as_str().unwrap();
    page.text.never_says(["hidden-name", id, "10.0.0.9", name]);
    let metrics = open(&drover, "/metrics").await.text;
    metrics.says([
        "drover_operations_open{kind=\"create_server\",stuck=\"true\"} 1",
        "drover_operations_open{kind=\"create_server\",stuck=\"false\"} 0",
        "drover_operations_open{kind=\"create_resource\",stuck=\"false\"} 1",
        "drover_operations_open{kind=\"resize\",stuck=\"true\"} 0",
    ]);
    let ring = drover.get("/v1/ring").await.json();
    let open = json!({"create_server": {"stuck": 1}, "create_resource": {"open": 1}});
    assert_eq!(ring["operations"], open);
    drover.send(drover.request("GET", "/healthz")).await.is(200);
}

#[tokio::test]
async fn open_pages_do_not_hurt_the_database() {
    let drover = Deployment::start().await;
    let reads = async |drover: &Deployment| -> i64 {
        let sql = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
        sql::scalar(&drover.pool, sql, ()).await
    };
    let before = reads(&drover).await;
    let began = std::time::Instant::now();
    let all = (0..200).map(|_| drover.send(drover.request("GET", "/metrics")));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|a| a.status == 200));
    // The numbers are read once a second at most, by a handful of transactions;
    // those of the migration before may be counted late.
    let seconds = i64::try_from(began.elapsed().as_secs()).unwrap();
    // PostgreSQL counts a session's transactions with a delay of up to a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let done = reads(&drover).await - before;
    assert!(
        done < 140 + 20 * seconds,
        "{done} transactions for 200 scrapes in {seconds} s"
    );
    let _: Value = drover.get("/v1/ring").await.json();
}
