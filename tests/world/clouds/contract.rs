//! The contract of a cloud: one function, which each cloud has to pass.

use std::time::Duration;

use drover::config::LocalConfig;
use drover::model::SubjectId;
use drover_jobs::cloud::local::{LocalCloud, ZONES};
use drover_jobs::cloud::{
    AnyCloud, Cloud, CloudAction, CloudError, Instance, InstanceState, MarkedSort, NewInstance,
};
use drover_tests::{Daemon, until, when};

use super::set_up::key_pair;

const GIB: u64 = 1 << 30;
/// The longest that any change may take to show.
const SHOWS: Duration = Duration::from_secs(120);

/// What differs from cloud to cloud.
struct Names {
    size: &'static str,
    other_size: &'static str,
    /// An instance and a volume that never were.
    nothing: (&'static str, &'static str),
}

fn wanted(names: &Names, zone: &str) -> NewInstance {
    NewInstance {
        id: SubjectId::generate(),
        name: "pg-1".into(),
        zone: zone.into(),
        size: names.size.into(),
        volume_gib: 1,
        volume_type: "gp3".into(),
        host_key: key_pair().0,
        authorized_key: key_pair().1,
    }
}

async fn until_it_is(cloud: AnyCloud<'_>, id: &str, what: impl Fn(&Instance) -> bool) -> Instance {
    let shows = until("the instance is as it should", SHOWS, || async {
        let instance = cloud.describe(id).await?;
        when(what(&instance), instance)
    });
    shows.await.unwrap().0
}

fn running(instance: &Instance) -> bool {
    instance.state == InstanceState::Running && instance.address.is_some()
}

async fn keeps_the_contract(cloud: AnyCloud<'_>, names: Names) {
    let zones = cloud.zones().await.unwrap();
    let new = wanted(&names, zones.first().unwrap());
    nothing_is_known_of_what_never_was(cloud, &names).await;
    assert!(cloud.marked().await.unwrap().is_empty());
    assert!(!cloud.login().await.unwrap().user.is_empty());

    // One server, one instance, however often it is asked for.
    let made = cloud.create(&new).await.unwrap();
    let elsewhere = NewInstance {
        zone: zones.last().unwrap().clone(),
        size: names.other_size.into(),
        ..new.clone()
    };
    for again in [&new, &elsewhere] {
        assert_eq!(cloud.create(again).await.unwrap().id, made.id);
    }
    let id = made.id.as_str();
    let seen = until_it_is(cloud, id, running).await;
    assert_eq!(seen.zone.as_ref(), Some(&new.zone));
    assert_eq!(seen.size.as_deref(), Some(names.size));
    assert_eq!(cloud.find(new.id).await.unwrap().unwrap().id, id);
    assert_eq!(cloud.find(SubjectId::generate()).await.unwrap(), None);

    let volumes = cloud.volumes_of(new.id).await.unwrap();
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    let ids = [id, names.nothing.0].map(str::to_owned);
    let statuses = cloud.statuses(&ids).await.unwrap();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert_eq!(statuses[0].0, id);
    let status = &statuses[0].1;
    assert_eq!(
        (status.state.as_str(), status.instance_check.as_str()),
        ("running", "ok")
    );
    let marked = cloud.marked().await.unwrap();
    let instances = marked.iter().filter(|m| m.sort == MarkedSort::Instance);
    let instances: Vec<_> = instances.map(|m| (m.id.as_str(), m.subject)).collect();
    assert_eq!(instances, [(id, Some(new.id))]);
    for volume in marked.iter().filter(|m| m.sort == MarkedSort::Volume) {
        assert_eq!((&volume.id, volume.subject), (&volumes[0], Some(new.id)));
    }

    it_grows_and_does_not_shrink(cloud, id, &volumes[0]).await;
    let before = cloud.describe(id).await.unwrap().boot;
    cloud.reboot(id, "one").await.unwrap();
    // Some clouds do not tell one boot from the next.
    let booted = |i: &Instance| running(i) && (before.is_none() || i.boot.is_some());
    let another = |i: &Instance| booted(i) && (before.is_none() || i.boot != before);
    let after = until_it_is(cloud, id, another).await;
    cloud.reboot(id, "one").await.unwrap();
    let same = until_it_is(cloud, id, booted).await;
    assert_eq!(after.boot, same.boot, "one intention, two reboots");

    for _ in 0..2 {
        cloud.stop(id).await.unwrap();
        until_it_is(cloud, id, |i| i.state == InstanceState::Stopped).await;
    }
    assert_eq!(cloud.find(new.id).await.unwrap().unwrap().id, id);
    for _ in 0..2 {
        cloud.resize(id, names.other_size).await.unwrap();
    }
    for _ in 0..2 {
        cloud.start(id).await.unwrap();
        let seen = until_it_is(cloud, id, running).await;
        assert_eq!(seen.size.as_deref(), Some(names.other_size));
    }

    for _ in 0..2 {
        cloud.destroy(id).await.unwrap();
        until_it_is(cloud, id, |i| i.state.is_gone()).await;
    }
    assert_eq!(cloud.find(new.id).await.unwrap(), None);
    for _ in 0..2 {
        cloud.delete_volume(&volumes[0]).await.unwrap();
    }
    let shows = until("its volumes are gone", SHOWS, || async {
        let left = cloud.volumes_of(new.id).await?;
        when(left.is_empty(), format!("{left:?}"))
    });
    shows.await.unwrap();
    assert!(cloud.marked().await.unwrap().is_empty());
}

