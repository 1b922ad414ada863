//! What becomes of a leader that is fenced, and of whoever is to lead then.

use std::time::{Duration, Instant};

use drover_tests::{Held, Lead, PATIENCE, Says, sql, until, when};
use serde_json::json;

use crate::at_each_step::linger_behind_each_step;
use crate::scene::Scene;

/// A leader dies; so does the one that led next, with rows that nobody else has. Both have
/// parted from the first at the same place, and PostgreSQL would give both the same number.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_lead_in_a_row_begin_timelines_of_their_own() {
    let mut scene = Scene::start("async", 2).await;
    scene.larger_herd(6).await;
    let first = scene.lead().await;
    let followers = scene.followers().await;
    let third = scene.drover.node(&followers[1]).await.unwrap();
    // It hears of nobody who leads next.
    scene.hold_receiver(&third).await;
    let to = json!({"action": "failover", "to": followers[0], "reason": "a test"});
    // Its cluster does not come back by itself.
    scene.break_configuration(&first).await;
    scene.drover.act(&first.id, &to).await.unwrap();
    let second = scene.another_leads(&first).await;
    assert_eq!(second.id, followers[0]);
    scene
        .sql(&second, "create table nobodys as select 1 as x")
        .await;
    let has = scene.sql(&third, "select pg_last_wal_receive_lsn()").await;
    let beyond = format!("select pg_current_wal_lsn() - '{has}'::pg_lsn");
    let beyond: u64 = scene.sql(&second, &beyond).await.parse().unwrap();
    scene.break_configuration(&second).await;
    let moment = Instant::now();
    scene.drover.unplug(&second.instance).await.unwrap();
    scene.end_receiver(&third).await;
    // What it lacks of the second one is not known.
    let (id, why) = scene.stuck("failover").await;
    println!("{why}");
    let word = json!({"action": "override", "reason": "it is the last one", "by": "ann"});
    scene.drover.act(&id, &word).await.unwrap();
    let last = scene.another_leads(&second).await;
    assert_eq!(last.id, third.id);
    scene.written_by_another(moment, &second).await;
    let timeline = "select left(pg_walfile_name(pg_current_wal_lsn()), 8)";
    assert_eq!(scene.sql(&last, timeline).await, "00000003");
    scene.mend_configuration(&first).await;
    scene.mend_configuration(&second).await;
    scene.settled_with_help().await;
    // What was written on a timeline without a checkpoint is counted too.
    let memo = scene.rebuilt(&second.id).await;
    assert!(
        memo["lost_bytes"].as_u64() >= Some(beyond),
        "{beyond}: {memo}"
    );
    let gone = "select to_regclass('nobodys') is null";
    for node in [&first, &second, &third] {
        assert_eq!(scene.sql(node, gone).await, "t", "{}", node.id);
    }
    scene.assert_one_leader().await;
}

