//! Clusters on a volume that is full, read-only or gone: what a feel says of it, and
//! that a fence is proved there or says that it is not.

use drover_jobs::host::scripts::*;

use crate::leaders::{is_fenced_and, is_written_to};
use crate::machine::{Cluster, Login, Machine, is_not_proved};

const AT: &str = "/var/lib/postgresql";

/// A cluster on the machine's volume, with somebody who writes to it.
async fn on_a_volume<'a>(machine: &'a Machine, filesystem: &str) -> Cluster<'a> {
    let volume = machine.volume();
    if filesystem != "xfs" {
        // As one that was mounted by somebody else before.
        let serial = volume.replace('-', "");
        let disk = format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}");
        machine.root(&format!("mkfs.{filesystem} -q {disk}")).await;
    }
    let mounted = machine
        .does(Login::Helper, MOUNT_VOLUME, &[&volume], "")
        .await;
    assert_eq!(mounted.last_words(), format!("it is mounted at {AT}"));
    let cluster = machine.cluster("on_a_volume").await;
    is_written_to(&cluster).await;
    cluster
}

/// What the write of a feel comes to there, if it comes to be tried.
async fn probe(cluster: &Cluster<'_>, machine: &Machine, login: Login) -> Option<String> {
    let feel = machine.does(login, FEEL_SERVER, &[PROBE], "").await;
    let mut lines = feel.text().lines();
    let line = lines.find(|line| line.contains(&format!("\t{}", cluster.data)))?;
    Some(line.split(' ').next()?.to_owned())
}

#[tokio::test]
async fn a_full_volume_is_felt_fenced_and_grown() {
    let machine = Machine::with_volume("400M").await;
    let cluster = on_a_volume(&machine, "xfs").await;
    for login in Login::MIGHTY {
        machine.make_volume("full");
        let felt = probe(&cluster, &machine, login).await;
        assert_eq!(felt.as_deref(), Some("no_space"), "{login:?}");
        // Once there is room, it could write again.
        let room = || machine.make_volume("well");
        let (ended, later) = is_fenced_and(&cluster, login, room).await;
        assert!(ended.is_ok() && !later, "{login:?}: {ended:?}");
        cluster
            .root("rm -f $D/standby.signal; pg_ctlcluster $V $N stop || :")
            .await;
        cluster.does(login, OPEN, &[]).await;
        cluster.does(login, START_CLUSTER, &[]).await;
        is_written_to(&cluster).await;
    }
    // It grows while it has no byte left, and the cluster on it goes on.
    machine.make_volume("full");
    machine.grow_volume("800M");
    let least = (700 << 20).to_string();
    let arguments = ["vol-1", "", AT, &*least];
    let grown = machine.does(Login::Helper, GROW_FILESYSTEM, &arguments, "");
    assert_eq!(grown.await.value("mount").unwrap(), AT);
    let felt = probe(&cluster, &machine, Login::Helper).await;
    assert_eq!(felt.as_deref(), Some("ok"));
    cluster
        .root("n=$(wc -l </tmp/accepted.$N); sleep 1; [ $(wc -l </tmp/accepted.$N) -gt $n ]")
        .await;
}

/// A cluster that runs, as drover makes one on a server of its own.
async fn made_on_its_volume<'m>(machine: &'m Machine, name: &str) -> Cluster<'m> {
    let volume = machine.volume();
    machine
        .does(Login::Helper, MOUNT_VOLUME, &[&volume], "")
        .await;
    let (address, version) = (machine.address(), machine.version().await);
    let cluster = machine.made(name, &version);
    let port = cluster.port.to_string();
    let arguments = [&*version, &*cluster.name, &port, address, "30", ""];
    machine
        .does(Login::Helper, MAKE_CLUSTER, &arguments, "")
        .await;
    cluster.does(Login::Helper, START_CLUSTER, &[]).await;
    cluster
}