async fn it_grows_and_does_not_shrink(cloud: AnyCloud<'_>, id: &str, volume: &str) {
    cloud.can(id, CloudAction::GrowVolume).unwrap();
    let size = async || {
        let volumes = cloud.volumes(id).await.unwrap();
        let found = volumes.iter().find(|v| v.id == volume);
        found.unwrap_or_else(|| panic!("{volumes:?}")).size_bytes
    };
    assert_eq!(size().await, GIB);
    for to in [2 * GIB, 2 * GIB, GIB, 1] {
        cloud.grow_volume(id, volume, to).await.unwrap();
        assert_eq!(size().await, 2 * GIB, "asked for {to}");
    }
    cloud.grow_volume(id, volume, 2 * GIB + 1).await.unwrap();
    assert!(size().await > 2 * GIB);
}

async fn nothing_is_known_of_what_never_was(cloud: AnyCloud<'_>, names: &Names) {
    let (instance, volume) = names.nothing;
    assert!(cloud.describe(instance).await.unwrap().state.is_gone());
    let none = cloud.statuses(&[instance.to_owned()]).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    assert!(cloud.statuses(&[]).await.unwrap().is_empty());
    assert!(
        cloud
            .volumes_of(SubjectId::generate())
            .await
            .unwrap()
            .is_empty()
    );
    // What is to be gone, is.
    cloud.destroy(instance).await.unwrap();
    cloud.delete_volume(volume).await.unwrap();
    // What is to be done to it, cannot be.
    for failed in [
        cloud.reboot(instance, "t").await,
        cloud.stop(instance).await,
        cloud.start(instance).await,
        cloud.resize(instance, names.other_size).await,
        cloud.grow_volume(instance, volume, 1).await,
        cloud.attach_volume(instance, volume).await,
        cloud.detach_volume(instance, volume).await,
    ] {
        assert!(matches!(failed, Err(CloudError::Failed(_))), "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_cloud_keeps_the_contract() {
    drover_tests::init();
    let root = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&root.path().join("machines")).await.unwrap();
    let config = LocalConfig {
        dir: root.path().to_owned(),
        machines: Some(daemon.socket()),
        image: None,
    };
    let cloud = LocalCloud::new(&config, None).unwrap();
    let names = Names {
        size: "small",
        other_size: "medium",
        nothing: ("i-0123456789abcdef0", "vol-0123456789abcdef0"),
    };
    assert_eq!(AnyCloud::Local(&cloud).zones().await.unwrap(), ZONES);
    keeps_the_contract(AnyCloud::Local(&cloud), names).await;
}

#[cfg(feature = "ec2")]
mod ec2 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use drover::config::Ec2Config;
    use drover::model::ExposeSecret as _;
    use drover_tests::Moto;
    use drover_tests::aws::{REGION, text, texts};
    use drover_tests::moto::IMAGE;

    use super::super::set_up::{cloud, config};
    use super::*;

    const NAMES: Names = Names {
        size: "t3.medium",
        other_size: "t3.large",
        nothing: ("i-0123456789abcdef0", "vol-0123456789abcdef0"),
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn ec2_keeps_the_contract() {
        let moto = Moto::start().await.unwrap();
        let ec2 = cloud(&config(), moto.endpoint()).await;
        let region = AnyCloud::Ec2(ec2.region(Some(REGION)).unwrap());
        keeps_the_contract(region, NAMES).await;
        assert_eq!(moto.asked("RunInstances"), 1);
        assert_eq!(moto.asked("RebootInstances"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_instance_of_ec2_is_made_as_it_should_be() {
        let moto = Moto::start().await.unwrap();
        let zones = ["us-east-1a", "us-east-1b"];
        let subnets = moto.subnets("10.78.0.0/22", &zones).await.unwrap();
        let group = moto
            .ask(
                "CreateSecurityGroup",
                &[("GroupName", "drover"), ("GroupDescription", "d")],
            )
            .await
            .unwrap();
        let group = text(&group, "groupId").unwrap().to_owned();
        let config = Ec2Config {
            subnets,
            security_groups: vec![group.clone(), "sg-0of0another0region".into()],
            ssh_port: 2222,
            ..config()
        };
        let ec2 = cloud(&config, moto.endpoint()).await;
        let cloud = AnyCloud::Ec2(ec2.region(None).unwrap());
        assert_eq!(cloud.zones().await.unwrap(), ["us-east-1a", "us-east-1b"]);
        assert_eq!(cloud.login().await.unwrap().port, 2222);

        let new = wanted(&NAMES, "us-east-1b");
        let made = cloud.create(&new).await.unwrap();
        let address = made.address.unwrap();
        assert!(address.starts_with("10.78.1."), "{address}");
        let seen = moto
            .ask("DescribeInstances", &[("InstanceId.1", &made.id)])
            .await
            .unwrap();
        assert_eq!(text(&seen, "imageId").unwrap(), IMAGE);
        assert_eq!(text(&seen, "httpTokens").unwrap(), "required");
        assert!(texts(&seen, "groupId").contains(&group.as_str()), "{seen}");
        for mark in [
            "<key>drover:deployment</key><value>test</value>".to_owned(),
            format!("<key>drover:server</key><value>{}</value>", new.id),
            "<key>Name</key><value>pg-1</value>".to_owned(),
        ] {
            let seen: String = seen.split_whitespace().collect();
            assert!(seen.contains(&mark), "{mark}: {seen}");
        }

        // Two disks, both encrypted; the one with the data stays when it ends.
        let disks = moto.ask("DescribeVolumes", &[]).await.unwrap();
        assert_eq!(texts(&disks, "encrypted"), ["true", "true"]);
        let data = cloud.volumes_of(new.id).await.unwrap();
        assert_eq!(data.len(), 1);
        cloud.destroy(&made.id).await.unwrap();
        let disks = moto.ask("DescribeVolumes", &[]).await.unwrap();
        let left: Vec<_> = texts(&disks, "volumeId");
        assert_eq!(left, [data[0].as_str()]);
        // Left behind, it is still known whose it is.
        let marked = cloud.marked().await.unwrap();
        assert_eq!(marked.len(), 1);
        assert_eq!(
            (marked[0].sort, marked[0].subject),
            (MarkedSort::Volume, Some(new.id))
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_instance_of_ec2_gets_its_host_key_at_its_first_boot() {
        let moto = Moto::start().await.unwrap();
        let ec2 = cloud(&config(), moto.endpoint()).await;
        let cloud = AnyCloud::Ec2(ec2.region(None).unwrap());
        let new = wanted(&NAMES, "us-east-1a");
        let made = cloud.create(&new).await.unwrap();
        let asked = [("InstanceId", made.id.as_str()), ("Attribute", "userData")];
        let told = moto.ask("DescribeInstanceAttribute", &asked).await.unwrap();
        let told = texts(&told, "value").join("");
        let told = STANDARD.decode(told.trim()).unwrap();
        let told = String::from_utf8(told).unwrap();
        let body: serde_json::Value =
            serde_json::from_str(told.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(
            body["ssh_keys"]["ed25519_private"],
            new.host_key.expose_secret()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_deployment_sees_its_own_things_only_and_regions_their_own() {
        let moto = Moto::start().await.unwrap();
        let ours = cloud(&config(), moto.endpoint()).await;
        let theirs = Ec2Config {
            deployment: "another".into(),
            ..config()
        };
        let theirs = cloud(&theirs, moto.endpoint()).await;
        let [here, there] = [Some(REGION), Some("eu-west-1")];
        let ours = [here, there].map(|name| AnyCloud::Ec2(ours.region(name).unwrap()));
        let theirs = AnyCloud::Ec2(theirs.region(here).unwrap());
        let new = wanted(&NAMES, "us-east-1a");
        ours[0].create(&new).await.unwrap();
        assert_eq!(ours[0].marked().await.unwrap().len(), 2);
        for other in [ours[1], theirs] {
            assert_eq!(other.find(new.id).await.unwrap(), None);
            assert!(other.volumes_of(new.id).await.unwrap().is_empty());
            assert!(other.marked().await.unwrap().is_empty());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_volume_comes_off_and_goes_on_again() {
        let moto = Moto::start().await.unwrap();
        let ec2 = cloud(&config(), moto.endpoint()).await;
        let cloud = AnyCloud::Ec2(ec2.region(None).unwrap());
        let new = wanted(&NAMES, "us-east-1a");
        let made = cloud.create(&new).await.unwrap();
        let volume = cloud.volumes_of(new.id).await.unwrap().remove(0);
        cloud.stop(&made.id).await.unwrap();
        for _ in 0..2 {
            cloud.detach_volume(&made.id, &volume).await.unwrap();
            assert!(cloud.volumes(&made.id).await.unwrap().is_empty());
        }
        assert_eq!(cloud.volumes_of(new.id).await.unwrap(), [volume.as_str()]);
        for _ in 0..2 {
            cloud.attach_volume(&made.id, &volume).await.unwrap();
            assert_eq!(cloud.volumes(&made.id).await.unwrap()[0].id, volume);
        }
        assert_eq!(
            (moto.asked("DetachVolume"), moto.asked("AttachVolume")),
            (1, 1)
        );
    }
}
