//! Whose database is made read-only on a volume with next to nothing free, and when.

use std::time::Duration;

use drover::model::OperationState;
use drover_jobs::cloud::local::Cluster;
use drover_jobs::resolve::incidents::machine::NextAction;
use drover_tests::Says;

use super::disk::{Disk, disk};
use super::driver::{Cut, holds, superuser};

/// What its configuration says, as a superuser reads it.
async fn is_read_only(disk: &Disk, cluster: &Cluster) -> bool {
    let file = "select coalesce((select setting from pg_file_settings
        where name = 'default_transaction_read_only' order by seqno desc limit 1), 'none')";
    superuser(&disk.server, cluster, file).await == "on"
}

#[tokio::test]
async fn only_what_fills_the_volume_is_read_only_and_the_next_if_it_still_fills() {
    let mut disk = disk("offender").await;
    let large = "create table t as select repeat('x', 900) from generate_series(1, 60000)";
    superuser(&disk.server, &disk.cluster, large).await;
    let small = disk.server.create("small").await.unwrap();
    disk.world.adopt_cluster(disk.id, &small).await;
    for cluster in [&disk.cluster, &small] {
        superuser(&disk.server, cluster, "checkpoint").await;
    }
    disk.server.fill_volume(8).await.unwrap();

    let mut case = disk.case(Cut::AfterEffect).await;
    assert_eq!(case.until_done().await, "read_only", "{}", case.story());
    let story = case.story();
    assert!(is_read_only(&disk, &disk.cluster).await, "{story}");
    assert!(!is_read_only(&disk, &small).await, "{story}");
    story.says(["goes first", "does not fill any more"]);

    // Back for the third time: before a human is called it is looked at again, and whoever
    // has done nothing goes on.
    case.incident.reopened = 2;
    let found = case.remedy(&holds()).await;
    let guard = "read_only_at_last";
    assert_eq!(found, Some((guard, OperationState::Skipped)));
    assert!(!is_read_only(&disk, &small).await, "{}", case.story());
    let last = case.next(&holds());
    assert!(matches!(last, NextAction::Escalate(_)), "{last:?}");

    // It was not that one alone.
    disk.server.fill_volume(2).await.unwrap();
    let mut case = disk.case(Cut::Never).await;
    case.incident.reopened = 2;
    let found = case.remedy(&holds()).await;
    assert_eq!(found, Some((guard, OperationState::Done)));
    assert!(is_read_only(&disk, &small).await, "{}", case.story());
}

#[tokio::test]
async fn what_is_just_being_written_does_not_go_on() {
    let disk = disk("writes-on").await;
    let server = disk.server.clone();
    let name = format!("{}/{}", disk.cluster.version, disk.cluster.debian());
    let writes = tokio::spawn(async move {
        let psql = "sudo -n -u postgres psql --cluster \"$1\" -U postgres -XAtq \
                    -c 'create table t (n int)' -c begin -c 'insert into t values (1)' \
                    -c 'select pg_sleep(60)' 2>&1 || :";
        server.does(psql, &[&name], "").await
    });
    let begun = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
    while superuser(&disk.server, &disk.cluster, begun).await != "1" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    disk.server.fill_volume(5).await.unwrap();
    let mut case = disk.case(Cut::Never).await;
    assert_eq!(case.until_done().await, "read_only", "{}", case.story());
    let said = writes.await.unwrap().unwrap();
    said.says(["terminating connection due to administrator command"]);
}
