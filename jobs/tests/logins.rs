//! Every script, as each kind of login, at clusters that Debian's tools made: who may do it
//! does it, whoever may not is told "not proved", and no link that the owner of a cluster
//! plants gives them what is root's.

#[path = "logins/claims.rs"]
mod claims;
#[path = "logins/clock.rs"]
mod clock;
mod daemon;
#[path = "logins/followers.rs"]
mod followers;
#[path = "logins/helper.rs"]
mod helper;
#[path = "logins/hosts.rs"]
mod hosts;
#[path = "logins/leaders.rs"]
mod leaders;
#[path = "logins/links.rs"]
mod links;
mod machine;
#[path = "logins/passwords.rs"]
mod passwords;
#[path = "logins/shells.rs"]
mod shells;
#[path = "logins/volumes.rs"]
mod volumes;
#[path = "logins/words.rs"]
mod words;

use drover_jobs::host::scripts::*;
use drover_jobs::host::{Script, Sees};
use machine::{Ended, Login, Machine, is_not_proved};

/// Whether this one may do what the script does.
fn may(login: Login, script: &Script) -> bool {
    let at_a_cluster = script.name.starts_with("gameday_") || script.name.starts_with("restart_");
    match (login, script.sees) {
        (Login::Root | Login::Sudo | Login::Helper | Login::With(_), _) => true,
        (Login::Owner, sees) => !matches!(sees, Sees::Root),
        (Login::Asked | Login::Stranger, sees) => matches!(sees, Sees::Anyone) && !at_a_cluster,
    }
}

/// Everybody at every script, where nobody is hidden from anybody or everybody is.
async fn who_may_not_is_told_so(machine: &Machine, hidepid: &[&str]) {
    let cluster = machine.cluster("unseen").await;
    let before = cluster.standing().await;
    for hidden in hidepid.iter().copied() {
        let hide = format!("mount -o remount,hidepid={hidden} /proc");
        machine.root(&hide).await;
        for login in [Login::Owner, Login::Asked, Login::Stranger] {
            for script in ALL.iter().copied().filter(|script| !may(login, script)) {
                let ended = cluster.run(login, script, &["x", "y", "z"], "").await;
                assert!(
                    is_not_proved(&ended) && asks_for_a_password(&ended),
                    "{} as {login:?}: {ended:?}",
                    script.name
                );
            }
            assert_eq!(cluster.standing().await, before, "{login:?}");
        }
        for login in [Login::Root, Login::Sudo, Login::Helper, Login::Owner] {
            let said = cluster.does(login, LOOK_CLUSTER, &[""]).await;
            let told = (said.value("alive").unwrap(), said.value("answers").unwrap());
            assert_eq!(told, ("alive", "0"), "{login:?}");
            let said = cluster.does(login, WITNESS, &["FATAL"]).await;
            let pid = cluster.root("head -n 1 $D/postmaster.pid").await;
            let line = format!("@@ postmaster 0\n{pid} ");
            assert!(said.text().contains(&line), "{login:?}: {}", said.text());
        }
        let witness = cluster.run(Login::Stranger, WITNESS, &["FATAL"], "").await;
        assert_eq!(is_not_proved(&witness), hidden == "2", "{witness:?}");
    }
}

/// Sudo says so too of whom it does not know.
fn asks_for_a_password(ended: &Ended) -> bool {
    matches!(ended, Err((_, words)) if words.contains("sudo asks for a password"))
}

#[tokio::test]
async fn who_may_not_see_is_told_so_and_changes_nothing() {
    who_may_not_is_told_so(&Machine::make().await, &["0", "2"]).await;
}

#[tokio::test]
async fn who_may_not_see_is_told_so_on_the_next_debian() {
    who_may_not_is_told_so(&Machine::trixie().await, &["2"]).await;
}

/// A password, as PostgreSQL keeps it.
const VERIFIER: &str = "\\set verifier 'SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$\
                        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
                        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

