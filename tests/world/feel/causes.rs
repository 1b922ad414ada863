//! Each cause for real, as a cluster or its network shows it.

use std::time::Duration;

use drover::model::{Cause, TlsMode};
use drover_tests::{Says, sql};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::world::{at, cluster, own_cluster, session};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_cluster_refuses() {
    let port = drover_tests::postgres::free_port().unwrap();
    let felt = at(port).feel().await;
    assert!(felt.took < Duration::from_secs(10), "{felt:?}");
    felt.failed(Cause::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_has_no_route() {
    at(5432)
        .address("no-such-host.invalid")
        .feel()
        .await
        .failed(Cause::NoRoute);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_than_the_one_that_is_known_is_told() {
    let cluster = cluster().await;
    // A role of pg_monitor may see where the data are, another may not.
    let first = at(cluster.port).role("drover").feel().await.available();
    let number = first["system_identifier"].as_str().unwrap();
    let at_home = first["data_directory"].as_str().unwrap();
    let known = |number: &str, data: &str| at(cluster.port).role("drover").cluster(number, data);
    let same = known(number, at_home).feel().await.available();
    // What is pinned is not told at each lap.
    assert_eq!(same["system_identifier"], json!(null));
    assert_eq!(same["data_directory"], json!(null));
    let other = "7000000000000000001";
    let message = known(other, at_home)
        .feel()
        .await
        .failed(Cause::AnotherCluster);
    assert!(
        message.contains(number) && message.contains(other),
        "{message}"
    );
    let message = known(number, "/srv/old")
        .feel()
        .await
        .failed(Cause::AnotherCluster);
    assert!(
        message.contains(at_home) && message.contains("/srv/old"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customers_database_is_felt_and_not_drovers_own() {
    let cluster = own_cluster(&[]).await;
    let mut db = session(&cluster).await;
    let name = r"web \shop";
    sql::batch(&mut db, r#"create database "web \shop""#).await;
    let url = cluster.url("web%20%5Cshop");
    let mut inside = PgConnection::connect(&url).await.unwrap();
    let large = "create table t as select repeat('x', 900) from generate_series(1, 20000)";
    sql::batch(&mut inside, large).await;
    inside.close().await.unwrap();

    let shop = || at(cluster.port).customers(name);
    let own = at(cluster.port).feel().await.available();
    let seen = shop().feel().await.available();
    let bytes = |seen: &serde_json::Value| seen["database_bytes"].as_u64().unwrap();
    assert!(bytes(&seen) > bytes(&own) + 15_000_000, "{seen}");
    assert_eq!(seen.get("database_gone"), None, "{seen}");

    sql::batch(&mut db, r#"drop database "web \shop""#).await;
    let message = shop().feel().await.failed(Cause::DatabaseGone);
    message.says([&*format!("no database {name} any more")]);
    at(cluster.port).feel().await.available();
    let none = at(cluster.port).database("nowhere");
    none.feel().await.failed(Cause::DatabaseGone);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_accepted_are_told_apart() {
    let cluster = cluster().await;
    for (role, password) in [
        ("watcher", "wrong-horse"),
        ("watcher", ""),
        ("clear", "wrong-horse"),
        ("hashed", "wrong-horse"),
        ("nobody", "correct-horse-battery"),
        ("locked_out", "correct-horse-battery"),
        ("rejected", "correct-horse-battery"),
    ] {
        let message = at(cluster.port)
            .role(role)
            .password(password)
            .tls(TlsMode::Require)
            .letting_it_ask()
            .feel()
            .await
            .failed(Cause::Authentication);
        assert!(!message.is_empty(), "{role}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_told_in_the_clear_without_tls() {
    let cluster = cluster().await;
    let message = at(cluster.port)
        .role("clear")
        .tls(TlsMode::Disable)
        .letting_it_ask()
        .feel()
        .await
        .failed(Cause::Authentication);
    assert!(message.contains("without TLS"), "{message}");
}

/// Whatever TLS there is: who asks so may be anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_told_by_scram_alone() {
    let cluster = cluster().await;
    for role in ["clear", "hashed"] {
        for mode in [TlsMode::Disable, TlsMode::Prefer, TlsMode::Require] {
            let target = at(cluster.port).role(role).tls(mode);
            let message = target.feel().await.failed(Cause::Authentication);
            message.says(["SCRAM-SHA-256 alone", "require_auth"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_named() {
    let cluster = cluster().await;
    let message = at(cluster.port)
        .database("not_there")
        .feel()
        .await
        .failed(Cause::DatabaseGone);
    message.says(["not_there", "3D000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_connection_left_says_so() {
    let small = own_cluster(&[
        "max_connections = 5",
        "superuser_reserved_connections = 0",
        "max_wal_senders = 0",
    ])
    .await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(session(&small).await);
    }
    let message = at(small.port)
        .feel()
        .await
        .failed(Cause::TooManyConnections);
    assert!(message.contains("53300"), "{message}");
}

/// A process that is stopped until this is dropped, a failing test included: a
/// stopped postmaster could not be taken down.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: Pid) -> Self {
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// The kernel still takes the connection, and nobody reads it.
#[tokio::test(flavor = "multi_thread")]
async fn a_postmaster_that_hangs_is_a_timeout() {
    let hung = own_cluster(&[]).await;
    let pid = std::fs::read_to_string(hung.data().join("postmaster.pid")).unwrap();
    let pid = Pid::from_raw(pid.lines().next().unwrap().parse().unwrap());
    let stopped = Stopped::stop(pid);
    let felt = at(hung.port).feel().await;
    drop(stopped);
    assert!(felt.took > Duration::from_secs(4), "{felt:?}");
    felt.failed(Cause::Timeout);
    at(hung.port).feel().await.available();
}

/// Whoever answers there may not be whom we know: not even a connection is made.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_connects_to_what_is_on_a_server_with_another_host_key() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let felt = at(port).distrusted().feel().await;
    assert_eq!(felt.seen.cause, Some(Cause::HostKeyChanged), "{felt:?}");
    assert_eq!(felt.seen.witness, None, "its server is not asked either");
    let called = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(called.is_err(), "{called:?}");
}
