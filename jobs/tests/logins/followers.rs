//! Followers that are told something, cut off, or beyond help.

use std::time::{Duration, Instant};

use drover_jobs::host::ScriptError;
use drover_jobs::host::scripts::*;

use crate::machine::{Cluster, Login};

/// A follower that is told to confirm nothing more to its leader does not, though its startup
/// process waits for who reads and has read nothing of that; nor once that goes on.
pub async fn confirms_nothing(
    (follower, leader): (&Cluster<'_>, &Cluster<'_>),
    login: Login,
    (to, pass): (&[&str], &str),
) {
    let none: &[&str] = &[];
    let psql = "runuser -u postgres -- psql -p $P -qAtc";
    let nobody_streams = format!("[ $({psql} 'select count(*) from pg_stat_replication') = 0 ]");
    leader
        .root(&format!("{psql} 'create table held as select 1'"))
        .await;
    follower
        .root(&format!(
            "until {psql} 'table held' 2>/dev/null; do sleep 0.1; done
             {psql} 'begin; table held; select pg_sleep(1000)' >/dev/null 2>&1 </dev/null &
             until {psql} \"select query from pg_stat_activity where state = 'active'\" |
                 grep -q '^begin'; do sleep 0.1; done"
        ))
        .await;
    leader.root(&format!("{psql} 'drop table held'")).await;
    let waits = "select wait_event from pg_stat_activity where backend_type = 'startup'";
    follower
        .root(&format!(
            "until {psql} \"{waits}\" | grep -qx relation; do sleep 0.1; done"
        ))
        .await;
    let said = follower.does(login, REVOKE, none).await;
    assert!(said.value("lsn").unwrap().contains('/'), "{said:?}");
    leader.root(&nobody_streams).await;
    follower
        .root(&format!(
            "{psql} \"select pg_terminate_backend(pid) from pg_stat_activity
                 where query like 'begin%'\"; sleep 3"
        ))
        .await;
    leader.root(&nobody_streams).await;
    let leads = leader.run(login, REVOKE, none, "").await;
    assert_eq!(leads.unwrap_err().0, Some(3));
    follower.ends(login, FOLLOW, to, pass).await;
    follower.streams(login).await;

    // Who gets WAL by other ways cannot be kept from it.
    let elsewhere = |sql| format!("{psql} \"alter system {sql}\" -c 'select pg_reload_conf()'");
    follower
        .root(&elsewhere("set restore_command = 'false'"))
        .await;
    let ended = follower.run(login, REVOKE, none, "").await.unwrap_err();
    assert_eq!(ended.0, Some(4), "{ended:?}");
    follower.root(&elsewhere("reset restore_command")).await;
    follower.streams(login).await;
}

/// A follower that is cut off while it replays, and whose leader then begins another timeline,
/// goes on from where it was. Nothing of its own stands in the way.
pub async fn follows_into_the_next_timeline(
    (follower, leader): (&Cluster<'_>, &Cluster<'_>),
    login: Login,
    (behind, pass): (&[&str], &str),
) {
    let none: &[&str] = &[];
    let writes = async |table| {
        let sql = format!("runuser -u postgres -- psql -p $P -qc 'create table {table} ()'");
        leader.root(&sql).await
    };
    let has = async |table| {
        let sql = format!("runuser -u postgres -- psql -p $P -qc 'table {table}'");
        let until = format!("until {sql} 2>/dev/null; do sleep 0.1; done");
        follower.root(&until).await
    };
    writes("early").await;
    has("early").await;
    follower
        .root("kill -QUIT $(head -n 1 $D/postmaster.pid); while [ -e $D/postmaster.pid ]; do sleep 0.1; done")
        .await;
    writes("late").await;
    leader.does(login, STOP_LEADER, none).await;
    leader.does(login, START_CLUSTER, &[""]).await;
    let led = leader.does(login, PROMOTE, &["4", "manual"]).await;
    assert_eq!(led.value("timeline").unwrap(), "4");
    leader.does(login, TRY_CHECKPOINT, none).await;
    follower.does(login, FENCE, none).await;
    follower.ends(login, FOLLOW, behind, pass).await;
    let rewind = [behind, &["again", "4"]].concat();
    follower.does(login, REWIND, &rewind).await;
    follower.does(login, OPEN, none).await;
    follower.does(login, START_CLUSTER, &["follower"]).await;
    follower.streams(login).await;
    has("late").await;
}

/// A follower that has lost the end of its WAL, which it had replayed: with what is left it
/// never lets anybody in, and it is told from one that is slow.
pub async fn is_never_consistent(
    (follower, leader): (&Cluster<'_>, &Cluster<'_>),
    login: Login,
    (behind, pass): (&[&str], &str),
) {
    let none: &[&str] = &[];
    let psql = "runuser -u postgres -- psql -p $P -qAt";
    leader
        .root(&format!(
            "{psql} -c checkpoint -c 'select pg_switch_wal()' -c 'create table end_of_wal ()'"
        ))
        .await;
    follower
        .root(&format!(
            "until {psql} -c 'table end_of_wal' 2>/dev/null; do sleep 0.1; done
             {psql} -c checkpoint
             kill -QUIT $(head -n 1 $D/postmaster.pid)
             while [ -e $D/postmaster.pid ]; do sleep 0.1; done
             cd $D/pg_wal
             rm $(ls | grep -E '^[0-9A-F]{{24}}$' | sort | tail -n +2)"
        ))
        .await;
    follower.does(login, FENCE, none).await;
    follower.ends(login, FOLLOW, behind, pass).await;
    let rewind = [behind, &["never", "5"]].concat();
    // It is at work for longer than its session lasts, which ends all the same.
    let begun = Instant::now();
    let at_work = follower.run(login, REWIND, &rewind, "").await.unwrap_err();
    assert_eq!(at_work.0, Some(ScriptError::GOES_ON), "{at_work:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    let ended = follower.ended(login, REWIND, &rewind).await.unwrap_err();
    assert_eq!(ended.0, Some(78), "{ended:?}");
    assert!(ended.1.contains("before it is consistent"), "{ended:?}");
    follower.root("[ ! -e $D/postmaster.pid ]").await;
}
