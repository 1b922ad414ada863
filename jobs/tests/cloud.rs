//! What remedies ask of a cloud, on real local servers.

mod world;

use drover::model;
use drover_jobs::cloud::{
    AnyCloud, Cloud as _, CloudAction, CloudError, Clouds, InstanceState, Unsupported,
};
use world::Cloud;

/// As a resolver gets at it.
fn any(clouds: &Clouds) -> AnyCloud<'_> {
    clouds.of(model::Cloud::Local).unwrap()
}

fn clouds(cloud: &Cloud) -> Clouds {
    Clouds {
        local: Some(cloud.local.clone()),
    }
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
