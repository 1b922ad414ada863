//! Servers that are rebooted, moved, resized and given room.

use std::time::Duration;

use drover::model::OperationKind::{Grow, Reboot, Resize, Restart, StopStart};
use drover::model::State;
use drover::store::subjects::Known;
use drover_jobs::cloud::local::LocalServer;
use drover_jobs::cloud::{Cloud as _, InstanceState};
use drover_jobs::resolve::operations::Ended;
use drover_tests::{Says, sql};
use serde_json::json;

use super::driver::{CUTS, Change, Cut, EYES, World, session, world};

async fn runs(world: &World, server: &LocalServer) -> bool {
    world.cloud.describe(&server.name).await.unwrap().state == InstanceState::Running
}

async fn size_in_record(change: &Change<'_>) -> Option<String> {
    match change.world.known(change.operation.subject.unwrap()).await {
        Known::Server(server) => server.size,
        Known::Resource(..) => panic!("a server is wanted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_rebooted_once_however_often_a_worker_dies() {
    let world = world("reboot").await;
    let (server, cluster, id, resource, _ring) = world.made_and_seen().await;
    for cut in CUTS {
        let before = world.boots(&server).await;
        let change = world.done(id, Reboot, json!({}), cut).await;
        let story = change.story();
        assert_eq!(world.boots(&server).await, before + 1, "{cut:?} {story}");
        session(&server, &cluster).await.unwrap();
        // Long after, the step that was begun is done once more: nothing happens.
        let late = change.again("reboot").await;
        assert_eq!(late.ended, Ended::Done, "{late:?}");
        assert_eq!(world.boots(&server).await, before + 1, "{late:?}");
        let known = world.known(resource).await;
        assert_eq!(
            known.subject().state,
            State::Available,
            "{}",
            change.story()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_started_by_what_was_to_reboot_it() {
    let world = world("reboot-stopped").await;
    let (server, _, id, _) = world.made().await;
    let _ring = world.ring(EYES);
    let before = world.boots(&server).await;
    world.cloud.stop(&server.name).await.unwrap();
    let change = world.done(id, Reboot, json!({}), Cut::AfterEffect).await;
    assert_eq!(world.boots(&server).await, before + 1, "{}", change.story());
}

/// Its own playbook mends it, which rests until the reboot gives it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_behind_its_reboot_is_soon_given_up() {
    let world = world("reboot-died").await;
    let (server, _, id, _, _ring) = world.made_and_seen().await;
    let mut change = world.ask(Some(id), Reboot, json!({})).await;
    change.run_to("await_available").await;
    server.unplug().await.unwrap();
    let moment = std::time::Instant::now();
    let why = change.run().await.unwrap_err();
    assert!(why.contains("not seen in service"), "{why}");
    // Ten times what it should take, and less than for one that nobody says is down.
    let took = moment.elapsed();
    assert!(took < Duration::from_secs(180), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_stopped_before_it_was_seen_to_have_booted_is_started() {
    let world = world("reboot-stopped-since").await;
    let (server, _, id, _, _ring) = world.made_and_seen().await;
    let mut change = world.ask(Some(id), Reboot, json!({})).await;
    change.run_to("await_boot").await;
    world.cloud.stop(&server.name).await.unwrap();
    change.run().await.unwrap();
    assert!(runs(&world, &server).await, "{}", change.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_stopped_and_started_once_however_often_a_worker_dies() {
    let world = world("stop-start").await;
    let (server, cluster, id, _, _ring) = world.made_and_seen().await;
    for cut in CUTS {
        let before = world.boots(&server).await;
        let change = world.done(id, StopStart, json!({}), cut).await;
        let story = change.story();
        assert_eq!(world.boots(&server).await, before + 1, "{cut:?} {story}");
        session(&server, &cluster).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_another_size_however_often_a_worker_dies() {
    let world = world("resize").await;
    let (server, cluster, id, _, _ring) = world.made_and_seen().await;
    let sizes = ["medium", "large", "medium", "small"];
    for (cut, size) in CUTS.into_iter().zip(sizes) {
        let before = world.boots(&server).await;
        let change = world.done(id, Resize, json!({"size": size}), cut).await;
        let instance = world.cloud.describe(&server.name).await.unwrap();
        assert_eq!(instance.size.as_deref(), Some(size), "{}", change.story());
        assert_eq!(size_in_record(&change).await.as_deref(), Some(size));
        let story = change.story();
        assert_eq!(world.boots(&server).await, before + 1, "{cut:?} {story}");
        session(&server, &cluster).await.unwrap();
    }
    // It has that size already: nothing is disturbed.
    let before = world.boots(&server).await;
    let change = world
        .done(id, Resize, json!({"size": "small"}), Cut::Never)
        .await;
    assert_eq!(world.boots(&server).await, before, "{}", change.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_without_room_is_told_of_and_the_server_runs_with_its_old_one() {
    let world = world("no-room").await;
    let (server, cluster, id, _, _ring) = world.made_and_seen().await;
    world.cloud.sell_out(&["large"]).unwrap();
    for cut in CUTS {
        let mut change = world
            .ask(Some(id), Resize, json!({"size": "large"}))
            .await
            .cut(cut);
        let why = change.run().await.unwrap_err();
        why.says(["sold out", "old size"]);
        assert!(runs(&world, &server).await, "{}", change.story());
        let instance = world.cloud.describe(&server.name).await.unwrap();
        assert_eq!(instance.size.as_deref(), Some("small"));
        assert_eq!(size_in_record(&change).await.as_deref(), Some("small"));
        session(&server, &cluster).await.unwrap();

        // While a human is needed, nothing is tried: the server would be stopped.
        let before = world.boots(&server).await;
        let waits = change.again("conclude").await;
        assert!(matches!(waits.ended, Ended::Again(_)), "{waits:?}");
        assert_eq!(world.boots(&server).await, before);

        // A human says `retry`, and by now there is room.
        if cut == CUTS[3] {
            world.cloud.sell_out(&[]).unwrap();
            change.operation.stuck_at = None;
            change.run().await.unwrap();
            assert_eq!(size_in_record(&change).await.as_deref(), Some("large"));
        } else {
            give_up(&world, id).await;
        }
    }
}

async fn give_up(world: &World, id: drover::model::SubjectId) {
    let mut tx = world.pool.begin().await.unwrap();
    drover::store::operations::cancel_open(&mut tx, id, "the test goes on")
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nothing_can_start_is_started_as_soon_as_it_can() {
    let world = world("none-left").await;
    let (server, _, id, _, _ring) = world.made_and_seen().await;
    world.cloud.sell_out(&["small", "large"]).unwrap();
    let mut change = world.ask(Some(id), Resize, json!({"size": "large"})).await;
    let cloud = world.cloud.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(8)).await;
        cloud.sell_out(&["large"]).unwrap();
    });
    let why = change.run().await.unwrap_err();
    assert!(why.contains("old size"), "{why}");
    change.story().says(["the size small are sold out"]);
    assert!(runs(&world, &server).await, "{}", change.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_while_its_server_is_in_service() {
    let world = world("grow").await;
    let (server, cluster, id, _, _ring) = world.made_and_seen().await;
    let before = world.boots(&server).await;
    for (n, cut) in CUTS.into_iter().enumerate() {
        let gib = 5 + u32::try_from(n).unwrap();
        let change = world.done(id, Grow, json!({"volume_gib": gib}), cut).await;
        let df = "df -BG --output=size /var/lib/postgresql";
        let df = server.does(df, &[], "").await.unwrap();
        assert!(df.contains(&format!("{gib}G")), "{df} {}", change.story());
        let Known::Server(known) = world.known(id).await else {
            panic!("a server is wanted");
        };
        assert_eq!(known.volume.unwrap().gib, gib);
        session(&server, &cluster).await.unwrap();
    }
    assert_eq!(world.boots(&server).await, before);
    // It never shrinks.
    let change = world
        .done(id, Grow, json!({"volume_gib": 1}), Cut::Never)
        .await;
    let Known::Server(known) = world.known(id).await else {
        panic!("a server is wanted");
    };
    assert_eq!(known.volume.unwrap().gib, 8, "{}", change.story());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_a_humans_at_once() {
    let world = world("hopeless").await;
    let (server, _, id, _) = world.pair(None).await;
    for (kind, params, why) in [
        (Grow, json!({"volume_gib": 2}), "no volume of its own"),
        (Resize, json!({}), "missing field `size`"),
        (Resize, json!({"size": "large"}), "is not known"),
    ] {
        let mut change = world.ask(Some(id), kind, params).await;
        let said = change.run().await.unwrap_err();
        assert!(said.contains(why), "{kind}: {said}");
        give_up(&world, id).await;
    }
    assert!(runs(&world, &server).await);
    server.destroy().await.unwrap();
    let mut change = world.ask(Some(id), StopStart, json!({})).await;
    let said = change.run().await.unwrap_err();
    assert!(said.contains("is gone"), "{said}");
}

/// The record says that it is in service, and so it was. That is not enough.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_observation_made_since_ends_what_disturbed_a_server() {
    let world = world("fresh").await;
    let (_, _, id, resource) = world.made().await;
    let ring = world.ring(EYES);
    world.in_service(&[id, resource]).await;
    drop(ring);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (subject, kind) in [(id, StopStart), (resource, Restart)] {
        let mut change = world.ask(Some(subject), kind, json!({})).await;
        change.operation.step_since = chrono::Utc::now();
        let seen = change.again("await_available").await;
        assert!(matches!(seen.ended, Ended::Again(_)), "{kind}: {seen:?}");
        // For too long: then a human is told, and resolvers rest no longer.
        change.operation.step_since -= chrono::TimeDelta::seconds(301);
        let mut db = world.pool.acquire().await.unwrap();
        let sql = "update subjects set state = 'unavailable' where id = $1";
        sql::run(&mut *db, sql, [subject]).await;
        let seen = change.again("await_available").await;
        assert_eq!(seen.ended, Ended::Hopeless, "{kind}: {seen:?}");
    }
    let _ring = world.ring(EYES);
    world.in_service(&[id, resource]).await;
    give_up(&world, id).await;
    world.done(id, StopStart, json!({}), Cut::Never).await;
}
