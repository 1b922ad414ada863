//! Volumes: each a tmpfs, so that running out of room, going read-only and growing are real.
//! It is mounted at a place of its own, and bound to where its machine has its data: so it
//! stays, with what is on it, while it is attached to nothing. It does not outlive the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Processes;
use super::machine::{Machine, Record};
use super::owner::Owner;
use crate::machine::is_mounted;
use crate::protocol::{self, Answer, Health, NewVolume, Power, Problem};
use crate::run::as_root;
use crate::serve::{SMALLEST, is_name, new_id};
use crate::{record, volume};

/// How long a process that has just ended may keep a volume busy.
const BUSY: Duration = Duration::from_secs(5);

/// Whether something may be mounted here.
///
/// # Errors
/// If not: why.
pub async fn may_mount(folder: &Path) -> anyhow::Result<()> {
    let place = folder.join(".try");
    fs::create_dir_all(&place)?;
    let tried = as_root("mount")
        .line("-t tmpfs -o size=64k drover-try")
        .args([&place])
        .run()
        .await;
    if tried.is_ok() {
        as_root("umount").args([&place]).run().await?;
    }
    fs::remove_dir(&place)?;
    tried.map(drop)
}

/// Where volumes are kept.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) folder: PathBuf,
    pub(super) owner: Owner,
}

impl Store {
    /// # Errors
    /// If a record cannot be read.
    pub(super) fn load(&self) -> anyhow::Result<Vec<volume::Record>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            match record::read(&entry.path().join("record.json"))? {
                Some(volume) => all.push(volume),
                // It was being made or destroyed when the daemon ended.
                None => fs::remove_dir_all(entry.path())?,
            }
        }
        Ok(all)
    }

    fn own(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    fn place(&self, id: &str) -> PathBuf {
        self.own(id).join("data")
    }

    fn write(&self, volume: &volume::Record) -> anyhow::Result<()> {
        record::write(&self.own(&volume.id).join("record.json"), volume)
    }

    /// The tmpfs is there: an empty one, if the host was restarted.
    async fn mount(&self, volume: &volume::Record) -> anyhow::Result<()> {
        let place = self.place(&volume.id);
        if is_mounted(&place) {
            return Ok(());
        }
        fs::create_dir_all(&place)?;
        let (uid, gid, size) = (self.owner.uid, self.owner.gid, volume.size);
        let options = format!("nosuid,nodev,mode=0755,uid={uid},gid={gid},size={size}");
        let mount = as_root("mount").args(["-t", "tmpfs", "-o", &options, &volume.id]);
        mount.args([&place]).run().await.map(drop)
    }

    async fn remount(&self, volume: &volume::Record, mode: &str) -> anyhow::Result<()> {
        // All of them: those that are left out fall back to mount's own.
        let options = format!("remount,{mode},nosuid,nodev,size={}", volume.size);
        let place = self.place(&volume.id);
        patiently(|| {
            let mount = as_root("mount").args(["-o", &options, &volume.id]);
            mount.args([&place]).run()
        })
        .await
    }

    async fn remove(&self, id: &str) -> anyhow::Result<()> {
        unmount(&self.place(id)).await?;
        fs::remove_file(self.own(id).join("record.json"))?;
        Ok(fs::remove_dir_all(self.own(id))?)
    }
}

