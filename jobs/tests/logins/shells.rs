//! Whatever shell a login has, what it is told means the same.

use drover_jobs::host::scripts::*;
use drover_jobs::host::{Changes, Script, Sees};
use futures::future::join_all;

use crate::leaders::{is_fenced, is_written_to};
use crate::machine::{Cluster, Login, Machine};

/// Says its argument and its input.
static SAYS: Script = Script {
    name: "says",
    text: "printf '%s\\n' \"$1\"; cat <&3\n",
    sees: Sees::Anyone,
    changes: Changes::Nothing,
    needs: &[],
};

/// Is at work for longer than its session.
pub static SLOW: Script = Script {
    name: "slow",
    text: "job() { sleep 11; as_owner touch -- \"$d/slow\"; }\nbackground job job\necho done\n",
    sees: Sees::Root,
    changes: Changes::Cluster,
    needs: &[
        include_str!("../../host/scripts/prelude/background.sh"),
        include_str!("../../host/scripts/prelude/clusters.sh"),
        include_str!("../../host/scripts/prelude/owner.sh"),
        include_str!("../../host/scripts/prelude/choose.sh"),
        include_str!("../../host/scripts/prelude/cluster.sh"),
    ],
};

/// What shells read in ways of their own.
const ODD: &str =
    "a 'b' \"c\" $HOME ${x} `id` \\ \\\\ \\' !! !x ^a^b %1 ~ * ? [a] {a,b} (x) ; & | > #\n\\n\tend";

async fn is_understood(machine: &Machine, cluster: &Cluster<'_>, login: Login) {
    let shell = machine.tries(login, "echo $0 $SHELL", b"").await.1;
    assert!(shell.contains(login.user()), "{login:?}: {shell}");
    let said = machine.run(login, &SAYS, None, &[ODD], ODD).await;
    let said = said.unwrap_or_else(|e| panic!("{login:?}: {e:?}"));
    assert_eq!(said.text(), format!("{ODD}\n{ODD}"), "{login:?}");

    let feels = machine.does(login, FEEL_SERVER, &[PROBE], "").await;
    for section in ["@@ clock 0\n", "@@ clusters 0\n[{", "@@ probe 0\nok "] {
        assert!(
            feels.text().contains(section),
            "{login:?}: {}",
            feels.text()
        );
    }
    let changed = cluster.does(login, SET_READ_ONLY, &[]).await;
    assert!(changed.obeys.is_some(), "{login:?}: {changed:?}");
    cluster.does(login, RESET_READ_ONLY, &[""]).await;
    let told = cluster.does(login, &SLOW, &[]).await;
    assert_eq!(told.last_words(), "done", "{login:?}");
    cluster.root("ls $D/slow").await;

    is_written_to(cluster).await;
    let (ended, later) = is_fenced(cluster, login).await;
    assert!(ended.is_ok() && !later, "{login:?}: {ended:?}");
}

/// After each upgrade of the system PostgreSQL says so at every login, whatever the client asks
/// to be told.
#[tokio::test]
async fn what_postgresql_remarks_at_a_login_is_no_answer() {
    let machine = Machine::trixie().await;
    let cluster = machine.cluster("remarks").await;
    let remarks = "cd /tmp; psql() { runuser -u postgres -- psql -p $P \"$@\"; }
        psql -qc \"update pg_database set datcollversion = '0'\"
        psql -c 'select 1' 2>&1";
    let said = cluster.root(remarks).await;
    assert!(said.contains("collation version"), "{said}");
    for login in [Login::Root, Login::Helper] {
        let changed = cluster.does(login, SET_READ_ONLY, &[]).await;
        assert!(changed.obeys.is_some(), "{login:?}: {changed:?}");
        cluster.does(login, RESET_READ_ONLY, &[""]).await;
    }
}

#[tokio::test]
async fn whatever_the_login_shell_is_it_means_the_same() {
    let machine = Machine::trixie().await;
    let mut clusters = Vec::new();
    for login in Login::WITH_SHELLS {
        clusters.push(machine.cluster(&format!("s_{}", login.user())).await);
    }
    let all = clusters.iter().zip(Login::WITH_SHELLS);
    join_all(all.map(|(cluster, login)| is_understood(&machine, cluster, login))).await;
}
