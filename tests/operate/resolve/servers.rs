//! Playbooks of servers.

use std::time::Duration;

use drover::model::IncidentKind::{ServerDown, VolumeStuck};
use drover::model::{
    Attributes, Cause, IncidentKind, Mode, Observation, ObservationId, OperationState, SubjectId,
};
use drover_jobs::cloud::local::{Cluster, Cure, LocalServer};
use drover_jobs::resolve::incidents::machine::NextAction;
use drover_jobs::resolve::operations::Ended;
use drover_tests::sql;
use serde_json::json;

use super::driver::{Case, Cut, World, cleared, holds, session};

pub async fn world(name: &str) -> (World, LocalServer, Cluster, SubjectId, SubjectId) {
    let world = World::new(name, &json!({})).await;
    let (server, cluster, server_id, resource_id) = world.pair(None).await;
    (world, server, cluster, server_id, resource_id)
}

/// An observation of just now, of something that does no service for this cause.
pub fn failed(cause: Cause, message: &str) -> Observation {
    Observation {
        id: ObservationId::generate(),
        created_at: chrono::Utc::now(),
        worker: "the test".into(),
        feelers: 1,
        attributes: Attributes::failed(cause, message),
    }
}

/// Runs it through, and gives its story.
async fn through(case: &mut Case<'_>, remedy: &str) -> String {
    assert_eq!(case.until_done().await, remedy, "{}", case.story());
    // Nothing is left half done.
    assert_eq!(case.operation().state, OperationState::Done);
    let last = case.done.last().unwrap().step;
    assert_eq!(last, "await_available", "{}", case.story());
    case.story()
}

