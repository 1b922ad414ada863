//! Volumes: PostgreSQL's data on them, and what they live through.

use std::time::Duration;

use drover_machines::client::ClientError;
use drover_machines::protocol::{Health, NewVolume, Power, ProblemKind, Request};

use super::harness::{Daemon, MIB};

/// As drover's own script: found by its id, mounted by what fstab says.
fn mount(volume: &str, filesystem: &str) -> String {
    let serial = volume.replace('-', "");
    format!(
        "set -e; m=/var/lib/postgresql
         dev=$(readlink -f /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial})
         [ -b \"$dev\" ]; blkid -p \"$dev\" || mkfs.{filesystem} -q \"$dev\"
         u=$(blkid -o value -s UUID \"$dev\"); mkdir -p $m
         grep -q $m /etc/fstab || echo \"UUID=$u $m {filesystem} defaults,nofail,noatime 0 2\" >>/etc/fstab
         mount $m; chown postgres: $m"
    )
}

const CLUSTER: &str = "pg_createcluster 15 main --start >/dev/null";
const WRITE: &str = "su postgres -c \"psql -qc 'create table if not exists t (n int)' -c 'insert into t values (1)'\"";
const COUNT: &str = "until pg_isready -q; do sleep 0.1; done; su postgres -c \"psql -Atqc 'select count(*) from t'\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_clusters_data_live_through_reboot_and_power_cut() {
    let daemon = Daemon::start().await;
    let machine = daemon.up(daemon.with_volume("pg", 512)).await;
    daemon.sh("pg", &mount(&machine.volumes[0], "ext4")).await;
    daemon.sh("pg", CLUSTER).await;
    daemon.sh("pg", WRITE).await;
    let before = daemon.boot_id("pg").await;

    daemon.client.reboot("pg", None).await.unwrap();
    let after = until_other_boot(&daemon, "pg", &before).await;
    daemon.booted("pg").await;
    assert_eq!(daemon.sh("pg", COUNT).await, "1");

    daemon.sh("pg", WRITE).await;
    daemon.client.kill("pg").await.unwrap();
    assert_eq!(daemon.client.show("pg").await.unwrap().power, Power::Off);
    daemon.client.start("pg").await.unwrap();
    daemon.booted("pg").await;
    assert_ne!(daemon.boot_id("pg").await, after);
    assert_eq!(daemon.sh("pg", COUNT).await, "2");
}

