//! A zone is lost, with all that is in it.

use std::time::{Duration, Instant};

use drover_tests::{PATIENCE, sql};
use futures::future::try_join_all;

use crate::scene::Scene;

/// Three servers of eight are gone at once. Their leader's follower leads, nothing is tried at the
/// others of that zone, and what fails elsewhere is mended as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_lost_loses_its_leaders_and_stops_no_other() {
    let mut scene = Scene::start("async", 1).await;
    scene.larger_herd(6).await;
    let (old, its) = scene.pair().await;
    let pool = scene.drover.pool.clone();
    let zone: String = of(
        &scene,
        "select zone from servers where id = $1",
        &old.server,
    )
    .await;
    let sql = "select instance_id from servers where zone = $1 order by id";
    let there: Vec<String> = sql::scalars(&pool, sql, [&zone]).await;
    assert_eq!(there.len(), 3, "more than 30 % of the herd");

    let moment = Instant::now();
    let unplugged = there.iter().map(|instance| scene.drover.unplug(instance));
    try_join_all(unplugged).await.unwrap();
    let took = scene.written_by_another(moment, &old).await;
    println!("written again after {took:?}");
    assert!(took < Duration::from_secs(150), "{took:?}");
    assert_eq!(scene.another_leads(&old).await.id, its.id);
    let sql = "select coalesce(max(zone), '') from incidents
         where kind = 'blind' and state <> 'resolved'";
    sql::until(&pool, "the zone is blind", PATIENCE, sql, |of: &String| {
        *of == zone
    })
    .await;

    scene.kill_postmaster(&its).await;
    let sql = "select count(*) from operations where kind = 'restart' and state = 'done'";
    sql::until(&pool, "it is restarted", PATIENCE, sql, |n: &i64| *n == 1).await;
    let sql = "select count(*) from operations o join servers v on v.id = o.subject_id
         where o.kind in ('reboot', 'stop_start') and v.zone = $1";
    let tried: i64 = sql::scalar(&pool, sql, [&zone]).await;
    assert_eq!(tried, 0, "nothing is tried where drover may be blind");

    let machines = &scene.drover.machines().client;
    try_join_all(there.iter().map(|instance| machines.start(instance)))
        .await
        .unwrap();
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
}

/// Something of a server's.
async fn of(scene: &Scene, sql: &'static str, server: &str) -> String {
    let id = server.strip_prefix("srv_").unwrap();
    sql::scalar(&scene.drover.pool, sql, [id]).await
}
