//! What is open to everybody: health, metrics and the page.

use std::time::Duration;

use drover_tests::sql;
use serde_json::{Value, json};

use crate::world::{Answer, Deployment, well};

async fn open(drover: &Deployment, path: &str) -> Answer {
    // The numbers are read once a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    drover.send(drover.request("GET", path)).await
}

fn reasons(answer: &Answer) -> String {
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (503, &json!("failing")),
        "{answer:?}"
    );
    answer.json()["reasons"].to_string()
}

#[tokio::test]
async fn health_says_why_it_fails() {
    let drover = Deployment::start().await;
    let answer = open(&drover, "/healthz").await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (200, &json!("ok")),
        "an empty herd is well"
    );
    let server = drover.server("there").await;
    drover.feel(&server, well()).await;
    let answer = open(&drover, "/healthz").await;
    assert_eq!(
        (answer.status, &answer.json()["live_subjects"]),
        (200, &json!(1))
    );

    let run = |sql: &'static str| sqlx::query(sql).execute(&drover.pool);
    run("update apalis.jobs set done_at = now() - interval '61 s'")
        .await
        .unwrap();
    assert!(reasons(&open(&drover, "/healthz").await).contains("oldest observation is 6"));
    run("update apalis.jobs set done_at = now() - interval '40 s'")
        .await
        .unwrap();
    open(&drover, "/healthz").await.is(200);
    run("delete from apalis.jobs").await.unwrap();
    assert!(reasons(&open(&drover, "/healthz").await).contains("lost or extra"));
    let page = open(&drover, "/").await;
    assert!(
        page.text
            .contains("lost or extra (1 live subjects, 0 tokens)"),
        "{}",
        page.text
    );
    // Someone holds the subjects: the database is there, but does not answer.
    let mut held = drover.pool.begin().await.unwrap();
    sql::run(&mut *held, "lock table subjects", ()).await;
    let begun = std::time::Instant::now();
    assert!(reasons(&open(&drover, "/healthz").await).contains("within 2s"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    held.rollback().await.unwrap();

    drover.pool.close().await;
    assert!(reasons(&open(&drover, "/healthz").await).contains("control database"));
    let answer = drover.get("/v1/servers").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &json!("database_unavailable"))
    );
    let page = open(&drover, "/").await;
    assert!(
        page.status == 503 && page.text.contains("database does not answer"),
        "{page:?}"
    );
    let metrics = open(&drover, "/metrics").await;
    assert!(
        metrics.status == 200 && metrics.text.contains("drover_database_up 0"),
        "{metrics:?}"
    );
}

#[tokio::test]
async fn metrics_are_read_line_by_line() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    drover.resource(&server, "app").await;
    drover.feel(&server, well()).await;
    let answer = open(&drover, "/metrics").await.is(200);
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let mut values = std::collections::BTreeMap::new();
    for line in answer.text.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("drover_"), "{line}");
        assert_eq!(
            values.insert(name, value.parse::<f64>().unwrap()),
            None,
            "{line} twice"
        );
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
    let page = open(&drover, "/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("uncertain") && page.text.contains("The ring turns."));
    for hidden in ["hidden-name", &server, "hidden-name.example"] {
        assert!(!page.text.contains(hidden));
    }
    let policy = page.header("content-security-policy");
    let nonce = policy
        .split("'nonce-")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    assert!(page.text.contains(&format!("<script nonce=\"{nonce}\">")));
    let other = open(&drover, "/").await;
    assert!(!other.text.contains(nonce), "a nonce is used once");
    for path in ["/", "/healthz", "/metrics", "/v1/ring"] {
        let answer = drover.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
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
    drover
        .stands(&server["operation"], 2, "10.0.0.9 refuses", true)
        .await;
    let page = open(&drover, "/").await;
    for shown in [
        "create resource",
        "queued",
        "create server",
        "step 3 of 7: await ssh",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    let stuck = "<td class=\"bad\">step 3 of 7: await ssh, stuck";
    assert_eq!(page.text.matches(stuck).count(), 1, "{}", page.text);
    let id = shop["id"].as_str().unwrap();
    for hidden in [
        "hidden-name",
        id,
        "10.0.0.9",
        server["name"].as_str().unwrap(),
    ] {
        assert!(!page.text.contains(hidden), "{hidden}");
    }
    let metrics = open(&drover, "/metrics").await.text;
    for line in [
        "drover_operations_open{kind=\"create_server\",stuck=\"true\"} 1",
        "drover_operations_open{kind=\"create_server\",stuck=\"false\"} 0",
        "drover_operations_open{kind=\"create_resource\",stuck=\"false\"} 1",
        "drover_operations_open{kind=\"resize\",stuck=\"true\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let ring = drover.get("/v1/ring").await.json();
    assert_eq!(
        ring["operations"],
        json!({"create_server": {"stuck": 1}, "create_resource": {"open": 1}})
    );
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
