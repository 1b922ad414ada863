//! On, off, frozen.

use std::time::{Duration, Instant};

use drover_machines::client::ClientError;
use drover_machines::protocol::{Kind, Power};

use super::harness::{BOOT, Daemon, connect};

#[tokio::test(flavor = "multi_thread")]
async fn off_is_silent_and_on_again_is_another_boot() {
    let daemon = Daemon::start().await;
    let machine = daemon.up(daemon.plain("a")).await;
    let first = daemon.boot_id("a").await;
    daemon.sh("a", "echo kept >/root/file").await;

    // A cloud says "stopping" for as long as it likes.
    let begun = Instant::now();
    daemon
        .client
        .stop("a", Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(
        daemon.client.show("a").await.unwrap().power,
        Power::Stopping
    );
    assert!(is_refused(daemon.client.start("a").await), "it stops");
    daemon.client.wait_for("a", Power::Off, BOOT).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(5));
    let console = daemon.client.console("a").await.unwrap();
    assert!(console.contains("System Shutdown"), "{console}");
    // No "refused", no "no route": nothing.
    assert!(connect(machine.address, 22).await.is_none());
    assert!(is_refused(daemon.client.freeze("a").await), "it is off");

    daemon.client.start("a").await.unwrap();
    daemon.booted("a").await;
    assert_ne!(daemon.boot_id("a").await, first);
    assert_eq!(daemon.sh("a", "cat /root/file").await, "kept");
    assert!(connect(machine.address, 22).await.unwrap().is_ok());

    // It may turn itself off, too.
    daemon.sh("a", "systemctl poweroff --no-block").await;
    daemon.client.wait_for("a", Power::Off, BOOT).await.unwrap();
    assert!(connect(machine.address, 22).await.is_none());
}

fn is_refused(result: Result<(), ClientError>) -> bool {
    matches!(result, Err(ClientError::Refused(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_asks_nobody() {
    let daemon = Daemon::start().await;
    let machine = daemon.up(daemon.plain("a")).await;
    let begun = Instant::now();
    daemon.client.kill("a").await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
    assert!(connect(machine.address, 22).await.is_none());
    let console = daemon.client.console("a").await.unwrap();
    assert!(!console.contains("System Shutdown"), "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_happens_once_for_each_token() {
    let mut daemon = Daemon::start().await;
    let about = daemon.client.about().await.unwrap();
    assert_eq!((about.kind, about.login), (Kind::Machines, None));
    let first = daemon.up(daemon.plain("a")).await.boot.unwrap();
    daemon.client.reboot("a", Some("one")).await.unwrap();
    let second = next_boot(&daemon, &first).await;
    daemon.client.reboot("a", Some("one")).await.unwrap();
    daemon.restart().await;
    daemon.client.reboot("a", Some("one")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = daemon.client.show("a").await.unwrap();
    assert_eq!(seen.boot.as_ref(), Some(&second));
    // One that is frozen hears nothing, and reboots.
    daemon.client.freeze("a").await.unwrap();
    daemon.client.reboot("a", Some("two")).await.unwrap();
    assert_ne!(next_boot(&daemon, &second).await, first);
    daemon.client.kill("a").await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().boot, None);
    daemon.client.reboot("a", Some("two")).await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
    assert!(is_refused(daemon.client.reboot("a", Some("three")).await));
}

/// By itself, and again while it boots: at any moment of that.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_reboots_again_and_again_comes_up() {
    let daemon = Daemon::start().await;
    let first = daemon.up(daemon.plain("a")).await.boot.unwrap();
    for n in 0..40 {
        let reboot = "systemctl reboot --force --force";
        // It may be between two boots.
        let _ = daemon.client.sh("a", reboot, Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(n * 77 % 400)).await;
    }
    assert_ne!(next_boot(&daemon, &first).await, first);
    daemon.booted("a").await;
}

/// Its init is there before it takes signals.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_just_come_on_hears_what_it_is_told() {
    let daemon = Daemon::start().await;
    let made = daemon.client.make(daemon.plain("a")).await.unwrap();
    let mut boot = made.boot.unwrap();
    for n in 0..5 {
        let token = n.to_string();
        daemon.client.reboot("a", Some(&token)).await.unwrap();
        boot = next_boot(&daemon, &boot).await;
    }
    let begun = Instant::now();
    daemon.client.stop("a", Duration::ZERO).await.unwrap();
    daemon.client.wait_for("a", Power::Off, BOOT).await.unwrap();
    assert!(begun.elapsed() < BOOT, "its power was cut");
}

async fn next_boot(daemon: &Daemon, before: &str) -> String {
    let begun = Instant::now();
    loop {
        let seen = daemon.client.show("a").await.unwrap();
        match seen.boot {
            Some(boot) if boot != before => return boot,
            _ => assert!(begun.elapsed() < BOOT, "{seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_machine_takes_connections_and_says_nothing() {
    let daemon = Daemon::start().await;
    let machine = daemon.up(daemon.plain("a")).await;
    let tick =
        "nohup sh -c 'while :; do date +%s.%N >/root/tick; sleep 0.1; done' >/dev/null 2>&1 &
         until [ -s /root/tick ]; do sleep 0.1; done";
    daemon.sh("a", tick).await;
    daemon.client.freeze("a").await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Frozen);
    // Its kernel, which is this one, still shakes hands; sshd says no word.
    let mut stream = tokio::net::TcpStream::connect((machine.address, 22))
        .await
        .unwrap();
    let mut byte = [0];
    let word = tokio::time::timeout(
        Duration::from_secs(2),
        tokio::io::AsyncReadExt::read(&mut stream, &mut byte),
    );
    assert!(word.await.is_err());
    daemon.client.thaw("a").await.unwrap();
    let first = daemon.sh("a", "cat /root/tick").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(
        daemon.sh("a", "cat /root/tick").await,
        first,
        "its processes go on"
    );
    // Frozen or not, its power can be cut.
    daemon.client.freeze("a").await.unwrap();
    daemon.client.kill("a").await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
}
