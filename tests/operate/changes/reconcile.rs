//! What the clouds have beside what the record has.

use drover::api::Orphan;
use drover::model::{IncidentKind, OperationKind, SubjectId};
use drover::store::orphans;
use drover_jobs::cloud::{Cloud, InstanceState};
use drover_tests::{Says, sql};
use serde_json::json;

use super::driver::{ALL, World, world};

/// Has it compared by the ring itself, and gives the orphans and the operation's last
/// words.
async fn compared(world: &World) -> (Vec<Orphan>, String) {
    let change = world.ask(None, OperationKind::Reconcile, json!({})).await;
    let id = change.operation.id.to_string();
    for _ in 0..300 {
        let text: Option<String> = sqlx::query_scalar(
            "select text from operation_events where operation_id = $1 and kind = 'done'",
        )
        .bind(&id)
        .fetch_optional(&world.pool)
        .await
        .unwrap();
        if let Some(text) = text {
            let mut db = world.pool.acquire().await.unwrap();
            return (orphans::all(&mut db).await.unwrap(), text);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("not compared within half a minute");
}

async fn forget(world: &World, id: SubjectId, ago: &str) {
    sql::run(
        &world.pool,
        sqlx::AssertSqlSafe(format!(
            "update subjects set forgotten_at = now() - interval '{ago}' where id = $1"
        )),
        [id],
    )
    .await;
}

async fn regions(world: &World) -> Vec<(String, usize)> {
    let mut db = world.pool.acquire().await.unwrap();
    let all = drover::store::places::regions(&mut db).await.unwrap();
    all.into_iter().map(|r| (r.name, r.zones.len())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_known_as_soon_as_a_resolve_worker_has_started() {
    let world = world("regions").await;
    let _ring = world.ring(&[drover::store::queue::Queue::Resolve]);
    for _ in 0..50 {
        if regions(&world).await == [("local".to_owned(), 3)] {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("not within five seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_reported_and_never_destroyed() {
    let world = world("orphan").await;
    let (server, _, id, resource) = world.made().await;
    let _ring = world.ring(&[drover::store::queue::Queue::Resolve]);
    let (found, text) = compared(&world).await;
    assert!(found.is_empty(), "{found:?}");
    assert!(text.contains("as the record has it"), "{text}");
    assert_eq!(regions(&world).await, [("local".to_owned(), 3)]);

    // It leaves the herd and stays in the cloud; at first that may be a matter of time.
    forget(&world, resource, "1 hour").await;
    forget(&world, id, "1 minute").await;
    assert!(compared(&world).await.0.is_empty());
    forget(&world, id, "10 minutes").await;
    let (found, text) = compared(&world).await;
    // Its volume is one too: who keeps the data may take the machine away.
    let sorts: Vec<&str> = found.iter().map(|orphan| orphan.sort.as_str()).collect();
    assert_eq!(sorts, ["instance", "volume"], "{found:?}");
    assert_eq!(found[0].id, server.name);
    for orphan in &found {
        assert_eq!(orphan.detail["mark"], id.to_string());
        orphan.detail["why"].says(["has left the herd"]);
    }
    assert!(text.contains("2 orphans"), "{text}");
    let first = found[0].first_seen_at;
    let (found, _) = compared(&world).await;
    assert_eq!(found[0].first_seen_at, first);
    assert!(found[0].last_seen_at > first);
    let instance = Cloud::describe(&world.cloud, &server.name).await.unwrap();
    assert_eq!(instance.state, InstanceState::Running);

    // A person takes it away.
    server.destroy().await.unwrap();
    assert!(compared(&world).await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_instance_is_gone_is_down_and_the_reason_says_so() {
    let world = world("vanished").await;
    let (made, _, id, _) = world.made().await;
    let (adopted, _, other, _) = world.pair(None).await;
    let (_, _, well, _) = world.made().await;
    {
        let _ring = world.ring(super::driver::EYES);
        world.in_service(&[id, other, well]).await;
    }
    for server in [made, adopted] {
        server.destroy().await.unwrap();
    }
    // What was seen in service a moment ago is looked at before it is called down.
    let _ring = world.ring(&[drover::store::queue::Queue::Resolve]);
    compared(&world).await;
    assert_eq!(down(&world).await, []);
    let sql = "update subjects set state = 'uncertain' where kind = 'server'";
    sql::run(&world.pool, sql, ()).await;
    let (found, text) = compared(&world).await;
    assert!(found.is_empty(), "{found:?}");
    assert!(text.contains("2 servers without their instance"), "{text}");
    let mut wanted = vec![id.to_string(), other.to_string()];
    wanted.sort();
    let down = down(&world).await;
    let ids: Vec<&str> = down.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, wanted);
    for (_, reason) in &down {
        assert!(reason.contains("is gone"), "{reason}");
    }
}

async fn down(world: &World) -> Vec<(String, String)> {
    let sql = "select subject_id, reason from incidents where kind = $1 order by subject_id";
    sql::rows(&world.pool, sql, [IncidentKind::ServerDown]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_made_or_taken_away_is_left_to_that() {
    let world = world("busy").await;
    let (server, _, id, _) = world.made().await;
    let _ring = world.ring(&[drover::store::queue::Queue::Resolve]);
    // An operation is open that waits for its time.
    let sql = "insert into operations (id, subject_id, kind, asked_by, not_before)
         values ($1, $2, 'destroy_server', 'the test', now() + interval '1 hour')";
    let binds = (drover::model::OperationId::generate(), id);
    sql::run(&world.pool, sql, binds).await;
    server.destroy().await.unwrap();
    compared(&world).await;
    assert_eq!(down(&world).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_vanishes_before_drovers_eyes_is_down_within_seconds() {
    let world = world("eyes").await;
    let (made, _, id, resource) = world.made().await;
    let _ring = world.ring(ALL);
    world.in_service(&[id, resource]).await;
    made.destroy().await.unwrap();
    for _ in 0..100 {
        if !down(&world).await.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("not down within ten seconds");
}
