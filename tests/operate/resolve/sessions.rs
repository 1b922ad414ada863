//! Playbooks that work within PostgreSQL: connections and credentials.

use std::time::Duration;

use drover::model::IncidentKind::{ConnectionsExhausted, CredentialsRefused};
use drover::model::{ExposeSecret, OperationState};
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_jobs::resolve::operations::Ended;
use drover_tests::Says;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::driver::{Cut, World, holds, session, superuser};
use crate::changes::driver::EYES;

/// What a command says on the server, as root.
pub async fn shell(server: &LocalServer, command: &str) -> String {
    let said = server.does(command, &[], "").await;
    said.unwrap_or_else(|e| panic!("{command}: {e:#}"))
}

async fn run(session: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(sql).execute(session).await.map(drop)
}

async fn lives(session: &mut PgConnection) -> bool {
    run(session, "select 1").await.is_ok()
}

const IDLE: Duration = Duration::from_secs(6);

fn rules() -> serde_json::Value {
    json!({"limits": {"idle_in_transaction": "5s", "connections_ratio": 0.5}})
}

#[tokio::test(flavor = "multi_thread")]
async fn only_sessions_that_idle_in_a_transaction_for_long_are_ended() {
    let world = World::new("idle", &rules()).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    superuser(&server, &cluster, "grant pg_signal_backend to drover").await;
    let open = || session(&server, &cluster);
    let mut old = open().await.unwrap();
    run(&mut old, "begin; select 1").await.unwrap();
    let mut failed = open().await.unwrap();
    run(&mut failed, "begin").await.unwrap();
    run(&mut failed, "select 1 / 0").await.unwrap_err();
    let mut ours = open().await.unwrap();
    run(&mut ours, "set application_name = 'drover'; begin")
        .await
        .unwrap();
    let mut no_transaction = open().await.unwrap();
    let mut active = open().await.unwrap();
    let active =
        tokio::spawn(async move { run(&mut active, "begin; select pg_sleep(20)").await.is_ok() });
    // The superuser's is nothing that drover's own role could end.
    let held = "(echo 'begin;'; sleep 60) | sudo -n -u postgres psql --cluster";
    let superusers = format!(
        "setsid sh -c \"{held} {}/{} -U postgres -Xq postgres\" </dev/null >/dev/null 2>&1 &",
        cluster.version,
        cluster.debian()
    );
    shell(&server, &superusers).await;
    let idle = "select count(*) from pg_stat_activity where usename = 'postgres' \
                and state like 'idle in%'";
    for _ in 0..100 {
        if superuser(&server, &cluster, idle).await == "1" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(IDLE).await;
    assert_eq!(superuser(&server, &cluster, idle).await, "1");
    let mut young = open().await.unwrap();
    run(&mut young, "begin; select 1").await.unwrap();

    let mut case = world
        .incident(resource, ConnectionsExhausted)
        .await
        .cut(Cut::AfterEffect);
    let (_, done) = case.turn(&holds()).await;

    assert_eq!(done.unwrap().ended, Ended::Done, "{}", case.story());
    let state = case.operation().state;
    assert_eq!(state, OperationState::Done, "{}", case.story());
    assert!(!lives(&mut old).await);
    assert!(!lives(&mut failed).await);
    for session in [&mut ours, &mut no_transaction, &mut young] {
        assert!(lives(session).await, "{}", case.story());
    }
    assert!(active.await.unwrap(), "{}", case.story());
    assert_eq!(superuser(&server, &cluster, idle).await, "0");
}

/// All that are left to ordinary roles are taken: 30 less 3 for superusers.
async fn take_all(server: &LocalServer, cluster: &Cluster) -> Vec<PgConnection> {
    let mut taken = Vec::new();
    while let Ok(session) = session(server, cluster).await {
        taken.push(session);
        assert!(taken.len() < 100);
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_way_in_when_no_connection_is_left() {
    let world = World::new("full", &rules()).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    let mut taken = take_all(&server, &cluster).await;
    assert!(taken.len() >= 20, "{}", taken.len());
    for session in taken.iter_mut().take(10) {
        run(session, "begin; select 1").await.unwrap();
    }
    tokio::time::sleep(IDLE).await;

    let mut case = world.incident(resource, ConnectionsExhausted).await;
    case.until_done().await;

    let story = case.story();
    assert!(story.contains("ended 10 sessions"), "{story}");
    let mut again = session(&server, &cluster).await.unwrap();
    assert!(lives(&mut again).await);
    assert!(lives(&mut taken[15]).await, "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_end_people_are_told_who_holds_the_connections() {
    let world = World::new("busy", &rules()).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    let taken = take_all(&server, &cluster).await;

    let mut case = world.incident(resource, ConnectionsExhausted).await;
    let story = case.calls_a_human().await;
    let held = format!("drover in app, idle: {}", taken.len());
    assert!(story.contains(&held), "{story}");
    assert!(case.touched().is_empty(), "{story}");
}

/// Everything is logged and nobody's password is in it; nor in what is told.
async fn nothing_is_told(server: &LocalServer, cluster: &Cluster, story: &str) {
    let log = format!(
        "cat $(pg_lsclusters -h {} {} | awk '{{ print $NF }}')",
        cluster.version,
        cluster.debian()
    );
    let log = shell(server, &log).await;
    // That statements are logged at all.
    assert!(log.contains("alter role drover"), "{log}");
    for text in [log.as_str(), story] {
        text.never_says([cluster.password.expose_secret(), "SCRAM-SHA-256$"]);
    }
}

async fn refused(name: &str, harm: &str, kind_of_harm: &str) {
    let world = World::new(name, &json!({})).await;
    let (server, cluster, on, resource) = world.pair(None).await;
    let ring = world.ring(EYES);
    world.in_service(&[on, resource]).await;
    drop(ring);
    for sql in [
        "alter system set log_statement = 'all'",
        "alter system set log_min_duration_statement = 0",
        "alter system set debug_print_parse = on",
        "select pg_reload_conf()",
    ] {
        superuser(&server, &cluster, sql).await;
    }
    for cut in [Cut::AfterEffect, Cut::Midway(Duration::from_millis(250))] {
        superuser(&server, &cluster, harm).await;
        session(&server, &cluster).await.unwrap_err();

        let mut case = world.incident(resource, CredentialsRefused).await.cut(cut);
        case.until_done().await;

        let again = session(&server, &cluster).await.unwrap();
        again.close().await.unwrap();
        let story = case.story();
        assert!(story.contains(kind_of_harm), "{cut:?}: {story}");
        nothing_is_told(&server, &cluster, &story).await;
    }
    let role = "select rolsuper, rolcanlogin from pg_roles where rolname = 'drover'";
    assert_eq!(superuser(&server, &cluster, role).await, "f|t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_set_again_and_told_to_nobody() {
    let harm = "alter role drover password 'another'";
    refused("password", harm, "its password is another").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_has_expired_counts_again() {
    let harm = "alter role drover valid until '2001-01-01'";
    refused("expired", harm, "its password has expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_log_in_may_again() {
    let harm = "alter role drover nologin password null";
    refused("nologin", harm, "it may not log in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_gone_is_not_made() {
    let world = World::new("norole", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    superuser(&server, &cluster, "alter role drover rename to gone").await;

    let mut case = world.incident(resource, CredentialsRefused).await;
    let story = case.calls_a_human().await;
    assert!(story.contains("there is no role drover"), "{story}");
    let there = "select count(*) from pg_roles where rolname = 'drover'";
    assert_eq!(superuser(&server, &cluster, there).await, "0");
}

/// Else whoever may adopt could name anybody's role, and have it given a password of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_never_worked_is_set_for_nobody() {
    let world = World::new("never", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    superuser(&server, &cluster, "alter role drover password 'another'").await;
    let password = "select rolpassword from pg_authid where rolname = 'drover'";
    let before = superuser(&server, &cluster, password).await;

    let mut case = world.incident(resource, CredentialsRefused).await;
    let story = case.calls_a_human().await;
    assert!(story.contains("never let in as drover"), "{story}");
    assert!(case.touched().is_empty(), "{story}");
    assert_eq!(superuser(&server, &cluster, password).await, before);
}

/// Else whoever may adopt could have drover set a superuser's password.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_given_the_login_of_a_mighty_role() {
    let world = World::new("mighty", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    let another = "alter role drover superuser password 'another'";
    superuser(&server, &cluster, another).await;
    let password = "select rolpassword from pg_authid where rolname = 'drover'";
    let before = superuser(&server, &cluster, password).await;

    let mut case = world.incident(resource, CredentialsRefused).await;
    let story = case.calls_a_human().await;
    assert!(story.contains("nobody such a role's login"), "{story}");
    assert!(case.touched().is_empty(), "{story}");
    assert_eq!(superuser(&server, &cluster, password).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pg_hba_forbids_is_said_and_left_alone() {
    let world = World::new("hba", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    let password = "select rolpassword from pg_authid where rolname = 'drover'";
    let before = superuser(&server, &cluster, password).await;
    let file = superuser(&server, &cluster, "show hba_file").await;
    shell(&server, &format!("echo local all all peer >{file}")).await;
    superuser(&server, &cluster, "select pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    session(&server, &cluster).await.unwrap_err();

    let mut case = world.incident(resource, CredentialsRefused).await;
    let story = case.calls_a_human().await;
    assert!(story.contains("pg_hba.conf"), "{story}");
    assert!(case.touched().is_empty(), "{story}");
    assert_eq!(superuser(&server, &cluster, password).await, before);
}