/// Again and again, while something keeps it busy.
async fn patiently<F>(mut tried: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<String>>,
{
    let begun = Instant::now();
    loop {
        match tried().await {
            Err(error) if begun.elapsed() > BUSY => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(_) => return Ok(()),
        }
    }
}

async fn unmount(place: &Path) -> anyhow::Result<()> {
    if !is_mounted(place) {
        return Ok(());
    }
    patiently(|| as_root("umount").args([place]).run()).await
}

impl Processes {
    pub(super) async fn make_volume(&self, new: NewVolume) -> Result<Answer, Problem> {
        if let Err(why) = &self.may_mount {
            return Err(Problem::conflict(format!(
                "machines have no volumes here, where nothing may be mounted: {why}"
            )));
        }
        let id = self.add_volume(new, None).await?;
        self.answer_volume(&id).await
    }

    /// Makes a volume, for a machine that it goes with or for itself.
    pub(super) async fn add_volume(
        &self,
        new: NewVolume,
        machine: Option<&str>,
    ) -> Result<String, Problem> {
        let id = new.id.unwrap_or_else(|| new_id("vol"));
        if !is_name(&id) {
            return Err(Problem::invalid(format!("{id:?} cannot name a volume")));
        }
        if new.size < SMALLEST {
            let message = format!("a volume has {SMALLEST} bytes or more");
            return Err(Problem::invalid(message));
        }
        let mut volumes = self.volumes.lock().await;
        if volumes.contains_key(&id) {
            return Err(Problem::conflict(format!("there is a volume {id} already")));
        }
        let made = volume::Record {
            id: id.clone(),
            group: new.group,
            size: new.size,
            machine: machine.map(str::to_owned),
            with_machine: machine.is_some(),
            health: Health::Well,
        };
        fs::create_dir_all(self.store.own(&id))?;
        self.store.write(&made)?;
        volumes.insert(id.clone(), made.clone());
        drop(volumes);
        self.store.mount(&made).await?;
        Ok(id)
    }

    /// The volume of a machine, if it has one.
    async fn volume_of(&self, name: &str) -> Option<volume::Record> {
        let volumes = self.volumes.lock().await;
        let own = volumes
            .values()
            .find(|own| own.machine.as_deref() == Some(name));
        own.cloned()
    }

    /// A machine has its volume where its data are, well if mounting it anew makes it so.
    pub(super) async fn plug_in(&self, machine: &Machine, record: &Record) -> anyhow::Result<()> {
        let Some(mut volume) = self.volume_of(&record.name).await else {
            return Ok(());
        };
        self.store.mount(&volume).await?;
        if volume.health == Health::ReadOnly {
            self.store.remount(&volume, "rw").await?;
            volume.health = Health::Well;
            self.keep(volume.clone()).await?;
        }
        let storage = machine.storage();
        if !is_mounted(&storage) {
            let bind = as_root("mount").args(["--bind", "--"]);
            bind.args([self.store.place(&volume.id), storage])
                .run()
                .await?;
        }
        machine.make_storage().await
    }

    pub(super) async fn attach(&self, id: &str, name: &str) -> Result<Answer, Problem> {
        let kept = self.find(name).await?;
        let record = kept.record.lock().await;
        let mut volume = self.volume(id).await?;
        let other = self.volume_of(&record.name).await;
        if let Some(holder) = volume.machine.as_ref().filter(|own| **own != record.name) {
            return Err(Problem::conflict(format!(
                "volume {id} is attached to {holder}"
            )));
        }
        if let Some(other) = other.filter(|other| other.id != id) {
            return Err(Problem::conflict(format!(
                "machine {name} has volume {} already; one that is processes has no more than one",
                other.id
            )));
        }
        volume.machine = Some(record.name.clone());
        self.keep(volume).await?;
        self.plug_in(&kept.machine, &record).await?;
        self.answer_volume(id).await
    }

    pub(super) async fn detach(&self, id: &str, force: bool) -> Result<Answer, Problem> {
        if let Some(name) = self.volume(id).await?.machine {
            let kept = self.find(&name).await?;
            let _turn = kept.record.lock().await;
            self.unplug(&kept.machine, id, force).await?;
        }
        self.answer_volume(id).await
    }

    /// What writes to a volume that is taken away by force dies of it.
    pub(super) async fn unplug(
        &self,
        machine: &Machine,
        id: &str,
        force: bool,
    ) -> Result<(), Problem> {
        let mut volume = self.volume(id).await?;
        let storage = machine.storage();
        if force {
            machine.marks().kill_clusters().await?;
            unmount(&storage).await?;
        } else if is_mounted(&storage) {
            let unmounted = as_root("umount").args([&storage]).run().await;
            unmounted.map_err(|why| {
                Problem::conflict(format!("volume {id} is in use; use force: {why:#}"))
            })?;
        }
        self.heal(&mut volume).await?;
        volume.machine = None;
        volume.with_machine = false;
        Ok(self.keep(volume).await?)
    }

    async fn heal(&self, volume: &mut volume::Record) -> anyhow::Result<()> {
        match volume.health {
            Health::ReadOnly => self.store.remount(volume, "rw").await?,
            Health::Full => {
                let fill = self.store.place(&volume.id).join(".full");
                self.store
                    .owner
                    .tool("rm")
                    .args(["-f", "--"])
                    .args([fill])
                    .run()
                    .await?;
            }
            Health::Well | Health::Hanging => {}
        }
        volume.health = Health::Well;
        Ok(())
    }

    pub(super) async fn grow(&self, id: &str, size: u64) -> Result<Answer, Problem> {
        let mut volume = self.volume(id).await?;
        if size < volume.size {
            let has = volume.size;
            let message = format!("volume {id} has {has} bytes, and volumes only grow");
            return Err(Problem::invalid(message));
        }
        volume.size = size;
        // Kept first: whoever mounts it anew must not make it smaller.
        self.keep(volume.clone()).await?;
        let mode = if volume.health == Health::ReadOnly {
            "ro"
        } else {
            "rw"
        };
        self.store.mount(&volume).await?;
        self.store.remount(&volume, mode).await?;
        self.answer_volume(id).await
    }

    pub(super) async fn set_volume(&self, id: &str, health: Health) -> Result<Answer, Problem> {
        let mut volume = self.volume(id).await?;
        let attached = volume.machine.as_ref();
        let name = attached
            .ok_or_else(|| Problem::conflict(format!("volume {id} is attached to nothing")))?;
        let kept = self.find(name).await?;
        let record = kept.record.lock().await;
        kept.must_be(&record, &[Power::On])?;
        if health == volume.health {
            return self.answer_volume(id).await;
        }
        if health == Health::Hanging {
            let place = self.store.place(id);
            let message = "a volume of a machine that is processes is a tmpfs, which cannot hang";
            let freeze = as_root("fsfreeze")
                .args(["--freeze"])
                .args([place])
                .run()
                .await;
            // Should a kernel learn to, nothing here would know how to go on.
            return Err(Problem::conflict(match freeze {
                Err(why) => format!("{message}: {why:#}"),
                Ok(_) => message.into(),
            }));
        }
        self.heal(&mut volume).await?;
        match health {
            Health::Well | Health::Hanging => {}
            Health::Full => drop(
                self.store
                    .owner
                    .tool("sh")
                    .args(["-c", volume::FILL, "fill"])
                    .args([self.store.place(id)])
                    .run()
                    .await?,
            ),
            Health::ReadOnly => {
                // As after an error of the disk: what writes there dies of it.
                kept.machine.marks().kill_clusters().await?;
                self.store.remount(&volume, "ro").await?;
            }
        }
        volume.health = health;
        self.keep(volume).await?;
        self.answer_volume(id).await
    }

    pub(super) async fn destroy_volume(&self, id: &str) -> Result<(), Problem> {
        if let Some(name) = self.volume(id).await?.machine {
            return Err(Problem::conflict(format!(
                "volume {id} is attached to {name}"
            )));
        }
        self.store.remove(id).await?;
        self.volumes.lock().await.remove(id);
        Ok(())
    }

    /// The volume of a machine that goes goes with it, or is free.
    pub(super) async fn let_go_of_volume(
        &self,
        machine: &Machine,
        name: &str,
    ) -> Result<(), Problem> {
        unmount(&machine.storage()).await?;
        if let Some(volume) = self.volume_of(name).await {
            self.unplug(machine, &volume.id, true).await?;
            if volume.with_machine {
                self.destroy_volume(&volume.id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn list_volumes(&self, group: Option<&str>) -> Answer {
        let volumes = self.volumes.lock().await;
        let fit = volumes
            .values()
            .filter(|own| group.is_none_or(|group| group == own.group));
        Answer::Volumes(fit.map(shown).collect())
    }

    async fn volume(&self, id: &str) -> Result<volume::Record, Problem> {
        let volumes = self.volumes.lock().await;
        let found = volumes.get(id).cloned();
        found.ok_or_else(|| Problem::not_found(format!("there is no volume {id}")))
    }

    async fn keep(&self, volume: volume::Record) -> anyhow::Result<()> {
        self.store.write(&volume)?;
        self.volumes.lock().await.insert(volume.id.clone(), volume);
        Ok(())
    }

    async fn answer_volume(&self, id: &str) -> Result<Answer, Problem> {
        Ok(Answer::Volume(shown(&self.volume(id).await?)))
    }
}

fn shown(volume: &volume::Record) -> protocol::Volume {
    protocol::Volume {
        id: volume.id.clone(),
        group: volume.group.clone(),
        size: volume.size,
        machine: volume.machine.clone(),
        // What `df` calls it there.
        device: volume.machine.as_ref().map(|_| volume.id.clone()),
        health: volume.health,
    }
}
