//! `drover replay` over a history that real workers have recorded.

use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use drover::model::{Attributes, Cause, Kind, Witness};
use drover::store::queue::Queue;
use drover::store::subjects::{self, Known, NewResource};
use drover_jobs::feel::Feeler;
use drover_jobs::verbs::{self, Config};
use drover_tests::postgres::shared_empty_database;
use drover_tests::records::{key, new_resource, new_server};
use drover_tests::{Says, program, sql, until, when};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Quick, and by the number of failures alone.
fn rules() -> Value {
    json!({
        "cadence": {"available": "150ms", "uncertain": "150ms", "unavailable": "150ms"},
        "patience": {"over": "0s", "single_worker": "0s"},
        "limits": {"stalled_for": "1s", "lag_for": "1s"},
    })
}

/// The server's disk fills up, and the resource fails eight times.
/// A good observation with these figures.
fn seen(mut figures: Value) -> Attributes {
    figures["service_available"] = true.into();
    serde_json::from_value(figures).unwrap()
}

#[derive(Default)]
struct Story {
    server: Mutex<u32>,
    resource: Mutex<u32>,
}

impl Feeler for Story {
    async fn feel(&self, known: &Known) -> Attributes {
        let count = |of: &Mutex<u32>| {
            let mut count = of.lock().unwrap();
            *count += 1;
            *count
        };
        match known.subject().kind {
            Kind::Server => {
                let used = if count(&self.server) < 5 { 0.5 } else { 0.85 };
                let volume = json!({"mount": "/data", "data": true, "used_ratio": used,
                    "available_bytes": 50_u64 << 30, "writable": true,
                    "fsync": "ok", "fsync_ms": 2.0});
                seen(json!({"volumes": [volume]}))
            }
            Kind::Resource => match count(&self.resource) {
                5..13 => Attributes::failed(Cause::Refused, "nobody listens"),
                20 => Attributes {
                    witness: Some(Witness::Up {
                        detail: "it lives".into(),
                    }),
                    ..Attributes::failed(Cause::Timeout, "no answer")
                },
                _ => Attributes::available(1.0),
            },
        }
    }
}

/// A leader writes, and its follower falls behind, stops streaming and at last takes
/// writes itself.
#[derive(Default)]
struct Following {
    leader: Mutex<u32>,
    follower: Mutex<u32>,
}

impl Feeler for Following {
    async fn feel(&self, known: &Known) -> Attributes {
        let count = |of: &Mutex<u32>| {
            let mut count = of.lock().unwrap();
            *count += 1;
            *count
        };
        let details = match known {
            Known::Server(_) => json!({}),
            Known::Resource(resource, _) if resource.leader.is_none() => json!({
                "in_recovery": false, "timeline": 1, "lsn": format!("1/{:X}", count(&self.leader) << 20),
            }),
            Known::Resource(..) => match count(&self.follower) {
                n @ ..15 => json!({"in_recovery": true, "timeline": 1, "lsn": format!("0/{n:X}"),
                    "receiver": {"status": "streaming", "lag_bytes": 0}}),
                15..30 => json!({"in_recovery": true, "timeline": 1, "lsn": "1/0",
                    "receiver": {"status": "not running", "lag_bytes": null}}),
                _ => json!({"in_recovery": false, "timeline": 2, "lsn": "1/0"}),
            },
        };
        seen(details)
    }
}

/// Adopts a server and a resource, and one that follows it if that is told, and lets
/// workers go round until all stories are told.
async fn recorded(story: impl Feeler, followed: bool) -> (String, PgPool) {
    let (url, pool) = shared_empty_database().await.unwrap();
    drover::store::migrate(&pool).await.unwrap();
    let key = key();
    let mut tx = pool.begin().await.unwrap();
    let server = new_server("pg-1", "192.0.2.1");
    let server_id = subjects::adopt_server(&mut tx, &key, &server)
        .await
        .unwrap();
    let resource = new_resource(server_id, "app");
    let leader = subjects::adopt_resource(&mut tx, &key, &resource)
        .await
        .unwrap();
    if followed {
        let follower = NewResource {
            name: "reader".into(),
            port: 5433,
            ..resource
        };
        let id = subjects::adopt_resource(&mut tx, &key, &follower)
            .await
            .unwrap();
        let sql = "update resources set leader_id = $2 where id = $1";
        sql::run(&mut *tx, sql, (id, leader)).await;
    }
    tx.commit().await.unwrap();

    let stop = CancellationToken::new();
    let config = Config {
        notify: Default::default(),
        tools: None,
        concurrency: 4,
        secret_key: key,
        rules: rules(),
        drain: Duration::from_secs(10),
        poll: Duration::from_millis(20),
        cadence: None,
    };
    let queues = [Queue::Feel, Queue::Think];
    let working = {
        let (pool, stop) = (pool.clone(), stop.clone());
        tokio::spawn(async move { verbs::run(pool, config, story, &queues, stop).await })
    };
    until(
        "all stories are told",
        Duration::from_secs(60),
        async || {
            let seen: i64 = sqlx::query_scalar(
                "select min(n) from (select count(*) as n from observations group by subject_id) x",
            )
            .fetch_one(&pool)
            .await?;
            when(
                seen > if followed { 40 } else { 25 },
                format!("{seen} observations"),
            )
        },
    )
    .await
    .unwrap();
    stop.cancel();
    working.await.unwrap().unwrap();
    (url, pool)
}

