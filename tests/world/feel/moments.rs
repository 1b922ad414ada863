//! Clusters between down and up.

use std::time::Duration;

use drover::model::Cause;
use drover_tests::{Postgres, until, when};
use serde_json::json;

use super::world::{at, cluster, own_cluster, session};

/// Feels until it is no longer refused: a postmaster listens a moment after it
/// was started.
async fn first_answer(postgres: &Postgres, cause: Cause) -> String {
    let answer = || async {
        let felt = at(postgres.port).feel().await;
        when(felt.seen.cause == Some(cause), felt)
    };
    let felt = until(cause.as_str(), Duration::from_secs(15), answer).await;
    felt.unwrap().0.failed(cause)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_standby_is_in_service_and_in_recovery() {
    let leader = cluster().await;
    let standby = tokio::task::spawn_blocking(|| leader.standby())
        .await
        .unwrap()
        .unwrap();
    let details = at(standby.port).feel().await.available();
    assert_eq!(details["in_recovery"], json!(true));
    assert!(details["lsn"].as_str().unwrap().contains('/'), "{details}");
    assert_eq!(details["replication_slots"], json!([]));
    assert_eq!(details.get("details_missing"), None);

    standby.configure(&["hot_standby = off"]).unwrap();
    standby.pg_ctl(&["restart", "-W"]).unwrap();
    let message = first_answer(&standby, Cause::Recovery).await;
    assert!(message.contains("57P03"), "{message}");
}

/// The first thing recovery wants is a file that the archive does not give.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_starts_up_says_so() {
    let cluster = own_cluster(&[]).await;
    cluster.pg_ctl(&["stop", "-m", "fast"]).unwrap();
    cluster.write("hold", "").unwrap();
    cluster.write("recovery.signal", "").unwrap();
    cluster
        .configure(&["restore_command = 'while test -e hold; do sleep 0.1; done; false'"])
        .unwrap();
    cluster.pg_ctl(&["start", "-W"]).unwrap();
    let message = first_answer(&cluster, Cause::StartingUp).await;
    assert!(message.contains("starting up"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_waits_for_its_last_session_is_shutting_down() {
    let cluster = own_cluster(&[]).await;
    let last = session(&cluster).await;
    cluster.pg_ctl(&["stop", "-m", "smart", "-W"]).unwrap();
    let message = first_answer(&cluster, Cause::ShuttingDown).await;
    assert!(message.contains("57P03"), "{message}");
    drop(last);
}
