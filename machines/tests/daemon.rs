//! The daemon may die at any moment, and what it made goes away whole.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use drover_machines::client::ClientError;
use drover_machines::network::{End, Fault};
use drover_machines::protocol::{Make, Power, ProblemKind};

use super::harness::{Daemon, connect, host};

/// Everything on this host that is a daemon's: it bears its folder or its bridge's name.
fn left_of(daemon: &Daemon, bridge: &str) -> Vec<String> {
    let folder = daemon.folder().display().to_string();
    let ours = |line: &str| {
        let mut words = line.split(|char: char| !char.is_ascii_alphanumeric() && char != '-');
        line.contains(&folder)
            || words.any(|word| word == bridge || word.starts_with(&format!("{bridge}-")))
    };
    let mut left = Vec::new();
    let mut look = |kind: &str, text: String| {
        let lines = text.lines().filter(|line| ours(line));
        left.extend(lines.map(|line| format!("{kind}: {line}")));
    };
    look("mount", fs::read_to_string("/proc/self/mounts").unwrap());
    look("loop device", host("losetup --list"));
    look("link", host("ip -o link"));
    look("route", host("ip route show table all"));
    look("namespace", host("ip netns list"));
    // `drover-machines-7` is that of bridge `dm7`.
    look(
        "table",
        host("nft list tables").replace("drover-machines-", "dm"),
    );
    look(
        "cgroup",
        host("find /sys/fs/cgroup -maxdepth 4 -type d").replace("drover-machines-", ""),
    );
    look(
        "process",
        host("ps -eo args")
            .lines()
            .filter(|line| !line.contains(" serve"))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    look(
        "nspawn",
        host("find /run/systemd/nspawn /run/netns -mindepth 1"),
    );
    // What it gave back, another daemon may have taken since.
    if others(daemon).contains(&bridge.to_owned()) {
        left.retain(|line| line.contains(&folder));
    }
    left
}

/// The bridges of the daemons that live beside it.
fn others(daemon: &Daemon) -> Vec<String> {
    let beside = fs::read_dir(daemon.folder().parent().unwrap()).unwrap();
    let beside = beside.map(|entry| entry.unwrap().path());
    let beside = beside.filter(|folder| folder != daemon.folder());
    beside.filter_map(|folder| bridge_in(&folder)).collect()
}

async fn bridge_of(daemon: &Daemon) -> String {
    bridge_in(daemon.folder()).unwrap()
}

/// `None`: there is none in this folder.
fn bridge_in(folder: &Path) -> Option<String> {
    let record = fs::read_to_string(folder.join("network.json")).ok()?;
    let record: serde_json::Value = serde_json::from_str(&record).ok()?;
    Some(format!("dm{}", record["index"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_outlive_a_daemon_that_is_killed() {
    let mut daemon = Daemon::start().await;
    let a = daemon.up(daemon.with_volume("a", 64)).await;
    daemon.up(daemon.plain("b")).await;
    let boot = daemon.boot_id("a").await;
    daemon
        .client
        .break_network(Fault::cut(End::Host, End::Machine("b".into())))
        .await
        .unwrap();
    let all = daemon.client.list(None).await.unwrap();

    daemon.kill();
    assert!(matches!(
        daemon.client.list(None).await,
        Err(ClientError::NoDaemon(..))
    ));
    assert!(
        connect(a.address, 22).await.unwrap().is_ok(),
        "it goes on without a daemon"
    );
    daemon.restart().await;
    assert_eq!(daemon.client.list(None).await.unwrap(), all);
    assert_eq!(daemon.boot_id("a").await, boot);
    let token = "curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
        http://169.254.169.254/latest/api/token";
    assert_eq!(daemon.sh("a", token).await.len(), 32);

    // One that dies while a machine shuts down sees to it after its restart.
    daemon
        .client
        .stop("a", Duration::from_secs(3))
        .await
        .unwrap();
    daemon.restart().await;
    assert_ne!(daemon.client.show("a").await.unwrap().power, Power::On);
    daemon
        .client
        .wait_for("a", Power::Off, Duration::from_secs(60))
        .await
        .unwrap();
    daemon.client.start("a").await.unwrap();
    daemon.booted("a").await;

    // A machine that reboots needs no daemon for it.
    let boot = daemon.boot_id("b").await;
    daemon
        .sh("b", "systemd-run --on-active=1 systemctl reboot")
        .await;
    daemon.kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    daemon.restart().await;
    daemon.booted("b").await;
    assert_ne!(daemon.boot_id("b").await, boot);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left() {
    let mut daemon = Daemon::start().await;
    let address = Some("198.51.100.9".parse().unwrap());
    daemon
        .up(Make {
            address,
            ..daemon.with_volume("a", 64)
        })
        .await;
    daemon.up(daemon.with_volume("b", 64)).await;
    let cut = Fault::cut(End::Host, End::Machine("a".into()));
    daemon.client.break_network(cut).await.unwrap();
    let bridge = bridge_of(&daemon).await;
    let there = left_of(&daemon, &bridge);
    for kind in [
        "mount",
        "loop device",
        "link",
        "route",
        "namespace",
        "table",
        "cgroup",
        "process",
    ] {
        assert!(
            there.iter().any(|line| line.starts_with(kind)),
            "no {kind}: {there:#?}"
        );
    }
    daemon.client.freeze("b").await.unwrap();
    daemon.client.destroy_all().await.unwrap();
    assert_eq!(left_of(&daemon, &bridge), [""; 0]);

    // Nor after a daemon that was killed; without one, the command does it.
    daemon.up(daemon.with_volume("a", 64)).await;
    let bridge = bridge_of(&daemon).await;
    daemon.kill();
    assert!(daemon.command("destroy --all").status().unwrap().success());
    assert_eq!(left_of(&daemon, &bridge), [""; 0]);
    // Nor after one that was killed while it made a machine.
    daemon.restart().await;
    for after in [20, 60, 120, 240] {
        let mut make = daemon.command("make half --volume 64M");
        let mut make = make
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        daemon.kill();
        let _ = make.wait();
        daemon.restart().await;
        let bridge = match fs::exists(daemon.folder().join("network.json")).unwrap() {
            true => bridge_of(&daemon).await,
            false => continue,
        };
        daemon.client.destroy_all().await.unwrap();
        assert_eq!(
            left_of(&daemon, &bridge),
            [""; 0],
            "killed after {after} ms"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_and_groups_live_side_by_side() {
    let one = Daemon::start().await;
    let other = Daemon::start().await;
    let off = |daemon: &Daemon, name: &str, group: &str| Make {
        group: group.into(),
        off: true,
        ..daemon.with_volume(name, 16)
    };
    let here = one.client.make(off(&one, "a", "g")).await.unwrap();
    let there = other.client.make(off(&other, "a", "g")).await.unwrap();
    assert_ne!(here.address, there.address);
    one.client.make(off(&one, "b", "h")).await.unwrap();
    one.client.destroy_group("g").await.unwrap();
    let left = one.client.list(None).await.unwrap();
    assert_eq!(
        left.iter()
            .map(|machine| machine.name.as_str())
            .collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(one.client.volumes(None).await.unwrap().len(), 1);
    assert_eq!(other.client.list(Some("g")).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_leaves_nothing() {
    let daemon = Daemon::start().await;
    let kind = |result: Result<_, ClientError>| match result {
        Err(ClientError::Refused(problem)) => problem.kind,
        other => panic!("{other:?}"),
    };
    let off = |name: &str| Make {
        off: true,
        ..daemon.plain(name)
    };
    assert_eq!(
        kind(daemon.client.make(off("../etc")).await),
        ProblemKind::Invalid
    );
    let tiny = Make {
        off: true,
        ..daemon.with_volume("a", 1)
    };
    assert_eq!(kind(daemon.client.make(tiny).await), ProblemKind::Invalid);
    let hosts_own = Make {
        address: Some("127.0.0.1".parse().unwrap()),
        ..off("a")
    };
    assert_eq!(
        kind(daemon.client.make(hosts_own).await),
        ProblemKind::Conflict
    );
    assert_eq!(daemon.client.list(None).await.unwrap(), []);
    daemon.client.make(off("a")).await.unwrap();
    assert_eq!(
        kind(daemon.client.make(off("a")).await),
        ProblemKind::Conflict
    );
    assert!(daemon.client.show("b").await.unwrap_err().is_not_found());

    // The folder is one daemon's, and the socket root's alone.
    let second = daemon.command("serve").output().unwrap();
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another daemon has"),
        "{second:?}"
    );
    let socket = fs::metadata(daemon.folder().join("socket")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&socket.permissions()) & 0o777,
        0o600
    );
}