#[tokio::test]
async fn no_query_fills_the_volume_with_temporary_files() {
    let machine = Machine::with_volume("400M").await;
    let cluster = made_on_its_volume(&machine, "d_temp").await;
    let roles = "\\set own drover\n\\set own_verifier x\n\\set role customer\n\
                 \\set role_verifier x\n\\set database app\n\\set most 5\n";
    cluster
        .ends(Login::Helper, MAKE_ROLES, &["app"], roles)
        .await;
    let as_customer = async |sql: &str| {
        let psql = format!(
            "runuser -u postgres -- psql -XAtq -p $P -d app -c 'set role customer' -c \"{sql}\" 2>&1 || :"
        );
        cluster.root(&psql).await
    };
    let said = as_customer(
        "select count(*) from (select generate_series(1, 9000000) g order by g desc) s",
    );
    let said = said.await;
    assert!(said.contains("temporary file size exceeds"), "{said}");
    for reset in [
        "set temp_file_limit = -1",
        "alter role customer set temp_file_limit = -1",
        "alter database app set temp_file_limit = -1",
    ] {
        let said = as_customer(reset).await;
        assert!(said.contains("permission denied"), "{reset}: {said}");
    }
}

/// The bytes of what is kept for when there is no room.
async fn reserve(cluster: &Cluster<'_>) -> u64 {
    let size = cluster.root("stat -c '%s %U' $D/../drover-reserve").await;
    let (size, owner) = size.split_once(' ').unwrap();
    assert_eq!(owner, "postgres");
    size.parse().unwrap()
}

#[tokio::test]
async fn writes_are_refused_on_a_full_volume_by_what_was_kept_for_that() {
    let machine = Machine::with_volume("400M").await;
    let cluster = made_on_its_volume(&machine, "d_kept").await;
    // A hundredth of a volume so small, less what its filesystem takes.
    let whole = reserve(&cluster).await;
    assert!((3 << 20..=4 << 20).contains(&whole), "{whole}");
    is_written_to(&cluster).await;

    let auto = "cat $D/postgresql.auto.conf";
    for login in Login::MIGHTY {
        machine.make_volume("full");
        cluster.does(login, SET_READ_ONLY, &[]).await;
        let set = cluster.root(auto).await;
        assert!(set.contains("default_transaction_read_only"), "{set}");
        assert!(reserve(&cluster).await < whole, "{login:?}");
        machine.make_volume("well");
        let reset = cluster.does(login, RESET_READ_ONLY, &[""]).await;
        assert_eq!(reset.last_words(), "can be written to", "{login:?}");
        assert_eq!(reserve(&cluster).await, whole, "{login:?}");
    }
    // Without it PostgreSQL cannot even be told.
    cluster.root("rm $D/../drover-reserve").await;
    machine.make_volume("full");
    let ended = cluster.run(Login::Helper, SET_READ_ONLY, &[], "").await;
    let full = |words: &str| words.contains("No space left on device");
    assert!(
        matches!(&ended, Err((Some(5), words)) if full(words)),
        "{ended:?}"
    );
    machine.make_volume("well");
    machine
        .does(Login::Helper, DROP_CLUSTER, &[&cluster.name], "")
        .await;
    machine
        .root("! ls /var/lib/postgresql/*/drover-reserve 2>/dev/null")
        .await;
}

#[tokio::test]
async fn a_volume_that_has_turned_read_only_is_felt_and_no_fence_there_is_proved() {
    let machine = Machine::with_volume("400M").await;
    let cluster = on_a_volume(&machine, "ext4").await;
    let before = cluster.root("head -n 1 $D/postmaster.pid").await;
    machine.make_volume("read-only");
    for login in Login::MIGHTY {
        let felt = probe(&cluster, &machine, login).await;
        assert_eq!(felt.as_deref(), Some("read_only"), "{login:?}");
        let ended = cluster.run(login, FENCE, &[], "").await;
        let Err((Some(1), words)) = &ended else {
            panic!("{login:?}: {ended:?}");
        };
        assert!(words.contains("it cannot be kept so"), "{login:?}: {words}");
        // That much is true.
        let is_gone = format!("! kill -0 {before} 2>/dev/null");
        machine.root(&is_gone).await;
    }
}

#[tokio::test]
async fn where_a_disk_is_gone_nothing_is_proved() {
    let machine = Machine::with_volume("400M").await;
    let cluster = on_a_volume(&machine, "xfs").await;
    machine.root(&format!("xfs_io -x -c shutdown {AT}")).await;
    for login in Login::MIGHTY {
        let felt = probe(&cluster, &machine, login).await;
        assert_ne!(felt.as_deref(), Some("ok"), "{login:?}");
        let ended = cluster.run(login, FENCE, &[], "").await;
        assert!(is_not_proved(&ended), "{login:?}: {ended:?}");
    }
}
