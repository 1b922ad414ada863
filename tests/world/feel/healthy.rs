//! What a feel tells of a cluster that is in service.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::TlsMode;
use drover_tests::{Shows, sql, until, when};
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use super::world::{HOLD_DETAILS, at, cluster, session};

fn text<'a>(details: &'a Value, name: &str) -> &'a str {
    details[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name}: {details}"))
}

fn number(details: &Value, pointer: &str) -> f64 {
    details
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer}: {details}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_service_tells_how_it_is() {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    let said = sqlx::query(
        "select current_setting('server_version'), pg_postmaster_start_time(),
                pg_database_size('postgres')::float8, (pg_current_wal_lsn() - '0/0')::float8",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    let details = at(cluster.port).role("watcher").feel().await.available();

    assert_eq!(details["in_recovery"], json!(false));
    assert_eq!(details["read_only"], json!(false));
    assert_eq!(text(&details, "server_version"), said.get::<String, _>(0));
    let started: DateTime<Utc> = text(&details, "started_at").parse().unwrap();
    assert_eq!(started, said.get::<DateTime<Utc>, _>(1));
    let (high, low) = text(&details, "lsn").split_once('/').unwrap();
    let lsn = u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap();
    assert!(lsn as f64 >= said.get::<f64, _>(3), "{details}");
    // Three are kept for superusers.
    assert_eq!(number(&details, "/connections/max"), 200.0);
    assert_eq!(number(&details, "/connections/allowed"), 197.0);
    let used = number(&details, "/connections/used");
    assert!(
        (2.0..100.0).contains(&used),
        "this session and the feel's: {used}"
    );
    // The oldest database of a new cluster has its first transaction ids.
    assert!((1.0..1e6).contains(&number(&details, "/xid_age")));
    assert!((0.0..1e6).contains(&number(&details, "/mxid_age")));
    let bytes = number(&details, "/database_bytes");
    assert!((bytes - said.get::<f64, _>(2)).abs() < 10e6, "{bytes}");
    assert_eq!(details["archiver"]["mode"], json!("on"));
    assert!(details["archiver"]["failed"].is_u64(), "{details}");
    assert!(details["archiver"]["ready"].is_u64(), "{details}");
    assert!(details["replication_slots"].is_array(), "{details}");
    assert_eq!(details.get("details_missing"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_transaction_of_another_session_is_told_in_seconds() {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    let mut transaction = db.begin().await.unwrap();
    sql::run(&mut *transaction, "select 1", ()).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let details = at(cluster.port).role("watcher").feel().await.available();
    let oldest = number(&details, "/oldest_transaction_s");
    assert!((0.7..30.0).contains(&oldest), "{oldest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_archived_is_told() {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    let switch = "select pg_logical_emit_message(false, 'test', 'x'); select pg_switch_wal()";
    sql::batch(&mut db, switch).await;
    let archived = || async {
        let details = at(cluster.port).feel().await.available();
        let archiver = &details["archiver"];
        let last = archiver["last_archived_at"].as_str();
        let last = last.unwrap_or_default().parse::<DateTime<Utc>>();
        when(archiver["archived"].as_u64() > Some(0), last)
    };
    let at = until("a segment is archived", Duration::from_secs(15), archived);
    let (at, _) = at.await.unwrap();
    let at = at.unwrap();
    assert!((Utc::now() - at).num_seconds().abs() < 60, "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_nobody_reads_shows_what_it_retains() {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    let sql = "select pg_create_physical_replication_slot('forgotten', true);
               select pg_logical_emit_message(false, 'test', repeat('x', 100000))";
    sql::batch(&mut db, sql).await;
    let details = at(cluster.port).role("watcher").feel().await.available();
    let slots = details["replication_slots"].as_array().unwrap();
    let slot = slots.iter().find(|s| s["name"] == "forgotten").unwrap();
    slot.shows(json!({"type": "physical", "active": false}));
    assert_eq!(slot["wal_status"], json!("reserved"));
    assert!(slot["restart_lsn"].as_str().unwrap().contains('/'));
    let retained = number(slot, "/retained_bytes");
    assert!((100_000.0..1e9).contains(&retained), "{retained}");
    // A standby's base backup, elsewhere in these tests, must not wait for it.
    sql::run(&mut db, "select pg_drop_replication_slot('forgotten')", ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_other_sessions_is_served_all_the_same() {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    let mut transaction = db.begin().await.unwrap();
    sql::run(&mut *transaction, "select 1", ()).await;
    let details = at(cluster.port).role("plain").feel().await.available();
    assert_eq!(details["in_recovery"], json!(false));
    assert!(number(&details, "/database_bytes") > 1e6);
    let missing = text(&details, "details_missing");
    assert!(missing.contains("pg_monitor"), "{missing}");
    assert_eq!(details["archiver"]["ready"], Value::Null);
    let missing = text(&details["archiver"], "ready_missing");
    assert!(missing.contains("permission denied"), "{missing}");
    // `used` is of all sessions or is not told: a role that sees only its own
    // must not report an idle cluster.
    assert!(
        details["connections"]["used"].as_u64() >= Some(2),
        "{details}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_prove_a_password_works() {
    let cluster = cluster().await;
    let target = |role| at(cluster.port).role(role).tls(TlsMode::Require);
    target("watcher").feel().await.available();
    for role in ["watcher", "hashed", "clear"] {
        target(role).letting_it_ask().feel().await.available();
    }
}

/// A role's settings are in the hands of whoever owns the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_roles_own_settings_do_not_change_what_is_seen() {
    let cluster = cluster().await;
    let details = at(cluster.port).role("misled").feel().await.available();
    assert_eq!(details["in_recovery"], json!(false));
    assert_eq!(details.get("details_missing"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_only_reads_by_default_says_so() {
    let cluster = cluster().await;
    let details = at(cluster.port).role("careful").feel().await.available();
    assert_eq!(details["read_only"], json!(true));
    assert_eq!(details["in_recovery"], json!(false));
}

/// An exclusive lock on a view of the catalogue stops the one further query and
/// nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn details_that_take_too_long_are_left_out() {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    sql::run(&mut db, "create database stuck", ()).await;
    let locker = sqlx::PgConnection::connect(&cluster.url("stuck"));
    let mut locker = locker.await.unwrap();
    sql::batch(&mut locker, HOLD_DETAILS).await;
    let felt = at(cluster.port).database("stuck").feel().await;
    assert!(felt.took > Duration::from_secs(4), "{felt:?}");
    let details = felt.available();
    let why = text(&details, "details_missing");
    assert!(
        why.contains("statement timeout") || why.contains("within"),
        "{why}"
    );
    let sql = "select count(*) from pg_stat_activity where datname = 'stuck' and application_name = 'drover'";
    let url = cluster.url("postgres");
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let gone = "the session is gone from the server too";
    sql::until(&pool, gone, Duration::from_secs(10), sql, |n: &i64| *n == 0).await;
}