/// Who was to lead dies when its leader has just been fenced.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_lead_the_leader_is_let_out_of_its_fence() {
    let mut scene = Scene::start("async", 1).await;
    scene.larger_herd(6).await;
    let (old, its) = scene.pair().await;
    scene.break_configuration(&its).await;
    linger_behind_each_step(&scene).await;
    let ask = json!({"action": "failover", "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    let sql = "select count(*) from operations where kind = 'failover' and step_name = 'fence'";
    let pool = &scene.drover.pool;
    sql::until(pool, "it fences", PATIENCE, sql, |n: &i64| *n > 0).await;
    scene.drover.unplug(&its.instance).await.unwrap();
    let fenced = Instant::now();
    scene.written_after(fenced + Duration::from_secs(5)).await;
    scene.assert_leads(&old).await;
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    let sql = "select text from operation_events e join operations o on o.id = e.operation_id
         where o.kind = 'failover' order by e.id";
    let told: Vec<String> = sql::scalars(pool, sql, ()).await;
    told.join("\n").as_str().says(["leads on"]);
    scene.mend_configuration(&its).await;
    scene.settled_with_help().await;
    // Whatever came of it since on a machine that has much to do: it was called off.
    let sql = "select count(*) from leader_changes join operations o on o.id = operation_id
         where o.kind = 'switchover'";
    let changes: i64 = sql::scalar(&scene.drover.pool, sql, ()).await;
    assert_eq!(changes, 0, "{}", scene.timeline().await);
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}

/// It fails again and again, and nobody could do better: then it does.
#[tokio::test(flavor = "multi_thread")]
async fn the_only_one_who_can_lead_is_told_until_it_does() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    scene.hold_replay(&its, true).await;
    scene.drover.unplug(&old.instance).await.unwrap();
    let sql = "select coalesce(max(failures), 0) from operations
         where kind = 'failover' and step_name = 'promote'";
    let pool = &scene.drover.pool;
    sql::until(pool, "it fails often", PATIENCE, sql, |n: &i32| *n > 3).await;
    scene.hold_replay(&its, false).await;
    scene.written_by_another(Instant::now(), &old).await;
    assert_eq!(scene.another_leads(&old).await.id, its.id);
    let sql = "select count(*) from operation_events where text like '%cannot be promoted%'";
    let given_up: i64 = sql::scalar(pool, sql, ()).await;
    assert_eq!(given_up, 0);
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
}

/// Its machine loses its power when it was told to lead, and has begun to: it does not start by itself
/// then, and is no follower any more that anybody else would start.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_to_lead_leads_when_its_machine_is_back() {
    let mut scene = Scene::start("async", 1).await;
    scene.larger_herd(6).await;
    let (old, its) = scene.pair().await;
    scene.hold_replay(&its, true).await;
    scene.drover.unplug(&old.instance).await.unwrap();
    let sql = "select coalesce(max(failures), 0) from operations
         where kind = 'failover' and step_name = 'promote'";
    let pool = &scene.drover.pool;
    sql::until(pool, "it was told", PATIENCE, sql, |n: &i32| *n > 0).await;
    let machines = &scene.drover.machines().client;
    machines.kill(&its.instance).await.unwrap();
    machines.start(&its.instance).await.unwrap();
    scene.written_by_another(Instant::now(), &old).await;
    assert_eq!(scene.another_leads(&old).await.id, its.id);
    scene.settled_with_help().await;
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}

/// A session that reads at the follower keeps it from replaying what it has received, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_the_way_of_a_promotion_is_ended() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    scene
        .sql(&old, "create table read as select generate_series(1, 10) x")
        .await;
    for sql in [
        "alter system set max_standby_streaming_delay = -1",
        "select pg_reload_conf()",
    ] {
        scene.sql(&its, sql).await;
    }
    let end = scene.sql(&old, "select pg_current_wal_lsn()").await;
    scene.has_received(&its, &end).await;
    scene.reads_for_ever(&its, "read").await;
    scene.sql(&old, "drop table read").await;
    let waits = until("it waits for the reader", PATIENCE, || async {
        let sql = "select count(*) from pg_stat_activity
             where backend_type = 'startup' and wait_event_type = 'Lock'";
        when(scene.sql(&its, sql).await == "1", "not yet")
    });
    waits.await.unwrap();
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    scene.written_by_another(moment, &old).await;
    assert_eq!(scene.another_leads(&old).await.id, its.id);
    scene.settled().await;
    scene.assert_one_leader().await;
}

