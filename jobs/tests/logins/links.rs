//! What the owner of a cluster puts in the way: links, a lock file, and data that are another's.

use drover_jobs::host::Script;
use drover_jobs::host::scripts::*;

use crate::machine::{Cluster, Login, Machine, is_not_proved};
use crate::may;

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
                MAKE_SLOTS,
                &["64", "f_y"],
                "\\set replication r\n\\set verifier x\n",
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
                // What is about no cluster, or about one that is made or dropped by its name.
                let others = [
                    "mount_volume",
                    "install_postgres",
                    "install_helper",
                    "replace_helper",
                    "narrow_login",
                    "make_cluster",
                    "copy_cluster",
                    "drop_cluster",
                ];
                if others.contains(&script.name) {
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
