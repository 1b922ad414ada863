//! The playbook for WAL that is not archived.

use std::time::Duration;

use drover::model::IncidentKind::ArchivingStalled;
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_tests::Says;
use serde_json::json;
use tokio::time::sleep;

use super::driver::{Cut, World, holds, superuser};
use super::sessions::shell;

/// Turns archiving on, with this command; `FLAG` in it is a file that is not there.
/// Gives that file.
async fn archive(server: &LocalServer, cluster: &Cluster, command: &str) -> String {
    let data = superuser(server, cluster, "show data_directory").await;
    let flag = format!("{data}.flag");
    let command = command.replace("FLAG", &flag);
    let set = format!("alter system set archive_command = '{command}'");
    for sql in ["alter system set archive_mode = on", &set] {
        superuser(server, cluster, sql).await;
    }
    server.stop(cluster).await.unwrap();
    server.start(cluster).await.unwrap();
    superuser(server, cluster, "select pg_switch_wal()").await;
    flag
}

async fn archived(server: &LocalServer, cluster: &Cluster) -> u64 {
    let count = "select archived_count from pg_stat_archiver";
    superuser(server, cluster, count).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_archive_command_is_ended_and_archiving_goes_on() {
    let world = World::new("hung", &json!({"limits": {"archive_ready": 1}})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    // By these they are told from whatever else runs on this machine.
    let [first, second, third, fourth] =
        [1, 2, 3, 4].map(|n| format!("30{n}.{}", std::process::id()));
    let hang = format!("test -e FLAG || (sleep {first}; sleep {second}); test -e FLAG");
    let flag = archive(&server, &cluster, &hang).await;
    // Neither is the archiver's, though both are as old; one is a child of a backend
    // whose role is called like it.
    let others = format!(
        "setsid sudo -n -u postgres sleep {third} </dev/null >/dev/null 2>&1 & \
         setsid sudo -n -u postgres psql --cluster {}/{} -Xqc \
         \"set role archiver; copy (select 1) to program 'sleep {fourth}'\" \
         postgres </dev/null >/dev/null 2>&1 &",
        cluster.version,
        cluster.debian()
    );
    superuser(&server, &cluster, "create role archiver superuser login").await;
    shell(&server, &others).await;
    let mut case = world.incident(resource, ArchivingStalled).await;

    // It has not hung for long enough yet.
    case.turn(&holds()).await;
    case.turn(&holds()).await;
    assert!(case.story().contains("nothing hung"), "{}", case.story());
    sleep(Duration::from_secs(62)).await;
    shell(&server, &format!("touch {flag}")).await;
    let mut case = world
        .incident(resource, ArchivingStalled)
        .await
        .cut(Cut::AfterEffect);
    case.until_done().await;

    let story = case.story();
    story.says(["under the archiver hangs", "sleep (pid"]);
    assert!(archived(&server, &cluster).await > 0, "{story}");
    let left = format!(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null | \
         grep -oE '^sleep 30.[.]{}' | sort | paste -sd,",
        std::process::id()
    );
    let left = shell(&server, &left).await;
    assert_eq!(left, format!("sleep {third},sleep {fourth}"), "{story}");
    let end = format!(
        "for p in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' <$p/cmdline)\" = 'sleep {third} ' ] && \
         kill ${{p#/proc/}}; done 2>/dev/null; true"
    );
    shell(&server, &end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_is_said_to_and_people_are_called() {
    let world = World::new("failing", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    archive(&server, &cluster, "echo swordfish >/dev/null; exit 7").await;
    sleep(Duration::from_secs(4)).await;

    let mut case = world.incident(resource, ArchivingStalled).await;
    let story = case.calls_a_human().await;
    assert!(story.contains("failed with exit code 7"), "{story}");
    assert!(!story.contains("swordfish"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_command_there_is_nothing_to_restart() {
    let world = World::new("nowhere", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    archive(&server, &cluster, "").await;

    let mut case = world.incident(resource, ArchivingStalled).await;
    let (_, done) = case.turn(&holds()).await;

    let done = done.unwrap();
    let why = done.skipped().unwrap_or_else(|| panic!("{done:?}"));
    assert!(why.contains("no archive_command"), "{why}");
    assert_eq!(case.operation().note.as_deref(), Some(why));
}