async fn until_other_boot(daemon: &Daemon, machine: &str, before: &str) -> String {
    for _ in 0..600 {
        let seen = daemon
            .client
            .sh(
                machine,
                "cat /proc/sys/kernel/random/boot_id",
                Duration::from_secs(5),
            )
            .await;
        match seen {
            Ok(output) if output.status == Some(0) && output.stdout.trim() != before => {
                return output.stdout.trim().to_owned();
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!(
        "{machine} did not reboot: {}",
        daemon.client.console(machine).await.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_comes_grows_and_goes_while_the_machine_runs() {
    let daemon = Daemon::start().await;
    daemon.up(daemon.plain("a")).await;
    daemon.up(daemon.plain("b")).await;
    let new = NewVolume {
        id: Some("vol-0a1b".into()),
        size: 512 * MIB,
        ..NewVolume::default()
    };
    let volume = daemon.client.make_volume(new).await.unwrap();
    assert_eq!(volume.device, None);
    let device = daemon
        .client
        .attach("vol-0a1b", "a")
        .await
        .unwrap()
        .device
        .unwrap();
    // Of the filesystems that grow while they are mounted, ext4 asks for a right
    // (CAP_SYS_RESOURCE) that root may lack on a host of a cloud.
    daemon.sh("a", &mount("vol-0a1b", "xfs")).await;
    daemon
        .sh("a", "echo kept >/var/lib/postgresql/file; sync")
        .await;
    let size = "df -B1M --output=size /var/lib/postgresql | tail -n 1";
    let before: u64 = daemon.sh("a", size).await.parse().unwrap();
    daemon.client.grow("vol-0a1b", 1024 * MIB).await.unwrap();
    assert_eq!(
        daemon
            .sh("a", &format!("blockdev --getsize64 {device}"))
            .await,
        (1024 * MIB).to_string()
    );
    daemon.sh("a", "xfs_growfs /var/lib/postgresql").await;
    let after: u64 = daemon.sh("a", size).await.parse().unwrap();
    assert!(before < 512 && after > 900, "{before} {after}");

    // Mounted, it stays; and it is one machine's.
    let refused = daemon.client.detach("vol-0a1b").await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("mounted at /var/lib/postgresql in a"),
        "{refused}"
    );
    assert!(is_conflict(
        &daemon.client.attach("vol-0a1b", "b").await.unwrap_err()
    ));
    daemon.sh("a", "umount /var/lib/postgresql").await;
    assert_eq!(daemon.client.detach("vol-0a1b").await.unwrap().device, None);
    assert!(!daemon.can("a", &format!("test -e {device}")).await);
    assert_eq!(daemon.sh("a", "ls /dev/disk/by-id").await, "");
    daemon.client.attach("vol-0a1b", "b").await.unwrap();
    daemon.sh("b", &mount("vol-0a1b", "xfs")).await;
    assert_eq!(daemon.sh("b", "cat /var/lib/postgresql/file").await, "kept");
    // It was not made with its machine, and does not go with it.
    daemon.client.destroy("b").await.unwrap();
    let left = daemon.client.volumes(None).await.unwrap();
    assert_eq!((left.len(), left[0].machine.as_deref()), (1, None));
    assert!(
        matches!(&daemon.client.grow("vol-0a1b", 1).await, Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::Invalid)
    );
}

fn is_conflict(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.kind == ProblemKind::Conflict)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_full_hangs_and_takes_no_writes() {
    let daemon = Daemon::start().await;
    let machine = daemon.up(daemon.with_volume("a", 256)).await;
    let volume = machine.volumes[0].clone();
    let set = async |health| {
        let volume = volume.clone();
        daemon
            .client
            .call(Request::SetVolume { volume, health })
            .await
            .unwrap();
    };
    daemon.sh("a", &mount(&volume, "ext4")).await;
    let write =
        "timeout 3 dd if=/dev/zero of=/var/lib/postgresql/x bs=64k count=16 conv=fsync 2>&1";
    assert!(daemon.can("a", write).await);

    daemon.sh("a", "rm /var/lib/postgresql/x").await;
    set(Health::Full).await;
    let said = daemon
        .client
        .sh("a", write, Duration::from_secs(20))
        .await
        .unwrap();
    assert!(said.stdout.contains("No space left"), "{said:?}");
    set(Health::Well).await;
    assert!(daemon.can("a", write).await);

    set(Health::Hanging).await;
    let begun = std::time::Instant::now();
    let beside = tokio::time::timeout(
        Duration::from_secs(2),
        daemon.client.sh(
            "a",
            "dd if=/dev/zero of=/var/lib/postgresql/y count=1 conv=fsync",
            Duration::from_secs(30),
        ),
    );
    assert!(
        beside.await.is_err(),
        "it was written after {:?}",
        begun.elapsed()
    );
    // Who asks for something that does not end is told what it waits for.
    let asked = daemon.client.sh("a", write, Duration::from_secs(1)).await;
    let said = asked.unwrap_err().to_string();
    assert!(said.contains("in the kernel wait"), "{said}");
    assert!(said.contains("(dd) in "), "{said}");
    set(Health::Well).await;
    assert!(daemon.can("a", write).await);

    // Somebody has had it go on before.
    set(Health::Hanging).await;
    daemon
        .sh("a", "fsfreeze --unfreeze /var/lib/postgresql")
        .await;
    set(Health::Well).await;

    set(Health::ReadOnly).await;
    let said = daemon
        .client
        .sh("a", write, Duration::from_secs(20))
        .await
        .unwrap();
    assert!(said.stdout.contains("Read-only file system"), "{said:?}");

    is_well_after_a_power_cut(&daemon, &volume).await;
    assert!(daemon.can("a", write).await);

    // Whoever waits for the disk goes with the power all the same.
    set(Health::Hanging).await;
    let waits = "dd if=/dev/zero of=/var/lib/postgresql/y count=1 conv=fsync >/dev/null 2>&1 &";
    daemon.sh("a", waits).await;
    is_well_after_a_power_cut(&daemon, &volume).await;
    assert!(daemon.can("a", write).await);

    // Nobody waits for it when the power goes.
    set(Health::Hanging).await;
    is_well_after_a_power_cut(&daemon, &volume).await;
    assert!(daemon.can("a", write).await);

    // Nor is it in the way of those who take it away.
    set(Health::Hanging).await;
    daemon.client.kill("a").await.unwrap();
    daemon.client.detach(&volume).await.unwrap();
    let left = daemon.client.volumes(None).await.unwrap();
    assert_eq!(left[0].device, None);
    daemon.client.attach(&volume, "a").await.unwrap();
    daemon.client.start("a").await.unwrap();
    daemon.booted("a").await;
    assert!(daemon.can("a", write).await);
    set(Health::Hanging).await;
}

async fn is_well_after_a_power_cut(daemon: &Daemon, volume: &str) {
    daemon.client.kill("a").await.unwrap();
    assert_eq!(daemon.client.show("a").await.unwrap().power, Power::Off);
    daemon.client.start("a").await.unwrap();
    daemon.booted("a").await;
    let volumes = daemon.client.volumes(None).await.unwrap();
    let seen = volumes.iter().find(|known| known.id == volume).unwrap();
    assert_eq!(seen.health, Health::Well);
}