#[tokio::test]
async fn a_dead_server_is_booted_once_however_often_a_worker_dies() {
    let (world, server, cluster, id, _) = world("dead").await;
    let midway = Cut::Midway(Duration::from_millis(1500));
    for cut in [Cut::Never, Cut::AfterEffect, midway] {
        let before = world.boots(&server).await;
        server.unplug().await.unwrap();
        let mut case = world.incident(id, ServerDown).await.cut(cut);
        let story = through(&mut case, "reboot").await;
        assert_eq!(world.boots(&server).await, before + 1, "{cut:?} {story}");
        session(&server, &cluster).await.unwrap();
        assert_eq!(case.touched(), [format!("server {}", server.name)]);
    }
    let mut case = world.incident(id, ServerDown).await;
    assert_eq!(
        case.next(&cleared()),
        NextAction::Close("the test says so".into())
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_rebooted_once() {
    let (world, server, cluster, id, _) = world("hung").await;
    for cut in [Cut::AfterEffect, Cut::Midway(Duration::from_millis(1500))] {
        let before = world.boots(&server).await;
        // Its sshd takes connections and says nothing; its cloud says that it runs.
        signal_sshd(&server, "STOP").await;
        let mut case = world.incident(id, ServerDown).await.cut(cut);
        let story = through(&mut case, "reboot").await;
        assert_eq!(world.boots(&server).await, before + 1, "{story}");
        session(&server, &cluster).await.unwrap();
    }
}

/// Its sessions, too: one that is open would still be answered.
async fn signal_sshd(server: &LocalServer, signal: &str) {
    let script = "pkill \"-$1\" -x sshd";
    server.does(script, &[signal], "").await.unwrap();
}

#[tokio::test]
async fn a_server_that_answers_again_is_not_rebooted_at_once() {
    let (world, server, _, id, _) = world("answers").await;
    let before = world.boots(&server).await;
    let mut case = world.incident(id, ServerDown).await;
    case.waits().await;
    assert!(matches!(case.next(&cleared()), NextAction::Close(_)));
    assert_eq!(world.boots(&server).await, before);
}

/// Both remedies are passed over, each at its first look and for this.
async fn spared(case: &mut Case<'_>, for_this: &str) {
    let end = case.until_escalated().await;
    assert_eq!(
        end,
        NextAction::Escalate("each of its remedies was passed over".into())
    );
    let ends: Vec<_> = case.done.iter().filter(|d| d.ended != again()).collect();
    assert_eq!(ends.len(), 2, "{}", case.story());
    for done in ends {
        assert!(
            done.skipped().is_some_and(|why| why.contains(for_this)),
            "{done:?}"
        );
        assert_eq!(done.step, "look", "{done:?}");
    }
}

fn again() -> Ended {
    Ended::Again(Duration::from_secs(2))
}

#[tokio::test]
async fn a_server_that_answered_or_that_nobody_asked_keeps_its_power() {
    let (mut world, server, _, id, _) = world("answered").await;
    let before = world.boots(&server).await;
    // Nothing of it is seen from outside: only what was seen last keeps it.
    signal_sshd(&server, "STOP").await;
    for cause in [
        Cause::Authentication,
        Cause::Protocol,
        Cause::Error,
        Cause::HostKeyChanged,
        Cause::HostKeyUnknown,
    ] {
        let mut case = world.incident(id, ServerDown).await;
        case.seen = Some(failed(cause, "the test says so"));
        spared(&mut case, &format!("{cause}: no reboot mends that")).await;
    }
    world.tools.context.ssh_key = None;
    let mut case = world.incident(id, ServerDown).await;
    spared(&mut case, "there is no SSH key").await;
    signal_sshd(&server, "CONT").await;
    assert_eq!(world.boots(&server).await, before);
}

#[tokio::test]
async fn a_server_whose_databases_answer_keeps_its_power() {
    let (world, server, _, id, resource) = world("serves").await;
    let before = world.boots(&server).await;
    signal_sshd(&server, "STOP").await;
    let sql = "update subjects set state = 'available' where id = $1";
    sql::run(&world.pool, sql, [resource]).await;
    observe(&world, resource, true).await;
    let mut case = world.incident(id, ServerDown).await;
    for remedy in ["reboot", "stop_start"] {
        // It was well before, and nobody has looked since that was asked for.
        let (_, done) = case.turn(&holds()).await;
        assert_eq!(done.unwrap().ended, again(), "{}", case.story());
        // Now somebody has.
        observe(&world, resource, true).await;
        let ended = case.remedy(&holds()).await;
        let skipped = Some((remedy, OperationState::Skipped));
        assert_eq!(ended, skipped, "{}", case.story());
    }
    spared(&mut case, "its databases answer").await;
    assert_eq!(world.boots(&server).await, before);

    // Its databases are gone, too.
    observe(&world, resource, false).await;
    let mut case = world.incident(id, ServerDown).await;
    let (_, done) = case.turn(&holds()).await;
    assert_eq!(done.unwrap().ended, again(), "{}", case.story());
    observe(&world, resource, false).await;
    assert_eq!(case.until_done().await, "reboot", "{}", case.story());
    assert_eq!(world.boots(&server).await, before + 1);
}

/// Writes an observation of a resource into the record.
async fn observe(world: &World, resource: SubjectId, well: bool) {
    let sql = "insert into observations (id, created_at, subject_id, worker, feelers, attributes)
         values ($1, clock_timestamp(), $2, 'the test', 1, $3)";
    sql::run(
        &world.pool,
        sql,
        (
            ObservationId::generate(),
            resource,
            json!({ "service_available": well }),
        ),
    )
    .await;
}

#[tokio::test]
async fn a_server_that_was_stopped_is_started_whatever_comes_in_between() {
    let (world, server, cluster, id, _) = world("half").await;
    let mut case = world.incident(id, VolumeStuck).await;
    case.run_to("stop_start", "start").await;
    assert!(!server.is_up().await.unwrap(), "{}", case.story());
    // All is well, says an observation of before; the time is up; hands off, says
    // the herd's mode.
    case.mode = Mode::Hold;
    case.incident.deadline = Some(chrono::Utc::now() - chrono::TimeDelta::seconds(10));
    while case.operation().state == OperationState::Open {
        let (wanted, done) = case.turn(&cleared()).await;
        let rests = matches!(wanted, NextAction::Rest { why: None, .. });
        assert!(rests, "{wanted:?} {}", case.story());
        assert!(done.is_some(), "{}", case.story());
    }
    assert_eq!(case.operation().state, OperationState::Done);
    assert!(server.is_up().await.unwrap(), "{}", case.story());
    server.answers().await.unwrap();
    session(&server, &cluster).await.unwrap();
    assert!(matches!(case.next(&cleared()), NextAction::Close(_)));
}

#[tokio::test]
async fn a_remedy_that_no_cloud_can_do_is_passed_over() {
    let (world, _, _, id, resource) = world("nocloud").await;
    let sql = "update servers set cloud = null, instance_id = null where id = $1";
    sql::run(&world.pool, sql, [id]).await;
    for kind in [ServerDown, VolumeStuck] {
        let mut case = world.incident(id, kind).await;
        let end = case.until_escalated().await;
        assert_eq!(
            end,
            NextAction::Escalate("each of its remedies was passed over".into())
        );
        assert_eq!(case.done.len(), 2, "{}", case.story());
        for done in &case.done {
            let over = |why: &str| why.contains("in no cloud");
            assert!(done.skipped().is_some_and(over), "{done:?}");
        }
    }
    let mut case = world.incident(resource, IncidentKind::HostKeyChanged).await;
    assert!(matches!(case.next(&holds()), NextAction::Escalate(_)));
}

#[tokio::test]
async fn a_stuck_volume_is_mended_by_a_boot_or_by_being_attached_again() {
    let world = World::new("stuck", &json!({})).await;
    let (server, cluster, id, _) = world.pair(Some(320)).await;
    for (cure, remedy) in [(Cure::Boot, "stop_start"), (Cure::Reattach, "reattach")] {
        for cut in [Cut::Never, Cut::AfterEffect] {
            server.make_volume_read_only(cure).await.unwrap();
            let before = world.boots(&server).await;
            let case = world.incident(id, VolumeStuck).await;
            let mut case = case.cut(cut);
            assert_eq!(case.until_done().await, "stop_start", "{}", case.story());
            server.answers().await.unwrap();
            let cured = server.volume_is_writable().await.unwrap();
            assert_eq!(cured, cure == Cure::Boot, "{}", case.story());
            if !cured {
                through(&mut case, "reattach").await;
                server.answers().await.unwrap();
                assert!(
                    server.volume_is_writable().await.unwrap(),
                    "{}",
                    case.story()
                );
            }
            let story = case.story();
            let expected = if remedy == "reattach" { 2 } else { 1 };
            assert_eq!(world.boots(&server).await, before + expected, "{story}");
            session(&server, &cluster).await.unwrap();
        }
    }
}
