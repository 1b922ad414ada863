//! Machines that are processes of one user. Also run by whoever is not root.

use std::process::Stdio;
use std::time::{Duration, Instant};

use drover_machines::client::ClientError;
use drover_machines::network::{End, Fault};
use drover_machines::protocol::{
    Exec, Health, Kind, Machine, Make, NewVolume, Power, Problem, ProblemKind,
};

use super::harness::{BOOT, Daemon, MIB, connect, host, new_key};
use super::login::user_data;

const SOON: Duration = Duration::from_secs(10);

/// As drover makes one on EC2, and the public half of its host key.
async fn made(daemon: &Daemon, name: &str) -> (Machine, String) {
    let key = daemon.folder().join(format!("host_key_{name}"));
    let public = new_key(&key);
    let private = std::fs::read_to_string(&key).unwrap();
    let login = daemon.client.about().await.unwrap().login.unwrap();
    let make = Make {
        name: Some(name.into()),
        instance_id: Some(format!("i-{name}")),
        group: "g".into(),
        zone: Some("local-b".into()),
        user_data: Some(user_data(&login, &private, &public, daemon.public_key())),
        ..Make::default()
    };
    (daemon.client.make(make).await.unwrap(), public)
}

/// What a script prints over SSH, if it can be reached.
async fn over_ssh(daemon: &Daemon, machine: &Machine, key: &str, script: &str) -> Option<String> {
    let login = daemon.client.about().await.unwrap().login.unwrap();
    let to = format!("{login}@{}", machine.address);
    let output = daemon.ssh(&to, 2222, Some(key), script);
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(said)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemKind {
    match result {
        Err(ClientError::Refused(Problem { kind, .. })) => kind,
        other => panic!("{other:?}"),
    }
}

/// Waits until it is on again, and gives its boot.
async fn next_boot(daemon: &Daemon, name: &str, before: &str) -> String {
    let begun = Instant::now();
    loop {
        let seen = daemon.client.show(name).await.unwrap();
        match seen.boot {
            Some(boot) if boot != before => return boot,
            _ => assert!(begun.elapsed() < BOOT, "{seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A cluster, made and started as drover does.
async fn cluster(daemon: &Daemon, machine: &str) {
    daemon
        .sh(
            machine,
            "v=$(ls /usr/lib/postgresql | sort -n | tail -n 1)
             pg_createcluster -p 5501 $v app -- --username=postgres >/dev/null
             echo \"create role \\\"$(id -un)\\\" login\" |
               /usr/lib/postgresql/$v/bin/postgres --single -D $(pg_lsclusters -h | cut -d' ' -f6) \
                 -c config_file=$PG_CLUSTER_CONF_ROOT/$v/app/postgresql.conf postgres >/dev/null
             pg_ctlcluster $v app start",
        )
        .await;
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

const STATUS: &str = "pg_lsclusters -h | awk '{ print $4 }'";

async fn is_online(daemon: &Daemon, machine: &str) {
    let begun = Instant::now();
    while daemon.sh(machine, STATUS).await != "online" {
        assert!(
            begun.elapsed() < BOOT,
            "{}",
            daemon.client.console(machine).await.unwrap()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_give_login_port_and_host_key() {
    let daemon = Daemon::of_processes().await;
    let about = daemon.client.about().await.unwrap();
    assert_eq!((about.kind, about.ssh_port), (Kind::Processes, 2222));
    let ((a, key), (b, other)) = tokio::join!(made(&daemon, "a"), made(&daemon, "b"));
    assert_ne!(a.address, b.address);
    assert_eq!((a.zone.as_str(), a.group.as_str()), ("local-b", "g"));
    let say = "cat /proc/sys/kernel/random/boot_id; sudo -n -u postgres id -un; cloud-init status";
    let said = over_ssh(&daemon, &a, &key, say).await.unwrap();
    let boot = daemon.client.show("a").await.unwrap().boot.unwrap();
    let login = about.login.unwrap();
    assert_eq!(said, format!("{boot}\n{login}\nstatus: done"));
    assert_ne!(b.boot.unwrap(), boot);
    // With no other key.
    assert_eq!(over_ssh(&daemon, &a, &other, "true").await, None);
    // Exec is in the same machine.
    let seen = "pg_lsclusters -h | wc -l; cat /proc/sys/kernel/random/boot_id; echo $HOME";
    assert_eq!(
        daemon.sh("a", seen).await,
        over_ssh(&daemon, &a, &key, seen).await.unwrap()
    );
    let late = Exec {
        machine: "a".into(),
        command: ["sleep", "60"].map(str::to_owned).into(),
        input: String::new(),
        limit: 1,
    };
    assert_eq!(daemon.client.exec(late).await.unwrap().status, Some(124));

    // What cannot be.
    let again = Make {
        name: Some("a".into()),
        ..Make::default()
    };
    assert_eq!(
        refusal(daemon.client.make(again).await),
        ProblemKind::Conflict
    );
    let stranger = Make {
        user_data: Some(user_data("nobody-here", "", "", "")),
        ..Make::default()
    };
    assert_eq!(
        refusal(daemon.client.make(stranger).await),
        ProblemKind::Invalid
    );
    assert_eq!(
        refusal(daemon.client.clock("a", 60).await),
        ProblemKind::Conflict
    );
    assert_eq!(daemon.client.list(None).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn power_is_real_and_clusters_start_with_it() {
    let daemon = Daemon::of_processes().await;
    let (a, key) = made(&daemon, "a").await;
    cluster(&daemon, "a").await;
    is_online(&daemon, "a").await;
    let first = a.boot.clone().unwrap();
    // What a session leaves behind runs on that machine too.
    over_ssh(&daemon, &a, &key, "nohup sleep 1000 >/dev/null 2>&1 &")
        .await
        .unwrap();

    let begun = Instant::now();
    daemon
        .client
        .stop("a", Duration::from_secs(2))
        .await
        .unwrap();
    let seen = daemon.client.show("a").await.unwrap();
    assert_eq!(seen.power, Power::Stopping);
    assert_eq!(
        refusal(daemon.client.start("a").await),
        ProblemKind::Conflict
    );
    let off = daemon.client.wait_for("a", Power::Off, BOOT).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!((off.boot, off.pid), (None, None));
    assert!(connect(a.address, 2222).await.unwrap().is_err());
    let log = "cat ../disk/log/app.log";
    assert_eq!(
        refusal(daemon.client.sh("a", log, SOON).await),
        ProblemKind::Conflict
    );

    daemon.client.start("a").await.unwrap();
    let second = next_boot(&daemon, "a", &first).await;
    is_online(&daemon, "a").await;
    assert!(
        daemon
            .sh("a", log)
            .await
            .contains("database system is shut down")
    );

    // Cut, it leaves a lock file; its clusters start all the same.
    daemon.client.kill("a").await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
    daemon.client.start("a").await.unwrap();
    is_online(&daemon, "a").await;
    assert!(
        daemon
            .sh("a", log)
            .await
            .contains("was not properly shut down")
    );
    next_boot(&daemon, "a", &second).await;
    // What is not to start by itself does not.
    daemon
        .sh(
            "a",
            "sed -i s/^auto/manual/ $PG_CLUSTER_CONF_ROOT/*/app/start.conf",
        )
        .await;
    daemon.client.kill("a").await.unwrap();
    daemon.client.start("a").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(daemon.sh("a", STATUS).await, "down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_happens_once_for_each_token() {
    let mut daemon = Daemon::of_processes().await;
    let (a, _) = made(&daemon, "a").await;
    cluster(&daemon, "a").await;
    let first = a.boot.unwrap();
    daemon.client.reboot("a", Some("one")).await.unwrap();
    // Killed in between, the next one goes on.
    daemon.restart().await;
    let second = next_boot(&daemon, "a", &first).await;
    is_online(&daemon, "a").await;
    assert!(
        daemon
            .sh("a", "cat ../disk/log/app.log")
            .await
            .contains("is shut down")
    );
    daemon.client.reboot("a", Some("one")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        daemon.client.show("a").await.unwrap().boot,
        Some(second.clone())
    );
    // One that is frozen hears nothing, and reboots.
    daemon.client.freeze("a").await.unwrap();
    daemon.client.reboot("a", Some("two")).await.unwrap();
    let third = next_boot(&daemon, "a", &second).await;
    daemon.client.reboot("a", None).await.unwrap();
    next_boot(&daemon, "a", &third).await;
    daemon.client.stop("a", Duration::ZERO).await.unwrap();
    daemon.client.wait_for("a", Power::Off, BOOT).await.unwrap();
    daemon.client.reboot("a", Some("two")).await.unwrap();
    assert_eq!(
        refusal(daemon.client.reboot("a", Some("three")).await),
        ProblemKind::Conflict
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_machine_takes_connections_and_says_nothing() {
    let daemon = Daemon::of_processes().await;
    let (a, key) = made(&daemon, "a").await;
    cluster(&daemon, "a").await;
    // Who is busy takes a signal later.
    let busy = "for i in 1 2 3 4 5 6 7 8; do \
                (timeout 60 sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null &); done";
    daemon.sh("a", busy).await;
    for _ in 0..20 {
        daemon.client.freeze("a").await.unwrap();
        assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Frozen);
        daemon.client.thaw("a").await.unwrap();
        assert_eq!(daemon.client.show("a").await.unwrap().power, Power::On);
    }
    daemon.client.freeze("a").await.unwrap();
    let mut stream = tokio::net::TcpStream::connect((a.address, 2222))
        .await
        .unwrap();
    let mut byte = [0];
    let word = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
    assert!(
        tokio::time::timeout(Duration::from_secs(2), word)
            .await
            .is_err()
    );
    assert_eq!(
        refusal(daemon.client.sh("a", "true", SOON).await),
        ProblemKind::Conflict
    );
    daemon.client.thaw("a").await.unwrap();
    assert_eq!(over_ssh(&daemon, &a, &key, STATUS).await.unwrap(), "online");
    daemon.client.freeze("a").await.unwrap();
    daemon.client.kill("a").await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_can_be_cut_off_from_all() {
    let mut daemon = Daemon::of_processes().await;
    let (a, key) = made(&daemon, "a").await;
    let (b, _) = made(&daemon, "b").await;
    let cut = || Fault::cut(End::Machine("a".into()), End::All);
    let broken = daemon.client.break_network(cut()).await;
    if broken.is_err() && !is_root() {
        // Neither root nor sudo: it is refused, and not said to be so.
        assert_eq!(daemon.client.show("a").await.unwrap().faults, []);
        assert!(over_ssh(&daemon, &a, &key, "true").await.is_some());
        return;
    }
    broken.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().faults, [cut()]);
    // No "refused": nothing; and it outlives daemon and reboot.
    assert!(connect(a.address, 2222).await.is_none());
    assert!(connect(b.address, 2222).await.unwrap().is_ok());
    daemon.restart().await;
    daemon.client.reboot("a", None).await.unwrap();
    next_boot(&daemon, "a", &a.boot.clone().unwrap()).await;
    assert!(connect(a.address, 2222).await.is_none());
    daemon
        .client
        .heal(End::Machine("a".into()), End::All)
        .await
        .unwrap();
    assert!(over_ssh(&daemon, &a, &key, "true").await.is_some());
    let one_way = daemon.client.break_network(cut().one_way());
    assert_eq!(refusal(one_way.await), ProblemKind::Conflict);
    let between = Fault::cut(End::Machine("a".into()), End::Machine("b".into()));
    assert_eq!(
        refusal(daemon.client.break_network(between).await),
        ProblemKind::Conflict
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_full_read_only_grown_and_moved() {
    let daemon = Daemon::of_processes().await;
    if !daemon.client.about().await.unwrap().volumes {
        let new = NewVolume {
            size: 64 * MIB,
            ..NewVolume::default()
        };
        assert_eq!(
            refusal(daemon.client.make_volume(new).await),
            ProblemKind::Conflict
        );
        daemon
            .client
            .make(daemon.with_volume("a", 64))
            .await
            .unwrap();
        let console = daemon.client.console("a").await.unwrap();
        assert!(console.contains("it has no volume"), "{console}");
        return;
    }
    let client = &daemon.client;
    let a = client.make(daemon.with_volume("a", 256)).await.unwrap();
    let id = &a.volumes[0];
    cluster(&daemon, "a").await;
    let size = "df -B1 --output=source,size $(findmnt -nro TARGET --target /var/lib/postgresql) |
        tail -n 1 | tr -s ' '";
    assert_eq!(daemon.sh("a", size).await, format!("{id} {}", 256 * MIB));
    client.grow(id, 300 * MIB).await.unwrap();
    assert_eq!(daemon.sh("a", size).await, format!("{id} {}", 300 * MIB));

    let write = "echo x >../disk/x";
    client.set_volume(id, Health::Full).await.unwrap();
    assert!(!daemon.can("a", write).await);
    client.set_volume(id, Health::Well).await.unwrap();
    assert!(daemon.can("a", write).await);
    let hanging = client.set_volume(id, Health::Hanging).await;
    assert_eq!(refusal(hanging), ProblemKind::Conflict);

    // Its clusters die of it, and a boot makes it well.
    client.set_volume(id, Health::ReadOnly).await.unwrap();
    assert!(!daemon.can("a", write).await);
    assert_eq!(daemon.sh("a", STATUS).await, "down");
    client.reboot("a", None).await.unwrap();
    next_boot(&daemon, "a", &a.boot.clone().unwrap()).await;
    is_online(&daemon, "a").await;
    assert_eq!(client.volumes(None).await.unwrap()[0].health, Health::Well);

    // In use, it stays; by force, it goes, and is another machine's with all that is on it.
    assert_eq!(refusal(client.detach(id).await), ProblemKind::Conflict);
    client.detach_by_force(id).await.unwrap();
    assert!(!daemon.can("a", "test -e ../disk/x").await);
    client.make(daemon.plain("b")).await.unwrap();
    client.attach(id, "b").await.unwrap();
    assert_eq!(daemon.sh("b", "cat ../disk/x").await, "x");
    assert_eq!(
        refusal(client.destroy_volume(id).await),
        ProblemKind::Conflict
    );
    client.destroy("b").await.unwrap();
    client.attach(id, "a").await.unwrap();
    client.start("a").await.unwrap();
    assert_eq!(daemon.sh("a", "cat ../disk/x").await, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_outlive_a_killed_daemon_and_destroyed_leave_nothing() {
    let mut daemon = Daemon::of_processes().await;
    let a = daemon
        .client
        .make(daemon.with_volume("a", 64))
        .await
        .unwrap();
    cluster(&daemon, "a").await;
    daemon
        .client
        .make(Make {
            off: true,
            ..daemon.plain("b")
        })
        .await
        .unwrap();
    let cut = Fault::cut(End::Machine("b".into()), End::All);
    let broken = daemon.client.break_network(cut).await;
    assert!(broken.is_ok() || !is_root(), "{broken:?}");
    daemon.restart().await;
    let seen = daemon.client.show("a").await.unwrap();
    assert_eq!((seen.power, &seen.boot), (Power::On, &a.boot));
    is_online(&daemon, "a").await;
    assert_eq!(daemon.client.show("b").await.unwrap().power, Power::Off);
    // The kinds do not share a folder.
    daemon.kill();
    let other = daemon
        .command("serve")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!other.status.success(), "{other:?}");

    let left = daemon.command("destroy --all").output().unwrap();
    assert!(left.status.success(), "{left:?}");
    let folder = daemon.folder().display().to_string();
    let there = |part: &str| {
        std::fs::read_dir(daemon.folder().join(part))
            .unwrap()
            .count()
    };
    assert_eq!((there("processes"), there("disks")), (0, 0));
    assert!(
        !std::fs::read_to_string("/proc/mounts")
            .unwrap()
            .contains(&folder)
    );
    let left = host("ps -eo args")
        .lines()
        .any(|line| line.contains(&format!("{folder}/processes")));
    assert!(!left);
    let note = format!("/tmp/drover-machines-addresses/{}", a.address);
    assert!(std::fs::symlink_metadata(note).is_err());
    if is_root() {
        assert!(!host("nft list ruleset").contains(&a.address.to_string()));
    }
}
