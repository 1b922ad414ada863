//! Two clusters that claim one port: whatever is done is done to the one that is known, or to
//! none.

use drover::model::ClusterIdentity;
use drover_jobs::host::Script;
use drover_jobs::host::scripts::*;

use crate::machine::{Cluster, Login, Machine, is_not_proved};

/// The cluster that drover knows, and runs; and two that claim its port, and do not: `aaa`,
/// which Debian names first and is an older copy of it, and `zzz`, which is a stranger.
async fn three_at_one_port(machine: &Machine) -> (Cluster<'_>, [Cluster<'_>; 2]) {
    let mut known = machine.cluster("known").await;
    let others = ["aaa", "zzz"].map(|name| {
        let mut other = machine.made(name, &known.version);
        other.port = known.port;
        other
    });
    for other in &others {
        other
            .root(
                "pg_lsclusters -h $V $N >/dev/null 2>&1 && pg_dropcluster --stop $V $N
                 rm -rf $C $D
                 pg_createcluster -p $P $V $N >/dev/null",
            )
            .await;
    }
    let copy = "pg_ctlcluster $V $N stop -m fast
         rm -rf /var/lib/postgresql/$V/aaa
         cp -a $D /var/lib/postgresql/$V/aaa
         pg_ctlcluster $V $N start";
    known.root(copy).await;
    let number = "runuser -u postgres -- /usr/lib/postgresql/$V/bin/pg_controldata -D $D |
        sed -n 's/^Database system identifier: *//p'";
    known.is = Some(ClusterIdentity {
        system_identifier: known.root(number).await,
        data_directory: Some(known.data.clone()),
    });
    (known, others)
}

const RESTART: &[&str] = &["immediate", "9999999999", "refused"];
const KILL: &str = "kill -9 $(head -n 1 $D/postmaster.pid); sleep 0.5";

#[tokio::test]
async fn of_two_at_one_port_the_known_one_is_restarted_and_fenced() {
    let machine = Machine::make().await;
    let (known, others) = three_at_one_port(&machine).await;
    let mut before = Vec::new();
    for other in &others {
        before.push(other.standing().await);
    }
    for login in [Login::Root, Login::Sudo, Login::Helper, Login::Owner] {
        known.root(KILL).await;
        let said = known.does(login, WITNESS, &["FATAL"]).await;
        let chosen = format!("@@ cluster 0\n{}/known\n", known.version);
        assert!(said.text().contains(&chosen), "{login:?}: {}", said.text());
        known.does(login, RESTART_DEAD_CLUSTER, RESTART).await;
        known.root("pg_ctlcluster $V $N status").await;
    }
    for login in [Login::Root, Login::Sudo, Login::Helper] {
        known.does(login, FENCE, &[]).await;
        known.root("! pg_ctlcluster $V $N status").await;
        known.does(login, LEAD_ON, &[]).await;
        known.does(login, OPEN, &[]).await;
        known.root("pg_ctlcluster $V $N status").await;
    }
    for (other, before) in others.iter().zip(before) {
        assert_eq!(other.standing().await, before, "{}", other.name);
    }
}

#[tokio::test]
async fn a_copy_that_runs_in_its_place_is_left_alone() {
    let machine = Machine::make().await;
    let (known, [copy, _]) = three_at_one_port(&machine).await;
    known.root("pg_ctlcluster $V $N stop -m fast").await;
    copy.root("pg_ctlcluster $V $N start").await;
    let before = copy.standing().await;
    let told = known
        .run(Login::Helper, RESTART_DEAD_CLUSTER, RESTART, "")
        .await;
    assert!(told.is_err(), "the port is taken: {told:?}");
    known.does(Login::Helper, FENCE, &[]).await;
    assert_eq!(copy.standing().await, before);
    copy.root("pg_ctlcluster $V $N status").await;
}

#[tokio::test]
async fn where_nobody_can_tell_which_it_is_nothing_is_done() {
    let machine = Machine::make().await;
    let (mut known, others) = three_at_one_port(&machine).await;
    let all: [&'static Script; 4] = [RESTART_DEAD_CLUSTER, RESTART_CLUSTER, FENCE, STOP_LEADER];
    let is = known.is.take().unwrap();
    let unknown = [
        None,
        // Its copy is as good, where nobody knows its place.
        Some(ClusterIdentity {
            data_directory: None,
            ..is.clone()
        }),
        Some(ClusterIdentity {
            system_identifier: "7000000000000000001".into(),
            ..is
        }),
    ];
    let mut before = vec![known.standing().await];
    for other in &others {
        before.push(other.standing().await);
    }
    for is in unknown {
        known.is = is;
        for login in [Login::Root, Login::Helper, Login::Owner] {
            for script in all {
                let said = known.run(login, script, RESTART, "").await;
                assert!(
                    is_not_proved(&said),
                    "{} as {login:?}: {said:?}",
                    script.name
                );
            }
        }
        let said = known
            .run(Login::Helper, WITNESS, &["FATAL"], "")
            .await
            .unwrap();
        assert!(said.text().contains("@@ cluster 77\n"), "{}", said.text());
    }
    let mut after = vec![known.standing().await];
    for other in &others {
        after.push(other.standing().await);
    }
    assert_eq!(after, before);
}
