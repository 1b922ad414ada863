//! Maintenance that a cloud announces: planned, watched, called off. The cloud's part
//! is played by a feeler that adds its announcements to what it really sees.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use drover::model::{
    Attributes, IncidentKind, Operation, OperationKind, OperationState, SubjectId, Window,
};
use drover::store::operations;
use drover::store::queue;
use drover::store::subjects::Known;
use drover_jobs::feel;
use drover_jobs::feel::Feeler;
use drover_tests::{Says, sql};
use serde_json::{Value, json};

use super::driver::{ALL, World, world};

/// Feels what there is, and says of servers what the cloud has planned.
struct Announcing {
    really: feel::World,
    events: Arc<Mutex<Value>>,
}

impl Feeler for Announcing {
    async fn feel(&self, known: &Known) -> Attributes {
        let mut seen = self.really.feel(known).await;
        if let Known::Server(_) = known {
            let events = self.events.lock().unwrap().clone();
            let cloud = json!({"events": events});
            seen.server.cloud = Some(serde_json::from_value(cloud).unwrap());
        }
        seen
    }
}

fn announcing(world: &World, not_before: DateTime<Utc>) -> (Announcing, Arc<Mutex<Value>>) {
    let event = json!({"code": "instance-retirement", "description": "The hardware fails",
        "not_before": not_before, "not_after": null});
    let events = Arc::new(Mutex::new(json!([event])));
    let feeler = Announcing {
        really: feel::World::new(world.tools.context.clone()),
        events: events.clone(),
    };
    (feeler, events)
}

/// Waits until the incident is in this state; gives its timeline.
async fn until(world: &World, server: SubjectId, state: &str) -> String {
    let kind = IncidentKind::MaintenanceScheduled;
    world.incident_is(server, kind, state).await
}

async fn planned(world: &World, server: SubjectId) -> Option<Operation> {
    let mut db = world.pool.acquire().await.unwrap();
    operations::open_of(&mut db, server).await.unwrap().pop()
}

/// A window that begins so long from now.
fn window_in(ahead: TimeDelta) -> Window {
    let at = Utc::now() + ahead;
    let day = at.format("%a").to_string().to_lowercase();
    format!("{day} {:02}:{:02} UTC", at.hour(), at.minute())
        .parse()
        .unwrap()
}

async fn set_window(world: &World, resource: SubjectId, window: Window) {
    let sql = "update resources set maintenance_window = $2 where id = $1";
    sql::run(&world.pool, sql, (resource, window)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_moved_in_its_window_before_the_cloud_takes_its_hardware() {
    let world = world("maintenance").await;
    let (server, _, id, resource) = world.made().await;
    let window = window_in(TimeDelta::days(2));
    set_window(&world, resource, window).await;
    let (feeler, events) = announcing(&world, Utc::now() + TimeDelta::days(10));
    let _ring = world.ring_with(ALL, feeler);
    let timeline = until(&world, id, "resolving").await;
    timeline.says(["instance-retirement", &window.to_string()]);
    assert!(!timeline.contains("urgent"), "{timeline}");
    let operation = planned(&world, id).await.unwrap();
    assert_eq!(operation.kind, OperationKind::StopStart);
    assert_eq!(operation.not_before, Some(window.next(Utc::now()).0));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let operation = planned(&world, id).await.unwrap();
    assert_eq!(operation.deadline, None, "it has begun before its time");

    // Its time has come.
    let before = world.boots(&server).await;
    let mut db = world.pool.acquire().await.unwrap();
    let sql = "update operations set not_before = now() where id = $1";
    sql::run(&mut *db, sql, [operation.id]).await;
    queue::wake(&mut db, queue::Token::Operation(operation.id))
        .await
        .unwrap();
    let timeline = until(&world, id, "waiting").await;
    assert!(timeline.contains("is started"), "{timeline}");
    assert!(!timeline.contains("resting"), "{timeline}");
    assert_eq!(world.boots(&server).await, before + 1);
    let done = operations::load(&mut db, operation.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(done.state, OperationState::Done);

    // Only the cloud's own word ends it.
    *events.lock().unwrap() = json!([]);
    until(&world, id, "resolved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_window_in_time_it_is_moved_at_once_and_that_is_said() {
    let world = world("urgent").await;
    let (server, _, id, resource) = world.made().await;
    set_window(&world, resource, window_in(TimeDelta::days(2))).await;
    let before = world.boots(&server).await;
    let (feeler, events) = announcing(&world, Utc::now() + TimeDelta::minutes(20));
    let _ring = world.ring_with(ALL, feeler);
    let timeline = until(&world, id, "waiting").await;
    assert!(timeline.contains("urgent"), "{timeline}");
    assert_eq!(world.boots(&server).await, before + 1);
    *events.lock().unwrap() = json!([]);
    until(&world, id, "resolved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_calls_off_is_called_off() {
    let world = world("called-off").await;
    let (server, _, id, _) = world.made().await;
    let (feeler, events) = announcing(&world, Utc::now() + TimeDelta::days(30));
    let _ring = world.ring_with(ALL, feeler);
    until(&world, id, "resolving").await;
    // The default window may be open just now: then it is moved, as it should be.
    let Some(operation) = planned(&world, id).await.filter(|o| o.deadline.is_none()) else {
        return;
    };
    let before = world.boots(&server).await;
    *events.lock().unwrap() = json!([]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut db = world.pool.acquire().await.unwrap();
    queue::wake_incidents(&mut db, &[id]).await.unwrap();
    let timeline = until(&world, id, "resolved").await;
    let mut given_up = operation;
    for _ in 0..100 {
        let found = operations::load(&mut db, given_up.id).await.unwrap();
        given_up = found.unwrap();
        if given_up.state != OperationState::Open {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(given_up.state, OperationState::Skipped, "{timeline}");
    assert_eq!(world.boots(&server).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_cloud_can_move_it_a_human_is_told() {
    let world = world("no-cloud").await;
    let (_, _, id, _) = world.pair(None).await;
    let sql = "update servers set cloud = null, instance_id = null where id = $1";
    sql::run(&world.pool, sql, [id]).await;
    let (feeler, _) = announcing(&world, Utc::now() + TimeDelta::days(10));
    let _ring = world.ring_with(ALL, feeler);
    let timeline = until(&world, id, "needs_human").await;
    assert!(timeline.contains("is in no cloud"), "{timeline}");
    assert!(planned(&world, id).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_advise_nothing_is_planned() {
    let world = world("advised").await;
    let (_, _, id, _) = world.made().await;
    let mut db = world.pool.acquire().await.unwrap();
    let sql = "insert into modes (scope, mode, reason) values ('herd', 'advise', 'a test')";
    sql::run(&mut *db, sql, ()).await;
    let (feeler, _) = announcing(&world, Utc::now() + TimeDelta::days(10));
    let _ring = world.ring_with(ALL, feeler);
    let timeline = until(&world, id, "needs_human").await;
    timeline.says(["advised: 1. would stop the server"]);
    assert!(planned(&world, id).await.is_none());
}
