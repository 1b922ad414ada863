//! The playbook of clusters that are down.

use std::time::Duration;

use drover::model::Cause;
use drover::model::IncidentKind::ResourceDown;
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_jobs::resolve::incidents::machine::NextAction;
use drover_jobs::resolve::operations::Ended;
use drover_tests::Says;
use serde_json::json;

use super::driver::{Cut, session, superuser};
use super::servers::{failed, world};

async fn started_at(server: &LocalServer, cluster: &Cluster) -> String {
    superuser(server, cluster, "select pg_postmaster_start_time()").await
}

async fn signal(server: &LocalServer, signal: &str, pid: &str) {
    let sent = server.does("kill \"-$1\" \"$2\"", &[signal, pid], "").await;
    sent.unwrap();
}

#[tokio::test]
async fn a_killed_cluster_is_started_once_however_often_a_worker_dies() {
    let (world, server, cluster, _, resource) = world("killed").await;
    let midway = Cut::Midway(Duration::from_millis(700));
    for cut in [Cut::Never, Cut::AfterEffect, midway] {
        server.kill(&cluster).await.unwrap();
        let mut case = world.incident(resource, ResourceDown).await.cut(cut);
        assert_eq!(case.until_done().await, "restart_fast", "{}", case.story());
        session(&server, &cluster).await.unwrap();
        let started = started_at(&server, &cluster).await;

        // The step that was begun is done once more, long after: nothing happens.
        let restart = case.done.iter().rfind(|done| done.step == "restart");
        let touched = &restart.unwrap().touched;
        assert!(touched[0].contains(&cluster.debian()), "{}", case.story());
        let late = case.again("restart").await;
        assert!(late.note.contains("was started already"), "{late:?}");
        assert_eq!(started_at(&server, &cluster).await, started);
    }
}

