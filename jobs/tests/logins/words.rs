//! A server obeys only the newest word, and keeps it: whatever comes late, twice, out of
//! order, of another deployment, or is stopped half way.

use std::time::{Duration, Instant};

use crate::machine::{Cluster, DEPLOYMENT, Ended, Login, Machine, word};
use drover::model::{DeploymentId, OperationId};
use drover_jobs::host::scripts::*;
use drover_jobs::host::{Changes, Script, ScriptError, Sees, Word};

/// Writes down that it has changed something.
pub static CHANGE: Script = Script {
    name: "change",
    text: "echo \"$2\" >>/tmp/changed\n",
    sees: Sees::Owner,
    changes: Changes::Cluster,
    needs: &[],
};

/// The same, under way for 3 s.
pub static DELAYED: Script = Script {
    name: "delayed",
    text: "as_owner sh -c 'echo \"$1\" >>/tmp/changed' sh \"$2\"\n",
    needs: &[
        include_str!("../../host/scripts/prelude/clusters.sh"),
        include_str!("../../host/scripts/prelude/owner.sh"),
        include_str!("../../host/scripts/prelude/choose.sh"),
        include_str!("../../host/scripts/prelude/cluster.sh"),
        "sleep 3\n",
    ],
    sees: Sees::Root,
    changes: Changes::Cluster,
};

/// The same, stopped by a signal in the middle of its change.
static STOPPED: Script = Script {
    name: "stopped",
    text: "sh -c 'echo $PPID >/tmp/stopped; kill -s \"$1\" $PPID' sh \"$3\"
           echo \"$2\" >>/tmp/changed\n",
    ..CHANGE_OF_ANYONE
};

/// As the login, so that its shell is the one that has the lock.
const CHANGE_OF_ANYONE: Script = Script {
    name: "",
    text: "",
    sees: Sees::Anyone,
    changes: Changes::Machine,
    needs: &[],
};

/// Leaves something at work behind itself.
static LEAVES: Script = Script {
    name: "leaves",
    text: "job() { sleep 4; echo \"$1\" >>/tmp/changed; }\nbackground job job \"$2\"\n",
    needs: &[include_str!("../../host/scripts/prelude/background.sh")],
    ..CHANGE_OF_ANYONE
};

pub fn is_refused(ended: &Ended, why: &str) -> bool {
    matches!(ended, Err((Some(ScriptError::REFUSED), words))
        if words.starts_with("refused: ") && words.contains(why))
}

fn is_busy(ended: &Ended) -> bool {
    matches!(ended, Err((Some(ScriptError::GOES_ON), _)))
}

/// What a cluster's words are kept under.
async fn key(cluster: &Cluster<'_>) -> String {
    let id = "/usr/lib/postgresql/$V/bin/pg_controldata $D | sed -n 's/.*system identifier: *//p'";
    format!(
        "{}-{}-{}",
        cluster.root(id).await,
        cluster.version,
        cluster.name
    )
}

async fn kept(cluster: &Cluster<'_>) -> String {
    let file = format!("/var/lib/drover/words/{}", key(cluster).await);
    cluster.root(&format!("cat {file} 2>/dev/null || :")).await
}

async fn changed(machine: &Machine) -> String {
    let lines = machine.root("cat /tmp/changed 2>/dev/null || :").await;
    lines.replace('\n', " ")
}

pub async fn nothing_changed_yet(machine: &Machine) {
    machine
        .root("rm -f /tmp/changed /tmp/stopped; : >/tmp/changed; chmod 666 /tmp/changed")
        .await;
}

pub fn lasting(word: Word, time: Duration) -> Word {
    let until = Instant::now() + time;
    Word { until, ..word }
}