/// What looks at a leader and changes its settings, in an order in which it all succeeds.
async fn is_managed(machine: &Machine, login: Login) {
    machine.runs_nothing_of_tmp().await;
    let cluster = machine.cluster("managed").await;
    let none: &[&str] = &[];
    let said = cluster.does(login, MARK_POSTMASTER, none).await;
    let mark = said.value("postmaster").unwrap().to_owned();
    let pid = cluster.root("head -n 1 $D/postmaster.pid").await;
    assert!(mark.starts_with(&format!("{pid}-")), "{mark}");
    cluster
        .root("runuser -u postgres -- createuser -p $P customer")
        .await;
    let all: &[(&'static Script, &[&str])] = &[
        (VERSION, none),
        (LOOK_SLOTS, &["0", ""]),
        (DROP_SLOT_IF_UNREAD, &["none", "0", ""]),
        (TRY_CHECKPOINT, none),
        (SET_READ_ONLY, none),
        (LOOK_READ_ONLY, none),
        (RESET_READ_ONLY, &[""]),
        (LOOK_ROLE, &["customer"]),
        (END_IDLE_SESSIONS, &["60", END_IDLE_SESSIONS_SQL]),
        (LOOK_FREEZING, &["200000000"]),
        (START_FREEZING, &["200000000", "5", FREEZE_TABLES]),
        (LOOK_ARCHIVER, &["60"]),
        (RESTART_ARCHIVER, &["60"]),
        (CANDIDATE_STANDING, &["198.18.0.1", "5432"]),
        (FOLLOWER_STANDING, none),
        (STREAMING_FOLLOWERS, none),
        (STREAMS_FROM, none),
        (RECEIVER_STATUS, none),
        (END_RECEIVER, none),
        (CAUGHT_UP, &["0/0"]),
        (CHECKPOINT, none),
        (SET_SYNCHRONOUS_NAMES, &[""]),
        (DROP_SLOT, &["none"]),
        (TIDY_SLOTS, none),
        (PROMOTE, &["2", "auto"]),
        (RESTART_CLUSTER, &[mark.as_str()]),
        (GAMEDAY_SIGNAL, &["STOP"]),
        (
            RESTART_DEAD_CLUSTER,
            &["immediate", "9999999999", "timeout", "leader"],
        ),
        (GAMEDAY_SIGNAL, &["KILL"]),
        (RESTART_DEAD_CLUSTER, &["fast", "9999999999", "refused"]),
    ];
    for (script, arguments) in all.iter().filter(|(script, _)| may(login, script)) {
        cluster.does(login, script, arguments).await;
    }
    let scripts: [&'static Script; 2] = [SET_PASSWORD, RESTORE_LOGIN];
    for script in scripts {
        let ended = cluster
            .run(login, script, &["customer", "true"], VERIFIER)
            .await;
        assert!(ended.is_ok(), "{} as {login:?}: {ended:?}", script.name);
    }
    let answers = cluster.does(login, LOOK_CLUSTER, &[""]).await;
    assert_eq!(answers.value("answers").unwrap(), "0");
    let mark = cluster.does(login, MARK_POSTMASTER, none).await;
    assert!(
        !mark
            .value("postmaster")
            .unwrap()
            .starts_with(&format!("{pid}-"))
    );
}

#[tokio::test]
async fn root_manages_a_cluster_of_the_next_debian() {
    is_managed(&Machine::trixie().await, Login::Root).await;
}

#[tokio::test]
async fn who_may_become_root_manages_a_cluster() {
    is_managed(&Machine::make().await, Login::Sudo).await;
}

#[tokio::test]
async fn who_may_use_drover_root_manages_a_cluster() {
    is_managed(&Machine::make().await, Login::Helper).await;
}

#[tokio::test]
async fn its_owner_manages_a_cluster_of_the_next_debian() {
    is_managed(&Machine::trixie().await, Login::Owner).await;
}
