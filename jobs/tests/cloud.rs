//! What remedies ask of a cloud, on real local servers.

mod world;

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

#[tokio::test]
async fn a_reboot_brings_back_what_was_killed_once_for_each_token() {
    let world = Cloud::new("reboot");
    let server = world.server("pg-1").await;
    let (one, two) = (
        server.create("pg-1-db-1").await.unwrap(),
        server.create("pg-1-db-2").await.unwrap(),
    );
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    cloud.can("pg-1", CloudAction::Reboot).unwrap();
    let before = boot(cloud).await.unwrap();
    server.kill(&one).await.unwrap();

    cloud.reboot("pg-1", "first").await.unwrap();
    assert!(server.runs(&one) && server.runs(&two));
    let after = boot(cloud).await.unwrap();
    assert_ne!(before, after);

    server.kill(&one).await.unwrap();
    cloud.reboot("pg-1", "first").await.unwrap();
    assert_eq!(boot(cloud).await.unwrap(), after, "the same token again");
    assert!(!server.runs(&one), "the same token again");

    // A worker that died after the kill is followed by one with its token.
    server.unplug().await.unwrap();
    let path = world.root.join("servers/pg-1/reboot.json");
    std::fs::write(&path, r#"{"token":"second","stage":"down"}"#).unwrap();
    cloud.reboot("pg-1", "second").await.unwrap();
    assert!(server.runs(&one) && server.runs(&two));

    // What is not set to start by itself stays down, here as anywhere.
    let conf = format!("servers/pg-1/pg/conf/{}/pg-1-db-2/start.conf", two.version);
    std::fs::write(world.root.join(conf), "# by hand\nmanual # only\n").unwrap();
    cloud.reboot("pg-1", "third").await.unwrap();
    assert!(server.runs(&one) && !server.runs(&two));
}

#[tokio::test]
async fn a_server_is_stopped_and_started_and_one_that_is_gone_says_so() {
    let world = Cloud::new("power");
    let server = world.server("pg-1").await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    let before = boot(cloud).await;

    for _ in 0..2 {
        cloud.stop("pg-1").await.unwrap();
        let stopped = cloud.describe("pg-1").await.unwrap();
        assert_eq!(stopped.state, InstanceState::Stopped);
        assert_eq!(stopped.boot, None);
    }
    assert!(!server.runs(&one));
    let log = std::fs::read_to_string(world.root.join("servers/pg-1/pg/log/pg-1-db-1.log"));
    let log = log.unwrap();
    assert!(log.contains("fast shutdown") && log.contains("database system is shut down"));

    for _ in 0..2 {
        cloud.start("pg-1").await.unwrap();
        assert!(server.is_up() && server.runs(&one));
    }
    assert_ne!(boot(cloud).await, before);

    assert!(cloud.volumes("pg-1").await.unwrap().is_empty());
    for action in [CloudAction::GrowVolume, CloudAction::ReattachVolume] {
        let Unsupported(why) = cloud.can("pg-1", action).unwrap_err();
        assert_eq!(why, "this local server has no volume of its own");
    }
    let grown = cloud.grow_volume("pg-1", "none", 1).await;
    assert!(
        matches!(grown, Err(CloudError::Unsupported(_))),
        "{grown:?}"
    );

    server.destroy().await.unwrap();
    let gone = cloud.reboot("pg-1", "t").await.unwrap_err();
    assert_eq!(gone.to_string(), "local instance pg-1 is gone");
    let away = cloud.start("../pg-1").await.unwrap_err();
    assert!(matches!(away, CloudError::Failed(_)), "{away:?}");
}

/// Runs a command there as its user; gives whether it succeeded, and its output.
async fn sh(server: &LocalServer, command: &str) -> (bool, String) {
    let output = ssh::run(&server.target().unwrap(), command, Limits::default())
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (output.status == Some(0), text)
}

fn mounts(world: &Cloud) -> Vec<String> {
    let root = world.root.to_string_lossy().into_owned();
    let all = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = all.lines().filter(|line| line.contains(&root));
    ours.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_volume_runs_full_grows_and_goes_with_its_server() {
    let world = Cloud::new("grow");
    let server = world.server_with_volume("pg-1", Some(128)).await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    cloud.can("pg-1", CloudAction::GrowVolume).unwrap();
    let volume = async || cloud.volumes("pg-1").await.unwrap().remove(0);
    let before = volume().await;
    assert_eq!(before.size_bytes, 128 * MIB);
    let mount = before.mount.clone().unwrap();

    // As it is felt: the cluster's data is on it, under the cloud's name for it.
    let data = format!("df --output=target,source,size -B1 {mount}/data/pg-1-db-1 | tail -1");
    let felt = sh(&server, &data).await.1;
    let felt: Vec<&str> = felt.split_whitespace().collect();
    let size = before.size_bytes.to_string();
    assert_eq!(felt, [&mount, before.device.as_deref().unwrap(), &size]);

    server.fill_volume(2).unwrap();
    let write = format!("head -c 20000000 /dev/zero >{mount}/data/new");
    let (written, why) = sh(&server, &write).await;
    assert!(!written && why.contains("No space left"), "{why}");
    let too_much = server.fill_volume(1000).unwrap_err().to_string();
    assert!(too_much.contains("no more than that"), "{too_much}");
    server.fill_volume(2).unwrap();

    for _ in 0..2 {
        let to = 160 * MIB - 1;
        cloud.grow_volume("pg-1", &before.id, to).await.unwrap();
        assert_eq!(volume().await.size_bytes, 160 * MIB);
    }
    assert!(server.runs(&one), "it grows under a running cluster");
    assert_eq!(sh(&server, &write).await, (true, String::new()));
    cloud.grow_volume("pg-1", &before.id, MIB).await.unwrap();
    assert_eq!(volume().await.size_bytes, 160 * MIB, "never smaller");
    let other = cloud.grow_volume("pg-1", "vol-other", MIB).await;
    assert!(matches!(other, Err(CloudError::Failed(_))), "{other:?}");
    server.empty_volume().unwrap();

    // What is on it outlives a stop, and so does its size.
    cloud.stop("pg-1").await.unwrap();
    assert_eq!(mounts(&world).len(), 1, "{:?}", mounts(&world));
    cloud.start("pg-1").await.unwrap();
    assert!(server.runs(&one));
    assert_eq!(volume().await.size_bytes, 160 * MIB);

    let server = world.local.server("pg-1").unwrap().unwrap();
    server.destroy().await.unwrap();
    assert_eq!(mounts(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_volume_gets_stuck_and_is_attached_again() {
    let world = Cloud::new("stuck");
    let server = world.server_with_volume("pg-1", Some(128)).await;
    let one = server.create("pg-1-db-1").await.unwrap();
    let clouds = clouds(&world);
    let cloud = any(&clouds);
    let volume = cloud.volumes("pg-1").await.unwrap().remove(0);
    let touch = format!("touch {}/data/new", volume.mount.unwrap());

    server.make_volume_read_only(Cure::Boot).await.unwrap();
    assert!(server.is_up() && !server.runs(&one));
    let (written, why) = sh(&server, &touch).await;
    assert!(!written && why.contains("Read-only file system"), "{why}");
    assert!(mounts(&world)[0].contains(" ro,"), "{:?}", mounts(&world));
    server.start(&one).await.unwrap_err();
    cloud.stop("pg-1").await.unwrap();
    cloud.start("pg-1").await.unwrap();
    assert!(server.runs(&one));

    server.make_volume_read_only(Cure::Reattach).await.unwrap();
    cloud.reboot("pg-1", "a").await.unwrap();
    assert!(server.is_up() && !server.runs(&one));
    assert!(!sh(&server, &touch).await.0);
    // It may grow meanwhile, and that does not make it writable.
    cloud
        .grow_volume("pg-1", &volume.id, 130 * MIB)
        .await
        .unwrap();
    assert!(!sh(&server, &touch).await.0);
    for _ in 0..2 {
        cloud.stop("pg-1").await.unwrap();
        cloud.detach_volume("pg-1", &volume.id).await.unwrap();
    }
    cloud.start("pg-1").await.unwrap();
    assert!(!server.runs(&one), "its data is away");
    for _ in 0..2 {
        cloud.attach_volume("pg-1", &volume.id).await.unwrap();
    }
    cloud.start("pg-1").await.unwrap();
    assert!(server.runs(&one));
    assert!(sh(&server, &touch).await.0);
}

#[tokio::test]
async fn a_cluster_is_spoilt_hangs_and_recovers() {
    let world = Cloud::new("harm");
    let server = world.server("pg-1").await;
    let one = server.create("pg-1-db-1").await.unwrap();

    let ready = async || {
        let ask = format!(
            "pg_isready -t 2 -h {} -p {}",
            server.settings.address, one.port
        );
        sh(&server, &ask).await
    };
    assert!(ready().await.0);
    assert!(server.hang(&one).unwrap() > 3);
    let (answers, said) = ready().await;
    assert!(!answers && said.contains("no response"), "{said}");
    assert!(server.runs(&one));
    server.resume(&one).unwrap();
    assert!(ready().await.0);
    server.hang(&one).unwrap();

    server.spoil(&one).await.unwrap();
    assert!(!server.runs(&one), "one that hangs can be killed too");
    let why = format!("{:#}", server.start(&one).await.unwrap_err());
    assert!(why.contains("Permission denied"), "{why}");
    let boot = server.reboot("a").await.unwrap();
    assert!(server.is_up() && !server.runs(&one));
    boot.complete().unwrap_err();
    let nothing = server.hang(&one).unwrap_err().to_string();
    assert_eq!(nothing, "nothing of pg-1-db-1 runs");

    server.mend(&one).unwrap();
    server.start(&one).await.unwrap();
    assert!(ready().await.0);
}

/// A machine that hangs: the cloud sees it, and power is stronger than it.
#[tokio::test]
async fn a_frozen_server_fails_its_check_and_is_stopped_all_the_same() {
    let world = Cloud::new("frozen");
    let server = world.server("pg-1").await;
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
    assert!(server.runs(&one));

    cloud.freeze("pg-1").await.unwrap();
    let begun = std::time::Instant::now();
    cloud.stop("pg-1").await.unwrap();
    assert!(!server.runs(&one) && !server.is_up());
    // What cannot hear is not waited for.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15));
    assert!(cloud.freeze("pg-1").await.is_err(), "nothing runs");
    cloud.start("pg-1").await.unwrap();
    assert!(server.runs(&one));
    assert_eq!(checks().await, ["running", "ok", "ok"]);
}
