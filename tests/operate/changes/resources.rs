//! Resources that are restarted, and customers that get another password.

use drover::model::OperationKind::{Restart, RotatePassword};
use drover::model::{ExposeSecret, secret};
use drover::store::subjects::Known;
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_jobs::resolve::operations::Ended;
use drover_tests::sql;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::driver::{CUTS, Cut, EYES, session, superuser, world};

async fn log(server: &LocalServer) -> String {
    let all = server.does("cat /var/log/postgresql/*", &[], "").await;
    all.unwrap()
}

/// How often a postmaster of the server's only cluster was started.
async fn starts(server: &LocalServer) -> usize {
    log(server).await.matches("starting PostgreSQL").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_restarted_once_however_often_a_worker_dies() {
    let world = world("restart").await;
    let (server, cluster, id, resource) = world.pair(None).await;
    let _ring = world.ring(EYES);
    world.in_service(&[id, resource]).await;
    assert_eq!(starts(&server).await, 1);
    for (n, cut) in CUTS.into_iter().enumerate() {
        let change = world.done(resource, Restart, json!({}), cut).await;
        assert_eq!(starts(&server).await, n + 2, "{cut:?} {}", change.story());
        session(&server, &cluster).await.unwrap();
        let late = change.again("restart").await;
        assert_eq!(late.ended, Ended::Done);
        assert!(late.note.contains("was restarted already"), "{late:?}");
        assert_eq!(starts(&server).await, n + 2, "{late:?}");
    }
    // One that does not run is started.
    server.kill(&cluster).await.unwrap();
    world.done(resource, Restart, json!({}), Cut::Never).await;
    session(&server, &cluster).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_hold_on_do_not_keep_a_cluster_from_its_restart() {
    let world = world("restart-busy").await;
    let (server, cluster, id, resource) = world.pair(None).await;
    let _ring = world.ring(EYES);
    world.in_service(&[id, resource]).await;
    let mut busy = session(&server, &cluster).await.unwrap();
    let busy = tokio::spawn(async move {
        let _ = sqlx::query("select pg_sleep(600)").execute(&mut busy).await;
    });
    let change = world.done(resource, Restart, json!({}), Cut::Never).await;
    busy.await.unwrap();
    assert_eq!(starts(&server).await, 2, "{}", change.story());
}

/// As after the control database was restored from yesterday, or copied.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_record_that_is_older_than_its_server_nothing_is_changed() {
    let world = world("old-record").await;
    let (server, _, id, resource) = world.pair(None).await;
    let _ring = world.ring(EYES);
    world.in_service(&[id, resource]).await;
    let record = async |sql: &str| {
        let done = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        done.execute(&world.pool).await.unwrap();
    };
    record("update resources set epoch = 5").await;
    let change = world.done(resource, Restart, json!({}), Cut::Never).await;
    assert_eq!(starts(&server).await, 2, "{}", change.story());
    for (wrong, why) in [
        (
            "update resources set epoch = 4",
            "this server knows a newer epoch (5, not 4)",
        ),
        (
            "update deployment set id = '01ARZ3NDEKTSV4RRFFQ69G5FAV'",
            "this server obeys another deployment",
        ),
    ] {
        record(wrong).await;
        let refused = change.again("restart").await;
        assert_eq!(refused.ended, Ended::Refused, "{refused:?}");
        assert!(refused.note.contains(why), "{refused:?}");
    }
    assert_eq!(starts(&server).await, 2);
}

async fn log_in(server: &LocalServer, cluster: &Cluster, password: &str) -> sqlx::Result<()> {
    let (address, port) = (server.settings.address, cluster.port);
    let url = format!("postgres://u_customer:{password}@{address}:{port}/app");
    PgConnection::connect(&url).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_is_let_in_the_old_one_is_not_and_neither_is_written_anywhere() {
    let world = world("rotate").await;
    let (server, cluster, _, resource) = world.pair(None).await;
    let sql = "create role u_customer login password 'first-secret'";
    superuser(&server, &cluster, sql).await;
    for sql in [
        "alter system set log_statement = 'all'",
        "alter system set log_min_duration_statement = 0",
        // It refuses what is shorter than eight characters, if it is told a password and no
        // verifier: as these below are.
        "alter system set session_preload_libraries = 'passwordcheck'",
        "select pg_reload_conf()",
    ] {
        superuser(&server, &cluster, sql).await;
    }
    let key = &world.tools.secret_key;
    let sql = "update resources set customer_role = 'u_customer', customer_database = 'app',
                              customer_password = $2 where id = $1";
    sql::run(
        &world.pool,
        sql,
        (
            resource,
            key.seal(&secret("first-secret"), &format!("{resource}/customer"))
                .unwrap(),
        ),
    )
    .await;
    log_in(&server, &cluster, "first-secret").await.unwrap();
    let mut old = "first-secret".to_owned();
    for (n, cut) in CUTS.into_iter().enumerate() {
        let new = format!("zq7-{n}");
        let mut change = world
            .ask(Some(resource), RotatePassword, json!({}))
            .await
            .with(&secret(new.as_str()))
            .await
            .cut(cut);
        change.run().await.unwrap();
        log_in(&server, &cluster, &new).await.unwrap();
        assert!(log_in(&server, &cluster, &old).await.is_err());
        let Known::Resource(known, _) = world.known(resource).await else {
            panic!("a resource is wanted");
        };
        let told = known.customer.unwrap().password;
        assert_eq!(told.expose_secret(), new);
        assert!(!change.story().contains("zq7-"), "{}", change.story());
        old = new;
    }
    let log = log(&server).await;
    assert!(log.contains("statement:"), "nothing is logged at all");
    assert!(!log.contains("zq7-"));
    assert!(!log.contains("SCRAM-SHA-256$4096"), "a verifier was logged");
    let sql = "select (select string_agg(o::text, ' ') from operations o)
             || (select string_agg(e::text, ' ') from operation_events e)
             || (select string_agg(r::text, ' ') from resources r)
             || (select string_agg(convert_from(job, 'UTF8'), ' ') from apalis.jobs)";
    let rows: String = sql::scalar(&world.pool, sql, ()).await;
    assert!(!rows.contains("zq7-"));
    let sql = "select count(*) from operations where secret is not null";
    let left: i64 = sql::scalar(&world.pool, sql, ()).await;
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_without_a_customer_of_drovers_gets_no_password() {
    let world = world("rotate-adopted").await;
    let (_, _, _, resource) = world.pair(None).await;
    let mut change = world
        .ask(Some(resource), RotatePassword, json!({}))
        .await
        .with(&secret("x"))
        .await;
    let why = change.run().await.unwrap_err();
    assert!(why.contains("was adopted"), "{why}");
}