/// Whoever asked was told that it could not be done. The reason is gone an hour later, the
/// leader serves, and nobody wants it any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_was_told_cannot_be_done_is_not_done_later() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    let end = scene.falls_behind(&old, &its).await;
    let ask = json!({"action": "failover", "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    let (id, why) = scene.stuck("failover").await;
    assert!(why.contains("at most may be lost"), "{why}");
    scene.end_receiver(&its).await;
    scene.has_received(&its, &end).await;
    let pool = &scene.drover.pool;
    for _ in 0..3 {
        // An hour is over.
        let operation = id.strip_prefix("op_").unwrap();
        let sql = "update apalis.jobs set run_at = now() where id = $1 and status = 'Pending'";
        sql::run(pool, sql, [operation]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    scene.assert_leads(&old).await;
    let cancel = json!({"action": "cancel", "reason": "it serves"});
    scene.drover.act(&id, &cancel).await.unwrap();
    // Asked again, it is done, and then it cannot be called off any more.
    scene.drover.act(&old.id, &ask).await.unwrap();
    scene.another_leads(&old).await;
    scene.settled().await;
    scene.assert_one_leader().await;
}

/// The follower is late, and the switchover called off. The worker that has the old leader lead
/// on dies before it has said so; meanwhile the follower has caught up.
#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_that_was_called_off_promotes_nobody() {
    let mut scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    let held = Held::behind(&scene.drover.pool, "checkpoint").await;
    let ask = json!({"action": "switchover", "now": true, "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    held.met(&scene.drover.pool).await;
    // It has received all by the end, and has not replayed it.
    scene.hold_replay(&its, true).await;
    held.release().await;
    let held = Held::behind(&scene.drover.pool, "lead_on").await;
    // It has been started; nobody has written down that it was.
    held.met(&scene.drover.pool).await;
    for pid in scene.drover.processes.pids("resolve") {
        scene.drover.processes.kill_pid(pid).unwrap();
    }
    scene.hold_replay(&its, false).await;
    held.release().await;
    scene.drover.processes.start("resolve").unwrap();
    scene.settled().await;
    scene.assert_leads(&old).await;
    assert_eq!(scene.resource(&old.id).await["epoch"], 1);
    scene.assert_one_leader().await;
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
}

/// Who was to lead dies when it has everything, and was not told yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_whose_follower_dies_lets_the_leader_lead_on() {
    let mut scene = Scene::start("async", 1).await;
    scene.larger_herd(6).await;
    let (old, its) = scene.pair().await;
    // Whether it has everything is asked once this lets go.
    let held = Held::behind(&scene.drover.pool, "stop").await;
    let ask = json!({"action": "switchover", "now": true, "reason": "a test"});
    scene.drover.act(&old.id, &ask).await.unwrap();
    held.met(&scene.drover.pool).await;
    scene.drover.unplug(&its.instance).await.unwrap();
    held.release().await;
    let died = Instant::now();
    scene.written_after(died + Duration::from_secs(1)).await;
    scene.assert_leads(&old).await;
    scene.settled_with_help().await;
    scene.assert_leads(&old).await;
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}

/// Two of three servers die at once: drover may well be blind, and mends nothing. But the cloud
/// says that the leader's is off.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_machine_is_dead_is_taken_over_from_however_many_die_with_it() {
    let mut scene = Scene::start("async", 1).await;
    scene.larger_herd(1).await;
    let old = scene.lead().await;
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    scene.drover.local(&["unplug", "pg-1"]).await.unwrap();
    scene.written_by_another(moment, &old).await;
    scene.another_leads(&old).await;
    scene.incident(&["blind"]).await;
    let sql = "select count(*) from operations where kind in ('reboot', 'stop_start')";
    let rebooted: i64 = sql::scalar(&scene.drover.pool, sql, ()).await;
    assert_eq!(rebooted, 0, "nothing else is mended meanwhile");
    // Its servers are back, and the brake is off.
    scene.drover.local(&["plug", "pg-1"]).await.unwrap();
    scene.settled_with_help().await;
    scene.assert_one_leader().await;
}

/// Only who follows a leader as it is may hold what it has acknowledged: one that died before,
/// and is not back, keeps nobody from taking the lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_leader_waits_for_those_alone_who_follow_it() {
    let mut scene = Scene::start("sync", 2).await;
    scene.larger_herd(6).await;
    let first = scene.lead().await;
    let followers = scene.followers().await;
    scene.break_configuration(&first).await;
    let moment = Instant::now();
    scene.drover.unplug(&first.instance).await.unwrap();
    scene.written_by_another(moment, &first).await;
    let second = scene.another_leads(&first).await;
    let other = followers.iter().find(|id| **id != second.id).unwrap();
    let slot = |id: &str| format!("f_{}", id.strip_prefix("db_").unwrap().to_lowercase());
    let names = scene.sql(&second, "show synchronous_standby_names").await;
    assert_eq!(names, format!("ANY 1 (\"{}\")", slot(other)));

    scene.break_configuration(&second).await;
    scene.drover.unplug(&second.instance).await.unwrap();
    let third = scene.another_leads(&second).await;
    assert_eq!(third.id, *other);
    let names = scene.sql(&third, "show synchronous_standby_names").await;
    assert_eq!(names, "ANY 1 (\"f_nobody\")");

    // Those who come back have to be rewound, and join behind that.
    scene.mend_configuration(&first).await;
    scene.mend_configuration(&second).await;
    scene.settled_with_help().await;
    scene.written_after(Instant::now()).await;
    let names = scene.sql(&third, "show synchronous_standby_names").await;
    names
        .as_str()
        .says([slot(&first.id).as_str(), &slot(&second.id)]);
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}

/// Somebody has raised `max_connections` at the leader alone.
#[tokio::test(flavor = "multi_thread")]
async fn one_with_fewer_connections_than_its_leader_had_is_restarted_and_leads() {
    let scene = Scene::start("async", 1).await;
    let (old, its) = scene.pair().await;
    scene
        .sql(&old, "alter system set max_connections = 543")
        .await;
    scene.restart(&old).await;
    scene.answers(&old).await;
    let paused = until("it replays nothing any more", PATIENCE, || async {
        let sql = "select pg_get_wal_replay_pause_state()";
        let state = scene.sql(&its, sql).await;
        when(state == "paused", state)
    });
    paused.await.unwrap();
    let moment = Instant::now();
    scene.drover.unplug(&old.instance).await.unwrap();
    scene.written_by_another(moment, &old).await;
    let new = scene.another_leads(&old).await;
    assert_eq!(scene.sql(&new, "show max_connections").await, "543");
    scene.settled().await;
    scene.assert_one_leader().await;
}

impl Scene {
    /// It is fenced, as by an operation of which the record knows nothing any more.
    async fn fenced_by_nobody(&self, node: &Lead) {
        self.at(
            node,
            "cd /etc/postgresql/*/* && sudo -n sh -c '
                cp -p pg_hba.conf pg_hba.conf.unfenced
                sed -n /^local/p pg_hba.conf.unfenced >pg_hba.conf' &&
             cd / && sudo -n -u postgres sh -c '
                cd /var/lib/postgresql/*/* && touch standby.signal &&
                kill -QUIT $(head -n 1 postmaster.pid)'",
        )
        .await;
    }
}

/// The control database was put back to before, or whoever built the fence was given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_nobody_knows_of_is_taken_back() {
    let scene = Scene::start("async", 1).await;
    let (leader, follower) = scene.pair().await;
    scene.fenced_by_nobody(&follower).await;
    scene.seen_failing(&follower).await;
    scene.settled().await;
    // Nobody else leads, and nobody else is to.
    let alone = ["drover", "mode", &follower.id, "hold", "--reason", "a test"];
    scene.drover.run(&alone).await.unwrap();
    let moment = Instant::now();
    scene.fenced_by_nobody(&leader).await;
    scene.seen_failing(&leader).await;
    scene.written_after(moment + Duration::from_secs(3)).await;
    scene
        .drover
        .run(&["drover", "mode", &follower.id, "act"])
        .await
        .unwrap();
    scene.settled().await;
    assert_eq!(scene.lead().await.id, leader.id);
    assert_eq!(scene.resource(&leader.id).await["epoch"], 1);
    assert_eq!(scene.ledger.lost().unwrap(), Vec::<u64>::new());
    scene.assert_one_leader().await;
}