#[tokio::test]
async fn what_is_not_the_newest_word_is_refused() {
    let machine = Machine::make().await;
    let (by, other) = (OperationId::generate(), OperationId::generate());
    for login in Login::MIGHTY {
        let cluster = machine
            .cluster(&format!("w_{login:?}").to_lowercase())
            .await;
        nothing_changed_yet(&machine).await;
        let now = word(3, Some(by), &[(5, "a"), (9, "s")]);
        let told = cluster.told(login, &CHANGE, &now, &["1"]).await;
        assert!(told.is_ok(), "{login:?}: {told:?}");
        let of_another = {
            let mut word = now.clone();
            word.standing.deployment = DeploymentId::generate();
            word
        };
        let late = lasting(now.clone(), Duration::ZERO);
        let before = kept(&cluster).await;
        assert_eq!(before, format!("{} 3 {by} 5:a,9:s", *DEPLOYMENT));
        for (word, why) in [
            (
                word(2, Some(by), &[(6, "b"), (9, "s")]),
                "a newer epoch (3, not 2)",
            ),
            (
                word(3, Some(other), &[(6, "b"), (9, "s")]),
                "has raised epoch 3",
            ),
            (word(3, None, &[(6, "b"), (9, "s")]), "has raised epoch 3"),
            (
                word(3, Some(by), &[(4, "z"), (9, "s")]),
                "a newer lease (5, not 4)",
            ),
            (
                word(3, Some(by), &[(5, "b"), (9, "s")]),
                "lease 5 is another one",
            ),
            (
                word(3, Some(by), &[(6, "b"), (8, "r")]),
                "a newer lease (9, not 8)",
            ),
            (
                word(3, Some(by), &[(6, "b"), (9, "r")]),
                "lease 9 is another one",
            ),
            (late, "late: this word has come too late"),
            (of_another, "another deployment"),
        ] {
            let told = cluster.told(login, &CHANGE, &word, &["2"]).await;
            assert!(is_refused(&told, why), "{login:?}, {why}: {told:?}");
            assert_eq!(kept(&cluster).await, before, "{why}");
        }
        assert_eq!(changed(&machine).await, "1");
        // The same once more, a newer lease, and a newer epoch, whose leases are others.
        for word in [
            now,
            word(3, Some(by), &[(6, "b"), (9, "s")]),
            word(4, Some(other), &[(1, "c"), (2, "t")]),
        ] {
            let told = cluster.told(login, &CHANGE, &word, &["3"]).await;
            assert!(told.is_ok(), "{login:?}: {told:?}");
        }
        assert_eq!(changed(&machine).await, "1 3 3 3");
    }
}

#[tokio::test]
async fn where_a_word_is_gone_nothing_is_obeyed_until_it_is_released() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        let cluster = machine
            .cluster(&format!("g_{login:?}").to_lowercase())
            .await;
        nothing_changed_yet(&machine).await;
        let mut word = word(2, None, &[(5, "a"), (9, "s")]);
        let told = cluster.told(login, &CHANGE, &word, &["1"]).await.unwrap();
        let key = key(&cluster).await;
        assert_eq!(told.obeys.as_ref(), Some(&key));
        word.standing.known = told.obeys;
        for damage in ["rm", "truncate -s 3", "truncate -s 0"] {
            machine
                .root(&format!("{damage} /var/lib/drover/words/{key}"))
                .await;
            let told = cluster.told(login, &CHANGE, &word, &["2"]).await;
            let why = if damage == "rm" {
                "is gone"
            } else {
                "cannot be read"
            };
            assert!(is_refused(&told, why), "{damage}: {told:?}");
            assert!(
                is_refused(&told, &format!("drover-root forget {key}")),
                "{told:?}"
            );
        }
        // Its data are gone with all that would name it: still the record's word counts.
        machine.root(&format!("drover-root forget {key}")).await;
        let old = crate::machine::word(1, None, &[(1, "x"), (1, "y")]);
        let told = cluster.told(login, &CHANGE, &old, &["3"]).await;
        assert!(told.is_ok(), "{told:?}");
        assert_eq!(changed(&machine).await, "1 3");
    }
}

#[tokio::test]
async fn what_is_dropped_is_released_and_may_be_dropped_again() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        nothing_changed_yet(&machine).await;
        let cluster = machine.cluster("d_gone").await;
        let mut word = word(1, None, &[(1, "a"), (1, "s")]);
        let told = cluster.told(login, &CHANGE, &word, &["1"]).await.unwrap();
        // The record knows of it from then on, and until it hears that it is gone.
        word.standing.known = told.obeys;
        assert!(word.standing.known.is_some());
        for _ in 0..2 {
            let dropped = machine.told(login, DROP_CLUSTER, &word, None, &["d_gone"], "");
            dropped
                .await
                .unwrap_or_else(|e| panic!("as {login:?}: {e:?}"));
            let left = "ls -d $C $D 2>/dev/null; drover-root words | grep d_gone || :";
            assert_eq!(cluster.root(left).await, "", "{login:?}");
        }
    }
}

