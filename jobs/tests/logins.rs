//! Every script, as each kind of login, at clusters that Debian's tools made: who may do it
//! does it, whoever may not is told "not proved", and no link that the owner of a cluster
//! plants gives them what is root's.

#[path = "logins/claims.rs"]
mod claims;
mod daemon;
#[path = "logins/helper.rs"]
mod helper;
mod machine;
#[path = "logins/words.rs"]
mod words;

use std::time::Duration;

use drover_jobs::host::scripts::*;
use drover_jobs::host::{Script, Sees};
use machine::{Cluster, Login, Machine, is_not_proved};

/// Whether this one may do what the script does.
fn may(login: Login, script: &Script) -> bool {
    let at_a_cluster = script.name.starts_with("gameday_") || script.name.starts_with("restart_");
    match (login, script.sees) {
        (Login::Root | Login::Sudo | Login::Helper, _) => true,
        (Login::Owner, sees) => !matches!(sees, Sees::Root),
        (Login::Stranger, sees) => matches!(sees, Sees::Anyone) && !at_a_cluster,
    }
}

#[tokio::test]
async fn who_may_not_see_is_told_so_and_changes_nothing() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("unseen").await;
    let before = cluster.standing().await;
    for hidden in ["0", "2"] {
        let hide = format!("mount -o remount,hidepid={hidden} /proc");
        machine.root(&hide).await;
        for login in [Login::Owner, Login::Stranger] {
            for script in ALL.iter().copied().filter(|script| !may(login, script)) {
                let ended = cluster.run(login, script, &["x", "y", "z"], "").await;
                assert!(
                    is_not_proved(&ended),
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
    machine.root("mount -o remount,hidepid=0 /proc").await;
}

/// A password, as PostgreSQL keeps it.
const VERIFIER: &str = "\\set verifier 'SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$\
                        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
                        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

/// What looks at a leader and changes its settings, in an order in which it all succeeds.
async fn is_managed(cluster: &Cluster<'_>, login: Login) {
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
        (PROMOTE, none),
        (RESTART_CLUSTER, &[mark.as_str()]),
        (GAMEDAY_SIGNAL, &["STOP"]),
        (
            RESTART_DEAD_CLUSTER,
            &["immediate", "9999999999", "timeout"],
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
async fn root_manages_a_cluster() {
    let machine = Machine::make().await;
    is_managed(&machine.cluster("of_root").await, Login::Root).await;
}

#[tokio::test]
async fn who_may_become_root_manages_a_cluster() {
    let machine = Machine::make().await;
    is_managed(&machine.cluster("of_sudo").await, Login::Sudo).await;
}

#[tokio::test]
async fn who_may_use_drover_root_manages_a_cluster() {
    let machine = Machine::make().await;
    is_managed(&machine.cluster("of_helper").await, Login::Helper).await;
}

#[tokio::test]
async fn its_owner_manages_a_cluster() {
    let machine = Machine::make().await;
    is_managed(&machine.cluster("of_owner").await, Login::Owner).await;
}

/// What makes clusters, has one follow the other, and hands the lead over, in order.
async fn lives_and_goes(machine: &Machine, login: Login, tag: &str) {
    let none: &[&str] = &[];
    let (address, version) = (machine.address(), machine.version().await);
    let made = machine.made(&format!("d_{tag}"), &version);
    let (name, port) = (made.name.as_str(), made.port.to_string());
    let arguments = [version.as_str(), name, &port, address, "30", ""];
    machine.does(login, MAKE_CLUSTER, &arguments, "").await;
    machine.does(login, MAKE_CLUSTER, &arguments, "").await;
    made.does(login, START_CLUSTER, none).await;
    let pem = made.does(login, CERTIFICATE, none).await.text().to_owned();
    let elsewhere = made.does(login, RENEW_CERTIFICATE, &["192.0.2.7"]).await;
    assert_ne!(elsewhere.text(), pem);
    // Whoever follows looks whether it is shown.
    let renewed = made.does(login, RENEW_CERTIFICATE, &[address]).await;
    let pem = renewed.text().to_owned();
    let roles = "\\set own drover\n\\set own_verifier x\n\\set role customer\n\
                 \\set role_verifier x\n\\set database app\n\\set most 5\n";
    made.ends(login, MAKE_ROLES, &["app", "pgcrypto"], roles)
        .await;
    let slot = "\\set replication drover_replication\n\\set slot f_one\n\\set verifier secret\n";
    made.ends(login, MAKE_SLOT, &["f_one", "64"], slot).await;

    let copy = machine.made(&format!("d_{tag}_copy"), &version);
    let pass = format!("{address}:{port}:*:drover_replication:secret\n{pem}\n");
    let to = copy.port.to_string();
    let (from, slot) = ([address, port.as_str()], "f_one");
    let arguments = [
        &version,
        copy.name.as_str(),
        &to,
        address,
        from[0],
        from[1],
        slot,
        "100",
        "30",
        "",
    ];
    machine.does(login, COPY_CLUSTER, &arguments, &pass).await;
    copy.does(login, START_CLUSTER, none).await;
    copy.streams(login).await;
    copy.does(login, RESTART_FOLLOWER, none).await;
    copy.streams(login).await;
    made.does(login, STREAMING_FOLLOWERS, none).await;

    // Down in good order, and on; then by force, and behind its own copy.
    let said = made.does(login, STOP_LEADER, none).await;
    assert!(said.value("lsn").unwrap().contains('/'));
    assert_eq!(
        made.root("ls $D/standby.signal").await,
        format!("{}/standby.signal", made.data)
    );
    made.does(login, LEAD_ON, none).await;
    made.root(
        "[ ! -e $D/standby.signal ] && runuser -u postgres -- psql -p $P -c 'create table t ()'",
    )
    .await;
    copy.streams(login).await;
    made.does(login, FENCE, none).await;
    copy.does(login, PROMOTE, none).await;
    let back = "\\set replication drover_replication\n\\set slot f_two\n\\set verifier secret\n";
    copy.ends(login, MAKE_SLOT, &["f_two", "64"], back).await;
    let pem = copy.does(login, CERTIFICATE, none).await.text().to_owned();
    let pass = format!("{address}:{to}:*:drover_replication:secret\n{pem}\n");
    let behind = [address, to.as_str(), "f_two"];
    made.ends(login, FOLLOW, &behind, &pass).await;
    machine.does(login, REACHES, &[address, &to], "").await;
    made.does(login, REWIND, &[&behind[..], &["rewind"]].concat())
        .await;
    made.does(login, START_CLUSTER, none).await;
    made.does(login, OPEN, none).await;
    made.streams(login).await;
    made.does(login, FENCE, none).await;
    made.does(
        login,
        COPY_LEADER,
        &[&behind[..], &["copy", "100"]].concat(),
    )
    .await;
    made.does(login, OPEN, none).await;
    made.does(login, START_CLUSTER, none).await;
    made.streams(login).await;
    assert_eq!(made.root("find $C $D ! -user postgres").await, "");

    let log = "/var/log/postgresql/postgresql-$V-$N.log.1";
    made.root(&format!(
        "install -o postgres -g adm -m 640 /dev/null {log}; echo 12345 >{log}"
    ))
    .await;
    let logs = made
        .root("df --output=target /var/log/postgresql | tail -n 1")
        .await;
    for (what, found) in [("look", "1 6"), ("remove", "1 6"), ("look", "0 0")] {
        let said = machine
            .does(
                login,
                ROTATED_LOGS,
                &[what, &made.port.to_string(), &logs],
                "",
            )
            .await;
        assert_eq!(said.last_words(), found, "{what}");
    }
    for gone in [&made, &copy] {
        machine.does(login, DROP_CLUSTER, &[&gone.name], "").await;
        gone.root("! ls -d $C $D /var/log/postgresql/postgresql-$V-$N.log 2>/dev/null")
            .await;
    }
}

#[tokio::test]
async fn root_makes_and_drops_clusters() {
    lives_and_goes(&Machine::make().await, Login::Root, "root").await;
}

#[tokio::test]
async fn who_may_become_root_makes_and_drops_clusters() {
    lives_and_goes(&Machine::make().await, Login::Sudo, "sudo").await;
}

#[tokio::test]
async fn who_may_use_drover_root_makes_and_drops_clusters() {
    lives_and_goes(&Machine::make().await, Login::Helper, "helper").await;
}

/// What the owner of a cluster puts in the way: under each name that a script writes to, a
/// link to what is root's.
const TRAPS: &str = "
    for f in pg_hba.conf.new pg_hba.conf.unfenced.new start.conf.new replication.pass.new \
      leader.crt.new conf.d/follower.conf.new conf.d/follower.conf replication.pass leader.crt; do
      ln -sfn /etc/secret $C/$f
    done
    rm -f $C/start.conf
    ln -s /etc/secret $C/start.conf
    ln -s /etc/secret $D/standby.signal
    ln -s /etc/secret $D/pgsql_tmp.drover-probe
    ln -sfn /etc/secret $D/../.drover-probe
    ln -sfn /etc/secret $D/../drover-gameday.fill
    mkdir -p $D/pg_log && ln -s /etc/drover-test $D/log
    chown -hR postgres:postgres $D $C $D/../.drover-probe $D/../drover-gameday.fill";

/// Root's secret is as it was, and nobody has a copy.
async fn nobody_has_the_secret(cluster: &Cluster<'_>, what: &str) {
    let found = cluster
        .root(
            "stat -c '%U %a' /etc/secret; cat /etc/secret
               find /etc/postgresql /var/lib/postgresql /var/log/postgresql /tmp /run/postgresql \
                 -type f -exec grep -l 'only root may know' {} + || :",
        )
        .await;
    let (head, rest) = found.split_once('\n').unwrap();
    assert!(head == "root 600", "{what}: {head}");
    assert_eq!(rest, "what only root may know", "{what}");
}

#[tokio::test]
async fn a_link_gives_nobody_what_is_roots() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        let name = format!("links_{login:?}").to_lowercase();
        let name = name.as_str();
        let cluster = machine.cluster(name).await;
        cluster
            .root("mkdir -p /etc/drover-test; echo x >/etc/drover-test/old.log.1")
            .await;
        let changed = cluster.root("stat -c '%i %Y %Z' /etc/secret").await;
        let follow = [machine.address(), "5999", "f_x"];
        let steps: &[(&'static Script, &[&str], &str)] = &[
            (
                MAKE_SLOT,
                &["f_y", "64"],
                "\\set replication r\n\\set slot f_y\n\\set verifier x\n",
            ),
            (FEEL_SERVER, &[PROBE], ""),
            (ROTATED_LOGS, &["remove", "", "/"], ""),
            (GAMEDAY_FILL, &[], ""),
            (GAMEDAY_EMPTY, &[], ""),
            (FOLLOW, &follow, "pass\ncertificate\n"),
            (STOP_LEADER, &[], ""),
            (FOLLOW, &follow, "pass\ncertificate\n"),
            (LEAD_ON, &[], ""),
            (FENCE, &[], ""),
            (OPEN, &[], ""),
            (START_CLUSTER, &[], ""),
            (RESTART_FOLLOWER, &[], ""),
            (RESTART_CLUSTER, &["none"], ""),
            (RESTART_DEAD_CLUSTER, &["fast", "9999999999", "refused"], ""),
            (FENCE, &[], ""),
            (WITNESS, &["only root"], ""),
        ];
        for (script, arguments, input) in steps {
            cluster.root(TRAPS).await;
            let ports = cluster.port.to_string();
            let mut arguments = arguments.to_vec();
            if script.name == "rotated_logs" {
                arguments[1] = &ports;
                machine
                    .run(login, script, None, &arguments, input)
                    .await
                    .unwrap();
            } else if script.name == "feel_server" {
                machine
                    .run(login, script, None, &arguments, input)
                    .await
                    .unwrap();
            } else {
                let ended = cluster.run(login, script, &arguments, input).await;
                let told = format!("{ended:?}");
                assert!(
                    !told.contains("may know"),
                    "{} as {login:?}: {told}",
                    script.name
                );
            }
            nobody_has_the_secret(&cluster, script.name).await;
            let now = cluster.root("stat -c '%i %Y %Z' /etc/secret").await;
            assert_eq!(now, changed, "{} as {login:?} touched it", script.name);
            cluster.root("ls /etc/drover-test/old.log.1").await;
        }
        // The log, and what the name of the log and the data lead to.
        cluster.root("ln -sfn /etc/secret $C/log; rm -f $D/postmaster.pid; ln -s /etc/secret $D/postmaster.pid").await;
        let scripts: [&'static Script; 5] =
            [WITNESS, START_CLUSTER, FENCE, RESTART_CLUSTER, LOOK_CLUSTER];
        for script in scripts {
            let ended = cluster.run(login, script, &["only root"], "").await;
            assert!(
                !format!("{ended:?}").contains("may know"),
                "{}: {ended:?}",
                script.name
            );
            nobody_has_the_secret(&cluster, script.name).await;
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_dropped_may_be_a_link() {
    let machine = Machine::make().await;
    for login in Login::MIGHTY {
        let name = format!("d_trap_{login:?}").to_lowercase();
        let version = machine.version().await;
        let trap = machine.made(&name, &version);
        trap.root(
            "rm -rf /srv/precious; mkdir -p /srv/precious/$N; touch /srv/precious/$N/PG_VERSION
             install -d -o postgres -g postgres ${C%/*} $C ${D%/*}; ln -sfn /srv/precious/$N $D
             ln -sfn /srv/precious $C/conf.d
             echo \"data_directory = '$D'\" >$C/postgresql.conf; chown -hR postgres: $C $D",
        )
        .await;
        let ended = machine.run(login, DROP_CLUSTER, None, &[&name], "").await;
        trap.root("ls /srv/precious/$N/PG_VERSION").await;
        assert!(is_not_proved(&ended), "{ended:?}");
        trap.root("rm $C/postgresql.conf").await;
        machine.does(login, DROP_CLUSTER, &[&name], "").await;
        trap.root("ls /srv/precious/$N/PG_VERSION; ! ls -d $C $D 2>/dev/null")
            .await;
    }
}

#[tokio::test]
async fn a_lock_file_names_nobody_to_be_killed() {
    let machine = Machine::make().await;
    let none: &[&str] = &[];
    let cluster = machine.cluster("forged").await;
    let made: &[(&'static Script, &[&str])] = &[
        (FENCE, none),
        (STOP_LEADER, none),
        (RESTART_FOLLOWER, none),
        (RESTART_CLUSTER, &["1-1"]),
        (
            RESTART_DEAD_CLUSTER,
            &["immediate", "9999999999", "refused"],
        ),
        (GAMEDAY_SIGNAL, &["KILL"]),
    ];
    for (login, (script, arguments)) in Login::ALL
        .iter()
        .flat_map(|l| made.iter().map(move |m| (*l, m)))
    {
        // Somebody's processes: root's, and another's that is frozen.
        let victims = cluster
            .root(
                "one() { runuser -u $1 -- sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'; }
                 a=$(one root) b=$(one sudoer)
                 kill -STOP $b
                 printf '%s\\n' $a $D 1 $P /etc >$D/postmaster.pid
                 chown postgres: $D/postmaster.pid
                 touch /etc/.s.PGSQL.$P.lock; echo $a $b",
            )
            .await;
        let _ = cluster.run(login, script, arguments, "").await;
        let look = format!("ls /etc/.s.PGSQL.$P.lock && kill -0 {victims} && kill -KILL {victims}");
        cluster.root(&look).await;
    }
}

#[tokio::test]
async fn nobody_acts_as_the_owner_of_anothers_cluster() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("of_another").await;
    // postgres says that its data are another's folder, by a setting and by a link.
    cluster.root("install -d -m 700 -o sudoer -g sudoer /home/sudoer/data; touch /home/sudoer/data/PG_VERSION
                  pg_ctlcluster $V $N stop -m fast; rm -rf $D.kept; mv $D $D.kept").await;
    for lie in [
        "ln -sfn /home/sudoer/data $D; chown -h postgres: $D",
        "rm -f $D; sed -i \"s,^data_directory.*,data_directory = '/home/sudoer/data',\" $C/postgresql.conf",
    ] {
        cluster.root(lie).await;
        for login in Login::MIGHTY {
            for script in ALL
                .iter()
                .copied()
                .filter(|script| !may(Login::Stranger, script))
            {
                if matches!(
                    script.name,
                    "mount_volume"
                        | "install_postgres"
                        | "make_cluster"
                        | "copy_cluster"
                        | "drop_cluster"
                ) {
                    continue;
                }
                let ended = cluster.run(login, script, &["x", "y", "z"], "").await;
                assert!(
                    is_not_proved(&ended),
                    "{} as {login:?}: {ended:?}",
                    script.name
                );
            }
        }
        cluster
            .root("[ \"$(ls -A /home/sudoer/data)\" = PG_VERSION ]")
            .await;
    }
}

#[tokio::test]
async fn nothing_is_accepted_behind_a_proof_that_a_leader_is_stopped() {
    let machine = Machine::make().await;
    for login in Login::ALL {
        let name = format!("w_{login:?}").to_lowercase();
        let name = name.as_str();
        let cluster = machine.cluster(name).await;
        cluster
            .root(
                "cd /tmp; runuser -u postgres -- psql -p $P -qc 'create table w (at timestamptz)'
                   runuser -u postgres -- setsid sh -c 'while :; do
                       psql -p '$P' -qAtc \"insert into w values (now())\" && date +%s.%N
                       sleep 0.01
                     done' >/tmp/accepted.$N 2>/dev/null </dev/null &",
            )
            .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ended = cluster.run(login, FENCE, &[], "").await;
        let at = cluster.root("date +%s.%N").await;
        // Somebody starts it: root, and its owner.
        cluster
            .root("pg_ctlcluster $V $N start || :; sleep 2")
            .await;
        let last = cluster
            .root("grep -E '^[0-9]+[.][0-9]+$' /tmp/accepted.$N | tail -n 1")
            .await;
        let later = last.parse::<f64>().unwrap() > at.parse().unwrap();
        cluster
            .root("pkill -KILL -f accepted.$N; pkill -KILL -u postgres -f 'psql -p '$P; :")
            .await;
        match ended {
            Ok(said) => {
                assert!(Login::MIGHTY.contains(&login));
                assert!(
                    said.text().ends_with("is stopped, and kept from writing"),
                    "{said:?}"
                );
                assert!(
                    !later,
                    "as {login:?}, a write was accepted {last}, after {at}"
                );
            }
            Err(_) => {
                assert!(
                    is_not_proved(&ended) && !Login::MIGHTY.contains(&login),
                    "{ended:?}"
                );
                assert!(later, "as {login:?} nothing was to change");
            }
        }
    }
}
