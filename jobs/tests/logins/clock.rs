//! A server whose clock is an hour off, or was set while things ran: what is late is late by
//! its uptime, and what it says of its clock is its own.

use std::time::{Duration, SystemTime};

use drover_jobs::host::ScriptError;
use drover_jobs::host::scripts::*;

use crate::leaders::{is_fenced, is_written_to};
use crate::machine::{Cluster, Login, Machine};
use crate::shells::SLOW;
use crate::words::{CHANGE, DELAYED, is_refused, lasting, nothing_changed_yet};

const HOUR: f64 = 3600.0;

/// How far the clock is ahead of this host's, as a feel finds it.
async fn is_ahead(machine: &Machine, login: Login) -> f64 {
    let said = machine.does(login, FEEL_SERVER, &[PROBE], "").await;
    let (_, clock) = said.text().split_once("@@ clock 0\n").unwrap();
    let clock: f64 = clock.lines().next().unwrap().parse().unwrap();
    assert!(said.text().contains("@@ probe 0\nok "), "{}", said.text());
    let ours = said.read_between.0.duration_since(SystemTime::UNIX_EPOCH);
    clock - ours.unwrap().as_secs_f64()
}

async fn words_hold(cluster: &Cluster<'_>, login: Login) {
    let word = crate::machine::first_word();
    let told = cluster.told(login, &CHANGE, &word, &["1"]).await;
    assert!(told.is_ok(), "{told:?}");
    for (script, left) in [(&CHANGE, 0), (&DELAYED, 2)] {
        let old = lasting(word.clone(), Duration::from_secs(left));
        let told = cluster.told(login, script, &old, &["2"]).await;
        assert!(
            is_refused(&told, "late: this word has come too late"),
            "{told:?}"
        );
    }
}

/// One that hangs, and was started by a clock that has been set back since, is restarted: its
/// start only looks like that of a turn that was cut off.
async fn is_restarted(cluster: &Cluster<'_>, login: Login) {
    let pid = cluster.root("head -n 1 $D/postmaster.pid").await;
    cluster.does(login, GAMEDAY_SIGNAL, &["STOP"]).await;
    let seen = cluster.does(login, LOOK_CLUSTER, &["timeout"]).await;
    let clock = seen.value("clock").unwrap().to_owned();
    let arguments = ["immediate", &*clock, "timeout"];
    for said in ["started", "was started already"] {
        let restarted = cluster.run(login, RESTART_DEAD_CLUSTER, &arguments, "");
        let restarted = restarted.await.unwrap();
        assert_eq!(restarted.last_words(), said);
    }
    assert_ne!(cluster.root("head -n 1 $D/postmaster.pid").await, pid);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_changes_nothing() {
    let machine = Machine::make().await;
    for (offset, hours, login) in [("+1h", 1.0, Login::Helper), ("-1h", -1.0, Login::Sudo)] {
        machine.set_clock("+1h");
        let cluster = machine.cluster(&format!("c_{}", login.user())).await;
        if hours < 0.0 {
            // It is set back by two hours while something waits for what it has begun.
            let turn = cluster.run(login, &SLOW, &[], "");
            let (turn, ()) = tokio::join!(turn, async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                machine.set_clock(offset);
            });
            let status = turn.unwrap_err().0;
            assert_eq!(status, Some(ScriptError::GOES_ON));
            cluster.does(login, &SLOW, &[]).await;
        }
        let ahead = is_ahead(&machine, login).await - hours * HOUR;
        assert!((-5.0..60.0).contains(&ahead), "{offset}: {ahead}");
        nothing_changed_yet(&machine).await;
        words_hold(&cluster, login).await;
        if hours < 0.0 {
            is_restarted(&cluster, login).await;
        }
        is_written_to(&cluster).await;
        let (ended, later) = is_fenced(&cluster, login).await;
        assert!(ended.is_ok() && !later, "{offset}: {ended:?}");
    }
}