async fn run(name: &str, url: &str, arguments: &[&str]) -> Output {
    Command::new(program(name).unwrap())
        .arg("replay")
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("DROVER_RULES", rules().to_string())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

#[track_caller]
fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_history_is_decided_again() {
    let (url, _pool) = recorded(Story::default(), false).await;

    // By the same rules, thinking again finds what was decided, to the last one.
    let same = text(&run("drover-worker", &url, &["--since", "1h"]).await);
    assert_eq!(same.lines().count(), 1, "{same}");
    assert!(same.contains(": 0 differences in 0 subjects"), "{same}");

    let other = [
        "--since",
        "1h",
        "--set",
        "patience.failures=5",
        "--set",
        "limits.disk_used_ratio=0.8",
    ];
    let differs = text(&run("drover", &url, &other).await);
    insta::with_settings!({filters => [
        (r"(srv|db)_[0-9A-Z]{26}", "${1}_ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"over \d+ s", "over N s"),
        (r"\d+ observations", "N observations"),
        (r"\d+ recorded, \d+ replayed", "N recorded, N replayed"),
    ]}, {
        insta::assert_snapshot!(differs);
    });

    // The same as JSON, of one subject, from a file.
    let file = std::env::temp_dir().join(format!("drover-rules-{}", std::process::id()));
    std::fs::write(&file, r#"{"limits": {"disk_used_ratio": 0.8}}"#).unwrap();
    let path = file.to_str().unwrap();
    let arguments = [
        "--json",
        "--since",
        "1h",
        "--subject",
        "pg-1",
        "--rules",
        path,
    ];
    let lines = text(&run("drover", &url, &arguments).await);
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["kind"], "disk_critical");
    assert_eq!(lines[0]["recorded_at"], Value::Null);
    assert!(lines[0]["replayed_at"].is_string());
    assert_eq!(lines[1]["subjects"], 1);
    assert_eq!(lines[1]["differences"], 1);

    // A span in the middle begins with the state of that time.
    let half = text(&run("drover-worker", &url, &["--since", "2s"]).await);
    assert!(half.contains(": 0 differences in 0 subjects"), "{half}");
    let before = text(
        &run(
            "drover-worker",
            &url,
            &["--since", "2days", "--until", "1day"],
        )
        .await,
    );
    assert!(
        before.starts_with("0 observations of 0 subjects"),
        "{before}"
    );
}

/// What was decided of a follower went by what was seen of its leader, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_followers_history_is_decided_again_from_both_sides() {
    let (url, pool) = recorded(Following::default(), true).await;
    let opened: Vec<String> =
        sql::scalars(&pool, "select kind from incidents order by opened_at", ()).await;
    let all = ["follower_lagging", "follower_stalled", "split_brain"];
    // Its timeline differs at last; that it takes writes says more.
    assert_eq!(opened, all);
    let same = text(&run("drover-worker", &url, &["--since", "1h"]).await);
    same.says([": 0 differences in 0 subjects", "3 recorded, 3 replayed"]);

    // For that, whom it followed is known for ever.
    let statements = [
        "update followings set leader_id = null",
        "delete from followings",
        "truncate followings",
    ];
    sql::cannot_be_changed(&pool, &statements).await;

    let patient = ["--since", "1h", "--json", "--set", "limits.stalled_for=1m"];
    let lines = text(&run("drover-worker", &url, &patient).await);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["kind"], "follower_stalled", "{lines}");
    assert_eq!(first["replayed_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_told_and_ends_with_2() {
    let nowhere = "postgres://drover@127.0.0.1:1/none";
    for (arguments, word) in [
        (&[][..], "--since"),
        (&["--since", "soon"], "soon"),
        (&["--since", "1h", "--until", "2h"], "is not before"),
        (&["--since", "1h", "--rules", "/nowhere"], "/nowhere"),
        (&["--since", "1h", "--set", "limits"], "--set limits"),
        (&["--since", "1h", "--set", "limits.disk=1"], "disk"),
        (
            &["--since", "1h", "--set", "limits.disk_used_ratio=90"],
            "from 0.05 to 1",
        ),
    ] {
        let output = run("drover-worker", nowhere, arguments).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(word), "{arguments:?}: {told}");
    }
    let output = run("drover-worker", nowhere, &["--since", "1h"]).await;
    assert_eq!(output.status.code(), Some(1), "nobody answers: {output:?}");
    let help = text(&run("drover", nowhere, &["--help"]).await);
    assert!(help.contains("--since"), "{help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_program_the_command_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("drover");
    std::fs::copy(program("drover").unwrap(), &alone).unwrap();
    let output = Command::new(&alone)
        .args(["replay", "--since", "1h"])
        .env_clear()
        .output()
        .await
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("drover-worker"), "{told}");
}