#[tokio::test]
async fn a_cluster_that_a_signal_has_frozen_is_killed_and_started_at_once() {
    let (world, server, cluster, _, resource) = world("hang").await;
    assert!(server.hang(&cluster).await.unwrap() > 3);
    let mut case = world.incident(resource, ResourceDown).await;
    // No signal but the last one reaches it, so no other is tried first.
    assert_eq!(case.until_done().await, "restart_fast", "{}", case.story());
    case.story().never_says(["it does not stop"]);
    session(&server, &cluster).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_postmaster_left_is_not_in_the_way() {
    let (world, server, cluster, _, resource) = world("left").await;
    // As its owner starts it: systemd would end what is left of it.
    server.stop(&cluster).await.unwrap();
    let start = "sudo -n -u postgres pg_ctlcluster --skip-systemctl-redirect \"$1\" \"$2\" start";
    let words = [cluster.version.as_str(), &cluster.debian()];
    server.does(start, &words, "").await.unwrap();
    // A backend that is at work does not notice that its postmaster is gone.
    let mut busy = session(&server, &cluster).await.unwrap();
    let busy = tokio::spawn(async move {
        let endless = "select count(*) from generate_series(1, 100000000000)";
        let _ = sqlx::query(endless).execute(&mut busy).await;
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let postmaster = "select (string_to_array(pg_read_file('postmaster.pid'), chr(10)))[1]";
    let postmaster = superuser(&server, &cluster, postmaster).await;
    signal(&server, "KILL", &postmaster).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        server.runs(&cluster).await.unwrap(),
        "the backend has noticed"
    );

    let mut case = world.incident(resource, ResourceDown).await;
    let remedy = case.until_done().await;
    assert_eq!(remedy, "restart_immediate", "{}", case.story());
    session(&server, &cluster).await.unwrap();
    let _ = busy.await;
}

#[tokio::test]
async fn a_cluster_that_cannot_start_is_a_humans_and_says_why() {
    let (world, server, cluster, _, resource) = world("spoilt").await;
    server.spoil(&cluster).await.unwrap();
    let mut case = world.incident(resource, ResourceDown).await;
    case.calls_a_human().await;
    let tried: Vec<_> = case.done.iter().filter(|d| d.step == "restart").collect();
    assert_eq!(tried.len(), 4, "{}", case.story());
    let denied = |why: &str| why.contains("ermission denied");
    for done in tried {
        assert!(done.failed().is_some_and(denied), "{done:?}");
    }
    server.mend(&cluster).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_takes_long_to_start_is_left_to_it() {
    let (world, server, cluster, _, resource) = world("slow").await;
    let sql = "alter system set restore_command = 'sleep 300; false'";
    superuser(&server, &cluster, sql).await;
    server.kill(&cluster).await.unwrap();
    let data = format!(
        "/var/lib/postgresql/{}/{}",
        cluster.version,
        cluster.debian()
    );
    let signal_file = "install -o postgres -g postgres -m 600 /dev/null \"$1/recovery.signal\"";
    server.does(signal_file, &[&data], "").await.unwrap();
    let mut case = world.incident(resource, ResourceDown).await;
    assert_eq!(case.until_done().await, "restart_fast", "{}", case.story());
    assert!(case.story().contains("is starting"), "{}", case.story());
    let postmaster = async || {
        let head = "head -n 1 \"$1/postmaster.pid\"";
        server.does(head, &[&data], "").await.unwrap()
    };
    let started = postmaster().await;
    let late = case.again("restart").await;
    assert!(late.note.contains("was started already"), "{late:?}");
    let long_ago = case.operation().memo["clock"].as_i64().unwrap();
    // Observations go on to say that it is starting: it is waited for, and no attempt
    // is made at what a restart would only begin anew.
    for _ in 0..4 {
        case.waits().await;
    }
    // The second step, too, looks before it stops anything.
    for how in ["fast", "immediate"] {
        let operation = &mut case.asked.as_mut().unwrap().operation;
        operation.params = json!({ "how": how });
        operation.memo["clock"] = json!(long_ago + 3600);
        let late = case.again("restart").await;
        assert!(matches!(late.ended, Ended::Again(_)), "{how}: {late:?}");
    }
    assert_eq!(postmaster().await, started, "{}", case.story());
    assert!(server.runs(&cluster).await.unwrap(), "{}", case.story());
}

#[tokio::test]
async fn a_cluster_that_answers_its_own_server_is_not_restarted() {
    let (world, server, cluster, _, resource) = world("inside").await;
    let started = started_at(&server, &cluster).await;
    let mut case = world.incident(resource, ResourceDown).await;
    let end = case.until_escalated().await;
    assert_eq!(
        end,
        NextAction::Escalate("each of its remedies was passed over".into())
    );
    assert!(case.story().contains("lies between"), "{}", case.story());

    // What the database itself says is told, and not waited for.
    let mut case = world.incident(resource, ResourceDown).await;
    case.seen = Some(failed(Cause::Error, "database \"app\" does not exist"));
    case.until_escalated().await;
    // The last one is for followers alone.
    assert_eq!(case.done.len(), 3, "{}", case.story());
    for done in &case.done[..2] {
        let said = |why: &str| why.contains("does not exist");
        assert!(done.skipped().is_some_and(said), "{done:?}");
    }
    assert_eq!(started_at(&server, &cluster).await, started);
    assert_eq!(case.touched(), [""; 0]);
}

#[tokio::test]
async fn a_cluster_that_shuts_down_for_ever_is_restarted() {
    let (world, server, cluster, _, resource) = world("ending").await;
    // A smart shutdown waits for this session, and lets nobody else in.
    let open = session(&server, &cluster).await.unwrap();
    let started = started_at(&server, &cluster).await;
    let pid = "select (string_to_array(pg_read_file('postmaster.pid'), chr(10)))[1]";
    let postmaster = superuser(&server, &cluster, pid).await;
    signal(&server, "TERM", &postmaster).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(session(&server, &cluster).await.is_err());
    let mut case = world.incident(resource, ResourceDown).await;
    assert_eq!(case.until_done().await, "restart_fast", "{}", case.story());
    assert_ne!(started_at(&server, &cluster).await, started);
    drop(open);
}
