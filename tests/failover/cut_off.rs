//! Networks fail, not machines: drover's own, or a leader's.

use std::time::{Duration, Instant};

use crate::scene::Scene;

/// All of drover's workers lose sight of the whole herd: nothing fails over, for nobody
/// can be asked and nobody can be fenced; and too much fails at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_without_a_network_takes_no_lead_from_anybody() {
    let mut scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    // What reaches its control database through the filesystem still does.
    let sockets = scene.drover.dir().join("sockets");
    drover_tests::postgres::owned_dir(&sockets).unwrap();
    let listens = format!("unix_socket_directories = '{}'", sockets.display());
    scene.drover.postgres.configure(&[&listens]).unwrap();
    scene
        .drover
        .postgres
        .pg_ctl(&["restart", "-m", "fast"])
        .unwrap();
    let url = scene.drover.postgres.url_by_socket("drover", &sockets);
    for kind in ["feel", "think", "resolve", "notify", "clock"] {
        scene.drover.processes.kill(kind).unwrap();
        scene
            .drover
            .processes
            .start_without_network(kind, &[("DATABASE_URL", &url)])
            .unwrap();
    }
    scene.seen_failing(&old).await;
    let moment = Instant::now();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.count_operations("rebuild").await, 0);
    assert_eq!(
        scene.resource(&old.id).await["epoch"],
        1,
        "nobody took the lead"
    );
    scene.written_after(moment + Duration::from_secs(55)).await;
    scene.assert_one_leader().await;
    // The link is up again.
    for kind in ["feel", "think", "resolve", "notify", "clock"] {
        scene.drover.processes.kill(kind).unwrap();
        scene.drover.processes.start(kind).unwrap();
    }
    scene.settled_with_help().await;
    scene.assert_leads(&old).await;
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
}

/// Nobody reaches the leader any more, though it runs: only its cloud can prove that it
/// does not write.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_alone_is_fenced_by_its_cloud_and_heals_when_it_is_back() {
    let scene = Scene::start("async", 1).await;
    let old = scene.lead().await;
    let cloud = scene.drover.cloud();
    let moment = Instant::now();
    cloud.partition(&old.instance).await.unwrap();
    // Whatever becomes of the test, the machine gets its network back: before that gives up.
    let written = tokio::time::timeout(
        Duration::from_secs(170),
        scene.written_by_another(moment, &old),
    )
    .await;
    cloud.heal(&old.instance).await.unwrap();
    println!("after {:?}", written.expect("a write at another"));
    let new = scene.another_leads(&old).await;
    assert_eq!(scene.fenced_by(&old).await, "cloud");
    scene.settled().await;
    assert_eq!(scene.resource(&old.id).await["leader"], new.id);
    scene.assert_one_leader().await;
    scene.assert_written_by_one_at_a_time();
}