#[tokio::test]
async fn a_packet_that_was_under_way_is_late() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("delayed").await;
    for login in Login::MIGHTY {
        nothing_changed_yet(&machine).await;
        cluster
            .root(&format!("drover-root forget {}", key(&cluster).await))
            .await;
        let old = lasting(word(1, None, &[(1, "a"), (1, "s")]), Duration::from_secs(2));
        let told = cluster.told(login, &DELAYED, &old, &["1"]).await;
        assert!(
            is_refused(&told, "late: this word has come too late"),
            "{told:?}"
        );
        // With time enough, but a newer one was quicker.
        let (old, new) = (
            word(1, None, &[(1, "a"), (1, "s")]),
            word(1, None, &[(2, "b"), (1, "s")]),
        );
        let (told, overtakes) = tokio::join!(cluster.told(login, &DELAYED, &old, &["2"]), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cluster.told(login, &CHANGE, &new, &["3"]).await
        });
        assert!(overtakes.is_ok(), "{overtakes:?}");
        assert!(is_refused(&told, "a newer lease (2, not 1)"), "{told:?}");
        assert_eq!(changed(&machine).await, "3");
    }
}

#[tokio::test]
async fn who_is_stopped_half_way_keeps_newer_ones_waiting() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        nothing_changed_yet(&machine).await;
        machine.root("drover-root forget machine").await;
        let (old, new) = (word(0, None, &[(1, "a")]), word(0, None, &[(2, "b")]));
        let stopped = machine.told(login, &STOPPED, &old, None, &["x", "1", "STOP"], "");
        let (told, ()) = tokio::join!(stopped, async {
            machine
                .root("until [ -s /tmp/stopped ]; do sleep 0.1; done")
                .await;
            for _ in 0..2 {
                let told = machine.told(login, &STOPPED, &new, None, &["x", "2", "CONT"], "");
                let told = told.await;
                assert!(is_busy(&told), "{told:?}");
            }
            machine.root("kill -CONT $(cat /tmp/stopped)").await;
        });
        assert!(told.is_ok(), "{told:?}");
        let arguments = ["x", "3", "CONT"];
        let told = machine
            .told(login, &STOPPED, &new, None, &arguments, "")
            .await;
        assert!(told.is_ok(), "{told:?}");
        let told = machine
            .told(login, &STOPPED, &old, None, &arguments, "")
            .await;
        assert!(is_refused(&told, "a newer lease"), "{told:?}");
        assert_eq!(changed(&machine).await, "1 3");
    }
}

#[tokio::test]
async fn who_is_killed_before_its_change_leaves_the_way_free() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        nothing_changed_yet(&machine).await;
        machine.root("drover-root forget machine").await;
        let word = word(0, None, &[(7, "a")]);
        let told = machine
            .told(login, &STOPPED, &word, None, &["x", "1", "KILL"], "")
            .await;
        assert!(told.is_err(), "{told:?}");
        assert_eq!(changed(&machine).await, "");
        let said = machine.root("cat /var/lib/drover/words/machine").await;
        assert!(said.ends_with(" 0 - 7:a"), "{said}");
        let told = machine
            .told(login, &STOPPED, &word, None, &["x", "2", "CONT"], "")
            .await;
        assert!(told.is_ok(), "{told:?}");
        assert_eq!(changed(&machine).await, "2");
    }
}

#[tokio::test]
async fn what_is_left_at_work_keeps_the_lock_and_is_asked_after_without_one() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        nothing_changed_yet(&machine).await;
        machine.root("drover-root forget machine").await;
        let (old, new) = (word(0, None, &[(1, "a")]), word(0, None, &[(2, "b")]));
        // The machine reckons with a job that outlives its turn.
        let begun = Instant::now();
        let told = machine
            .told(login, &LEAVES, &old, None, &["x", "1"], "")
            .await;
        if told.is_err() {
            assert!(is_busy(&told), "{told:?}");
        }
        assert!(begun.elapsed() >= Duration::from_secs(3), "{told:?}");
        let told = machine
            .told(login, &STOPPED, &new, None, &["x", "2", "CONT"], "")
            .await;
        assert!(told.is_ok(), "{told:?}");
        assert_eq!(changed(&machine).await, "1 2");
    }
}

