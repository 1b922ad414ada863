//! What remedies ask of a cloud, on real machines.

mod daemon;
mod world;

use std::time::Duration;

use drover::model;
use drover_jobs::cloud::local::{Cure, LocalServer, MIB};
use drover_jobs::cloud::{
    AnyCloud, Cloud as _, CloudAction, CloudError, Clouds, InstanceState, Unsupported,
};
use drover_jobs::ssh::{self, Limits};
use world::Cloud;

/// As a resolver gets at it.
fn any(clouds: &Clouds) -> AnyCloud<'_> {
    clouds.of(model::Cloud::Local, None).unwrap()
}

fn clouds(cloud: &Cloud) -> Clouds {
    Clouds::local_only(cloud.local.clone())
}

async fn boot(cloud: AnyCloud<'_>) -> Option<String> {
    cloud.describe("pg-1").await.unwrap().boot
}

/// Until it is off, or on and booted.
async fn until(cloud: AnyCloud<'_>, server: &LocalServer, wanted: InstanceState) {
    for _ in 0..600 {
        if cloud.describe("pg-1").await.unwrap().state == wanted {
            if wanted == InstanceState::Running {
                server.answers().await.unwrap();
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it is not {wanted:?}");
}

/// Asks for a reboot, and waits until another boot has come about.
async fn rebooted(cloud: AnyCloud<'_>, server: &LocalServer, token: &str) {
    let before = boot(cloud).await;
    cloud.reboot("pg-1", token).await.unwrap();
    for _ in 0..600 {
        let now = boot(cloud).await;
        if now.is_some() && now != before {
            return server.answers().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it does not boot");
}

#[tokio::test]
async fn a_reboot_brings_back_what_was_killed_once_for_each_token() {
    let world = Cloud::new().await;
    let mut server = world.server("pg-1").await;
    let (one, two) = (
        server.create("pg-1-db-1").await.unwrap(),
        server.create("pg-1-db-2").await.unwrap(),
    );
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    cloud.can("pg-1", CloudAction::Reboot).unwrap();
    server.kill(&one).await.unwrap();
    rebooted(cloud, &server, "first").await;
    assert!(server.runs(&one).await.unwrap() && server.runs(&two).await.unwrap());
    let after = boot(cloud).await;

    server.kill(&one).await.unwrap();
    cloud.reboot("pg-1", "first").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(boot(cloud).await, after, "the same token again");
    assert!(!server.runs(&one).await.unwrap(), "the same token again");

    // One that is off is turned on, and once only, too.
    server.unplug().await.unwrap();
    rebooted(cloud, &server, "second").await;
    let after = boot(cloud).await;
    cloud.reboot("pg-1", "second").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(boot(cloud).await, after, "the same token again");
    assert!(server.runs(&one).await.unwrap() && server.runs(&two).await.unwrap());

    // What is not set to start by itself stays down, here as anywhere.
    let manual = "echo manual >/etc/postgresql/$1/pg_1_db_2/start.conf";
    server.does(manual, &[&two.version], "").await.unwrap();
    rebooted(cloud, &server, "third").await;
    assert!(server.runs(&one).await.unwrap() && !server.runs(&two).await.unwrap());
}

#[tokio::test]
async fn a_server_is_stopped_and_started_and_one_that_is_gone_says_so() {
    let world = Cloud::new().await;
    let mut server = world.server("pg-1").await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    let before = boot(cloud).await;

    for _ in 0..2 {
        cloud.stop("pg-1").await.unwrap();
        until(cloud, &server, InstanceState::Stopped).await;
        assert_eq!(boot(cloud).await, None);
    }
    assert!(!server.runs(&one).await.unwrap());
    for _ in 0..2 {
        cloud.start("pg-1").await.unwrap();
        until(cloud, &server, InstanceState::Running).await;
    }
    assert!(server.runs(&one).await.unwrap());
    assert_ne!(boot(cloud).await, before);
    let log = server.does("cat /var/log/postgresql/*", &[], "").await;
    let log = log.unwrap();
    assert!(log.contains("fast shutdown") && log.contains("database system is shut down"));

    assert!(cloud.volumes("pg-1").await.unwrap().is_empty());
    for action in [CloudAction::GrowVolume, CloudAction::ReattachVolume] {
        let Unsupported(why) = cloud.can("pg-1", action).unwrap_err();
        assert_eq!(why, "this local server has no volume of its own");
    }
    let grown = cloud.grow_volume("pg-1", "none", 1).await;
    let why = grown.unwrap_err();
    assert!(matches!(why, CloudError::Unsupported(Unsupported(why)) if why.contains("no volume")),);

    server.destroy().await.unwrap();
    let gone = cloud.reboot("pg-1", "t").await.unwrap_err();
    assert_eq!(gone.to_string(), "local instance pg-1 is gone");
    let away = cloud.start("../pg-1").await.unwrap_err();
    assert!(matches!(away, CloudError::Failed(_)), "{away:?}");
}

/// Runs a command there as drover; gives whether it succeeded, and its output.
async fn sh(server: &LocalServer, command: &str) -> (bool, String) {
    let output = ssh::run(&server.target().await.unwrap(), command, Limits::default())
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (output.status == Some(0), text)
}

const TOUCH: &str = "sudo -n -u postgres touch /var/lib/postgresql/new";

#[tokio::test]
async fn a_volume_runs_full_grows_and_goes_with_its_server() {
    let world = Cloud::new().await;
    let mut server = world.server_with_volume("pg-1", Some(320)).await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    cloud.can("pg-1", CloudAction::GrowVolume).unwrap();
    let volume = async || cloud.volumes("pg-1").await.unwrap().remove(0);
    let before = volume().await;
    assert_eq!(before.size_bytes, 320 * MIB);

    // As it is felt: the cluster's data is on it, under the cloud's name for it.
    let data = "df --output=target,source /var/lib/postgresql/*/pg_1_db_1 2>/dev/null ||
        df --output=target,source /var/lib/postgresql | tail -1";
    let felt = sh(&server, data).await.1;
    let felt: Vec<&str> = felt.split_whitespace().collect();
    let device = before.device.as_deref().unwrap();
    assert!(felt.ends_with(&["/var/lib/postgresql", device]), "{felt:?}");

    server.fill_volume(2).await.unwrap();
    let write = "sudo -n -u postgres sh -c 'head -c 20000000 /dev/zero >/var/lib/postgresql/new'";
    let (written, why) = sh(&server, write).await;
    assert!(!written && why.contains("No space left"), "{why}");
    let too_much = server.fill_volume(1000).await.unwrap_err().to_string();
    assert!(too_much.contains("no more than that"), "{too_much}");
    server.fill_volume(2).await.unwrap();

    for _ in 0..2 {
        let to = 400 * MIB;
        cloud.grow_volume("pg-1", &before.id, to).await.unwrap();
        assert_eq!(volume().await.size_bytes, to);
    }
    cloud.grow_volume("pg-1", &before.id, MIB).await.unwrap();
    assert_eq!(volume().await.size_bytes, 400 * MIB, "never smaller");
    let other = cloud.grow_volume("pg-1", "vol-other", MIB).await;
    assert!(matches!(other, Err(CloudError::Failed(_))), "{other:?}");
    // The filesystem takes its room while the cluster runs.
    let grow = "xfs_growfs /var/lib/postgresql";
    server.does(grow, &[], "").await.unwrap();
    assert!(server.runs(&one).await.unwrap());
    let (written, why) = sh(&server, write).await;
    assert!(written, "{why}");
    server.empty_volume().await.unwrap();

    // What is on it outlives a stop, and so does its size.
    cloud.stop("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Stopped).await;
    cloud.start("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Running).await;
    assert!(server.runs(&one).await.unwrap());
    assert_eq!(volume().await.size_bytes, 400 * MIB);

    server.destroy().await.unwrap();
    assert!(
        world
            .local
            .machines()
            .volumes(None)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_volume_gets_stuck_and_is_attached_again() {
    let world = Cloud::new().await;
    let mut server = world.server_with_volume("pg-1", Some(320)).await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    let volume = cloud.volumes("pg-1").await.unwrap().remove(0);

    server.make_volume_read_only(Cure::Boot).await.unwrap();
    assert!(!server.runs(&one).await.unwrap());
    let (written, why) = sh(&server, TOUCH).await;
    assert!(!written && why.contains("Read-only file system"), "{why}");
    server.start(&one).await.unwrap_err();
    rebooted(cloud, &server, "a").await;
    assert!(server.runs(&one).await.unwrap());

    server.make_volume_read_only(Cure::Reattach).await.unwrap();
    rebooted(cloud, &server, "b").await;
    assert!(!server.runs(&one).await.unwrap());
    assert!(!sh(&server, TOUCH).await.0);
    cloud.stop("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Stopped).await;
    for _ in 0..2 {
        cloud.detach_volume("pg-1", &volume.id).await.unwrap();
    }
    cloud.start("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Running).await;
    assert!(!server.runs(&one).await.unwrap(), "its data is away");
    cloud.stop("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Stopped).await;
    for _ in 0..2 {
        cloud.attach_volume("pg-1", &volume.id).await.unwrap();
    }
    cloud.start("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Running).await;
    assert!(server.runs(&one).await.unwrap());
    assert!(sh(&server, TOUCH).await.0);
}

#[tokio::test]
async fn a_cluster_is_spoilt_hangs_and_recovers() {
    let world = Cloud::new().await;
    let mut server = world.server("pg-1").await;
    let one = server.create("pg-1-db-1").await.unwrap();

    let ready = async || {
        let ask = format!(
            "pg_isready -t 2 -h {} -p {}",
            server.settings.address, one.port
        );
        sh(&server, &ask).await
    };
    assert!(ready().await.0);
    assert!(server.hang(&one).await.unwrap() > 3);
    let (answers, said) = ready().await;
    assert!(!answers && said.contains("no response"), "{said}");
    assert!(server.runs(&one).await.unwrap());
    server.resume(&one).await.unwrap();
    assert!(ready().await.0);
    server.hang(&one).await.unwrap();

    server.spoil(&one).await.unwrap();
    assert!(
        !server.runs(&one).await.unwrap(),
        "one that hangs can be killed too"
    );
    let why = format!("{:#}", server.start(&one).await.unwrap_err());
    assert!(why.contains("Permission denied"), "{why}");
    let nothing = server.hang(&one).await.unwrap_err().to_string();
    assert_eq!(nothing, "nothing of pg-1-db-1 runs");

    server.mend(&one).await.unwrap();
    server.start(&one).await.unwrap();
    assert!(ready().await.0);
}

/// A machine that hangs: the cloud sees it, and power is stronger than it.
#[tokio::test]
async fn a_frozen_server_fails_its_check_and_is_stopped_all_the_same() {
    let world = Cloud::new().await;
    let mut server = world.server("pg-1").await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    let checks = async || {
        let statuses = cloud.statuses(&["pg-1".into()]).await.unwrap();
        let (_, status) = statuses.into_iter().next().unwrap();
        [status.state, status.instance_check, status.system_check]
    };
    assert_eq!(checks().await, ["running", "ok", "ok"]);
    cloud.freeze("pg-1").await.unwrap();
    assert_eq!(checks().await, ["running", "impaired", "ok"]);
    cloud.thaw("pg-1").await.unwrap();
    assert_eq!(checks().await, ["running", "ok", "ok"]);
    assert!(server.runs(&one).await.unwrap());

    cloud.freeze("pg-1").await.unwrap();
    let begun = std::time::Instant::now();
    cloud.stop("pg-1").await.unwrap();
    assert!(!server.is_up().await.unwrap());
    // What cannot hear is not waited for.
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(cloud.freeze("pg-1").await.is_err(), "nothing runs");
    cloud.start("pg-1").await.unwrap();
    until(cloud, &server, InstanceState::Running).await;
    assert!(server.runs(&one).await.unwrap());
    assert_eq!(checks().await, ["running", "ok", "ok"]);
}
