//! A server whose sudo asks for a password, of all or of some that drover needs: what is
//! missing is said, and a fence is never said to be proved.

use std::time::Duration;

use drover_jobs::host::Script;
use drover_jobs::host::scripts::*;

use crate::asks_for_a_password;
use crate::leaders::is_written_to;
use crate::machine::{Login, Machine, is_not_proved};

/// What root writes into sudo's rules of the one who is asked.
async fn rules(machine: &Machine, rules: &str) {
    let write = format!(
        "cd /etc/sudoers.d; printf '%s\\n' {rules} >asked.new; visudo -cqf asked.new
         mv asked.new asked"
    );
    machine.root(&write).await;
}

const BECOMES_ROOT: &str = "'asked ALL=(root) NOPASSWD: /usr/local/sbin/drover-root'";
const BECOMES_OWNER: &str = "'asked ALL=(postgres) NOPASSWD: ALL'";

#[tokio::test]
async fn what_half_the_rights_cannot_do_is_said_and_nothing_changes() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("half").await;
    is_written_to(&cluster).await;
    let before = cluster.standing().await;
    let all: [&'static Script; 5] = [FENCE, STOP_LEADER, PROMOTE, START_CLUSTER, OPEN];
    for half in [BECOMES_ROOT, BECOMES_OWNER, "'asked ALL=(ALL) ALL'"] {
        rules(&machine, half).await;
        for script in all {
            let ended = cluster.run(Login::Asked, script, &[], "").await;
            assert!(is_not_proved(&ended), "{}: {ended:?}", script.name);
            assert!(asks_for_a_password(&ended), "{}: {ended:?}", script.name);
        }
    }
    // It runs as whoever logs in, and needs root for one thing, or the owner.
    let much = ["vol-1", "", "/var/lib/postgresql", "999999999999999"];
    let ended = machine.run(Login::Asked, GROW_FILESYSTEM, None, &much, "");
    let ended = ended.await;
    let on_a_disk = machine.root("findmnt -nro SOURCE --target /").await;
    if on_a_disk.starts_with("/dev/") {
        assert!(is_not_proved(&ended), "{ended:?}");
    }
    let ports = cluster.port.to_string();
    let arguments = ["remove", &*ports, "/"];
    let ended = machine.run(Login::Asked, ROTATED_LOGS, None, &arguments, "");
    let ended = ended.await;
    assert!(is_not_proved(&ended), "{ended:?}");
    assert!(asks_for_a_password(&ended), "{ended:?}");
    assert_eq!(cluster.standing().await, before);
    cluster
        .root("n=$(wc -l </tmp/accepted.$N); sleep 0.5; [ $(wc -l </tmp/accepted.$N) -gt $n ]")
        .await;
}

/// Wherever a fence is when its login loses its rights, it has proved nothing unless it has
/// done all.
#[tokio::test]
async fn a_fence_that_loses_its_rights_is_not_proved() {
    let machine = Machine::make().await;
    let cluster = machine.cluster("loses").await;
    for tenths in [1, 2, 3, 4, 6, 8, 12] {
        rules(&machine, &format!("{BECOMES_ROOT} {BECOMES_OWNER}")).await;
        let is_open = "rm -f $D/standby.signal; [ ! -e $C/pg_hba.conf.unfenced ] ||
             mv -f $C/pg_hba.conf.unfenced $C/pg_hba.conf
             pg_ctlcluster $V $N start || :
             until runuser -u postgres -- psql -p $P -qc 'select 1' >/dev/null; do sleep 0.1; done";
        cluster.root(is_open).await;
        let (ended, ()) = tokio::join!(cluster.run(Login::Asked, FENCE, &[], ""), async {
            tokio::time::sleep(Duration::from_millis(100 * tenths)).await;
            rules(&machine, "'asked ALL=(ALL) ALL'").await;
        });
        match ended {
            Ok(_) => {
                let fenced = "! pg_ctlcluster $V $N status && [ -e $D/standby.signal ] &&
                     [ -e $C/pg_hba.conf.unfenced ]";
                cluster.root(fenced).await;
            }
            Err((_, words)) => assert!(!words.contains("kept from writing"), "{words}"),
        }
    }
}