#[tokio::test]
async fn of_two_words_at_once_the_older_never_comes_after_the_newer() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("race").await;
    nothing_changed_yet(&machine).await;
    for n in 0..20_i64 {
        let login = Login::MIGHTY[usize::try_from(n).unwrap() % 3];
        let old = word(1, None, &[(2 * n, "a"), (1, "s")]);
        let new = word(1, None, &[(2 * n + 1, "b"), (1, "s")]);
        let (of_old, of_new) = ((2 * n).to_string(), (2 * n + 1).to_string());
        let (of_old, of_new) = ([of_old.as_str()], [of_new.as_str()]);
        let (one, other) = tokio::join!(
            cluster.told(login, &CHANGE, &old, &of_old),
            cluster.told(login, &CHANGE, &new, &of_new),
        );
        assert!(other.is_ok() || is_busy(&other), "{other:?}");
        assert!(
            one.is_ok() || is_busy(&one) || is_refused(&one, "a newer lease"),
            "{one:?}"
        );
    }
    let order: Vec<i64> = changed(&machine)
        .await
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(order.len() >= 20 && order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn a_word_is_for_one_boot_and_is_kept_through_the_next() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("boots").await;
    nothing_changed_yet(&machine).await;
    let word = word(4, None, &[(5, "a"), (9, "s")]);
    cluster
        .told(Login::Sudo, &CHANGE, &word, &["1"])
        .await
        .unwrap();
    let boot = machine.root("cat /proc/sys/kernel/random/boot_id").await;
    let uptime = machine.root("cut -d' ' -f1 /proc/uptime | tr -d .").await;
    let latest = uptime.parse::<u64>().unwrap() + 600_000;
    machine.reboots().await;
    let key = key(&cluster).await;
    // What was on its way meanwhile, in the words of the script.
    let given = format!(
        "drover-root word {key} - {} 4 - 6:b,9:s {boot} {latest} </dev/null && exit 9; [ $? = 76 ]",
        *DEPLOYMENT
    );
    let said = machine.root(&given).await;
    assert_eq!(
        said,
        "refused: late: this word was for another boot of this server"
    );
    let older = crate::machine::word(3, None, &[(9, "z"), (9, "s")]);
    cluster.root("pg_ctlcluster $V $N start || :").await;
    let told = cluster.told(Login::Sudo, &CHANGE, &older, &["2"]).await;
    assert!(is_refused(&told, "a newer epoch (4, not 3)"), "{told:?}");
}

#[tokio::test]
async fn what_is_dropped_is_forgotten() {
    let machine = Machine::make().await;
    let version = machine.version().await;
    for login in Login::MIGHTY {
        let name = format!("d_gone_{login:?}").to_lowercase();
        let made = machine.made(&name, &version);
        let port = made.port.to_string();
        let arguments = [version.as_str(), &name, &port, machine.address(), "30", ""];
        machine.does(login, MAKE_CLUSTER, &arguments, "").await;
        made.does(login, START_CLUSTER, &[]).await;
        let words = machine.root("drover-root words").await;
        assert!(words.contains(&key(&made).await), "{words}");
        machine.does(login, DROP_CLUSTER, &[&name], "").await;
        let words = machine.root("drover-root words").await;
        assert!(!words.contains(&name), "{words}");
    }
}

/// Who has no root keeps nobody's words: what is late is late all the same.
#[tokio::test]
async fn an_owner_without_root_obeys_the_hour_alone() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("owned").await;
    nothing_changed_yet(&machine).await;
    let old = word(1, None, &[(1, "a"), (1, "s")]);
    let new = word(2, None, &[(2, "b"), (1, "s")]);
    for word in [&new, &old] {
        let told = cluster.told(Login::Owner, &CHANGE, word, &["1"]).await;
        assert_eq!(told.unwrap().obeys, None);
    }
    let late = lasting(old, Duration::ZERO);
    let told = cluster.told(Login::Owner, &CHANGE, &late, &["2"]).await;
    assert!(is_refused(&told, "late"), "{told:?}");
    assert_eq!(kept(&cluster).await, "");
    for script in [
        FENCE,
        STOP_LEADER,
        LEAD_ON,
        PROMOTE,
        FOLLOW,
        REWIND,
        COPY_LEADER,
    ] {
        let told = cluster
            .run(Login::Owner, script, &["x", "y", "z"], "")
            .await;
        assert!(
            crate::machine::is_not_proved(&told),
            "{}: {told:?}",
            script.name
        );
    }
}

/// A machine that is cut off from power keeps what was said to be done. The page cache
/// survives what these machines call a power cut, so the calls are watched instead.
#[tokio::test]
async fn what_a_fence_says_is_on_the_disk() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        let cluster = machine
            .cluster(&format!("s_{login:?}").to_lowercase())
            .await;
        let traced = machine.traced(cluster.run(login, FENCE, &[], "")).await;
        let (told, calls) = traced;
        assert!(told.is_ok(), "{told:?}");
        let key = key(&cluster).await;
        let (data, conf) = (&cluster.data, &cluster.conf);
        let mut rest = calls.lines();
        for synced in [
            // The word, and where it lies, before anything else.
            format!("/var/lib/drover/words/.{key}.new>"),
            "/var/lib/drover/words>".to_owned(),
            format!("{data}/standby.signal>"),
            format!("{data}>"),
            format!("{conf}/pg_hba.conf.new>"),
            format!("{conf}>"),
        ] {
            let found = rest.any(|call| call.contains("fsync(") && call.contains(&synced));
            assert!(
                found,
                "{login:?}: {synced} is not synced, or too early:\n{calls}"
            );
        }
    }
}
