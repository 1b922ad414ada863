//! A leader that nobody reaches, and of which nobody can prove that it is stopped: with `sync`
//! its followers can stand for it, since nothing is acknowledged without one of them.

use std::time::{Duration, Instant};

use drover_tests::{Lead, PATIENCE, sql, until, when};

use crate::scene::Scene;

impl Scene {
    /// Nobody reaches it over the network any more, and drover knows no cloud of its.
    async fn cut_off_without_a_cloud(&self, node: &Lead) {
        self.nobody_knows_its_machine(node).await;
        self.drover.cloud().partition(&node.instance).await.unwrap();
    }

    /// Whether it acknowledges a commit within five seconds.
    async fn acknowledges(&self, node: &Lead) -> bool {
        let said = self
            .at(
                node,
                "cd / && sudo -n -u postgres timeout 5 psql -qc 'create table beside ()' \
                 -p \"$(sed -n 4p /var/lib/postgresql/*/*/postmaster.pid)\" postgres \
                 >/dev/null 2>&1 && echo yes || echo no",
            )
            .await;
        said == "yes"
    }
}

/// It lives all the while, and when it is reached again it acknowledges nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_leader_that_nothing_can_fence_is_replaced_by_its_followers_word() {
    let scene = Scene::start("sync", 2).await;
    let old = scene.lead().await;
    let moment = Instant::now();
    scene.cut_off_without_a_cloud(&old).await;
    let took = scene.written_by_another(moment, &old).await;
    println!("written again after {took:?}");
    let new = scene.another_leads(&old).await;
    assert_eq!(scene.fenced_by(&old).await, "followers");
    let told = scene.incident(&["old_leader_alive"]).await;
    assert!(told.contains("may live"), "{told}");
    // Nobody else than its followers could tell that it is gone.
    let why = scene.incident(&["server_down"]).await;
    assert!(why.contains("not heard any more by its followers"), "{why}");
    scene.drover.cloud().heal(&old.instance).await.unwrap();
    assert!(!scene.acknowledges(&old).await);
    // Now it is fenced, and what it has beside is gone.
    scene.its_machine_is_known_again(&old).await;
    scene.settled_with_help().await;
    let sql = "select state from incidents where kind = 'old_leader_alive'";
    let over: String = sql::scalar(&scene.drover.pool, sql, ()).await;
    assert_eq!(over, "resolved");
    let sql = "select channel from outbox o join incidents i on i.id = o.incident_id
         where i.kind = 'old_leader_alive' and o.action = 'trigger'";
    let told: Vec<String> = sql::scalars(&scene.drover.pool, sql, ()).await;
    // Once more, where who was called has answered while it lived still.
    let paged = told.iter().all(|channel| channel == "page");
    assert!(paged && !told.is_empty(), "{told:?}");
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    assert_eq!(scene.lead().await.id, new.id);
    let gone = scene
        .sql(&old, "select to_regclass('beside') is null")
        .await;
    assert_eq!(gone, "t");
    scene.assert_one_leader().await;
}

/// One of two followers may get its leader's WAL by other ways than drover's.
#[tokio::test(flavor = "multi_thread")]
async fn where_one_follower_cannot_stand_for_it_all_follow_again_and_a_human_decides() {
    let scene = Scene::start("sync", 2).await;
    let old = scene.lead().await;
    let ids = scene.followers().await;
    let one = scene.drover.node(&ids[0]).await.unwrap();
    let other = scene.drover.node(&ids[1]).await.unwrap();
    let elsewhere = "alter system set restore_command = 'false'";
    scene.sql(&other, elsewhere).await;
    scene.sql(&other, "select pg_reload_conf()").await;
    scene.cut_off_without_a_cloud(&old).await;
    let (_, why) = scene.stuck("failover").await;
    println!("{why}");
    assert!(why.contains("nothing proves"), "{why}");
    let told = scene.timeline().await;
    assert!(told.contains("it follows by restore_command in "), "{told}");
    assert!(told.contains("they follow it again"), "{told}");
    let follows = until("it follows again", PATIENCE, || async {
        let to = scene.sql(&one, "show primary_conninfo").await;
        when(to.contains(&old.address), to)
    });
    scene.or_logs(follows.await.map(drop)).await;
    scene.drover.cloud().heal(&old.instance).await.unwrap();
    scene.its_machine_is_known_again(&old).await;
    let moment = Instant::now();
    scene.written_after(moment + Duration::from_secs(2)).await;
    scene.settled_with_help().await;
    // Once it answers it may be fenced, and led by another, before anybody has seen that it is back.
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}
