//! Whom the commits of a `sync` leader wait for, while followers come and go.

use std::time::Instant;

use drover_tests::{Lead, PATIENCE, sql, until, when};
use serde_json::json;

use crate::scene::Scene;

/// A follower is gone for a while, then for longer. It is waited for no more, so that another
/// takes the lead by itself when the leader dies as well: all that was acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_stream_leaves_the_list_and_stands_in_nobodys_way() {
    let rules = json!({"limits": {"stalled_for": "5s"}});
    let mut scene = Scene::start_with("sync", 2, rules).await;
    // Two that are dead are not too many at once.
    scene.larger_herd(6).await;
    let old = scene.lead().await;
    let (stays, goes) = match &scene.followers().await[..] {
        [stays, goes] => (stays.clone(), scene.drover.node(goes).await.unwrap()),
        other => panic!("{other:?}"),
    };
    let slot = |id: &str| format!("\"f_{}\"", &id.to_lowercase()[3..]);
    let of_one = format!("ANY 1 ({})", slot(&stays));
    let of_both = format!("ANY 1 ({}, {})", slot(&stays), slot(&goes.id));
    waits_for(&scene, &old, &of_both).await;

    let cloud = scene.drover.cloud();
    cloud.partition(&goes.instance).await.unwrap();
    waits_for(&scene, &old, &of_one).await;
    until_counted(&scene, 1).await;
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    let took = scene.written_by_another(moment, &old).await;
    println!("written again after {took:?}");
    let new = scene.another_leads(&old).await;
    assert_eq!(new.id, stays);
    cloud.heal(&goes.instance).await.unwrap();
    scene.settled_with_help().await;
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    until_counted(&scene, 2).await;

    // One that comes back by itself is waited for again, and nobody has to ask for it.
    let of_one = format!("ANY 1 ({})", slot(&old.id));
    let mut of_both = [slot(&old.id), slot(&goes.id)];
    of_both.sort();
    let of_both = format!("ANY 1 ({})", of_both.join(", "));
    waits_for(&scene, &new, &of_both).await;
    cloud.partition(&goes.instance).await.unwrap();
    waits_for(&scene, &new, &of_one).await;
    until_counted(&scene, 1).await;
    cloud.heal(&goes.instance).await.unwrap();
    waits_for(&scene, &new, &of_both).await;
    until_counted(&scene, 2).await;
}

async fn waits_for(scene: &Scene, leader: &Lead, names: &str) {
    let seen = until("its list is right", PATIENCE, || async {
        let show = "show synchronous_standby_names";
        let shown = scene.sql(leader, show).await;
        when(shown == names, shown)
    });
    scene.or_logs(seen.await.map(drop)).await;
}

/// Until the record has so many whom commits may wait for.
async fn until_counted(scene: &Scene, followers: i64) {
    let sql = "select count(*) from resources where leader_id is not null and counted";
    let what = "so many are counted";
    sql::until(&scene.drover.pool, what, PATIENCE, sql, |n: &i64| {
        *n == followers
    })
    .await;
}
