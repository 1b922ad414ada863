//! Volumes are made, attached, grown, broken and destroyed.

use super::make::new_id;
use super::world::{Kept, World, is_name, power_of};
use crate::protocol::{self, Answer, Health, NewVolume, Power, Problem};
use crate::volume::{self, Record};

/// The smallest that a filesystem and its journal fit into.
pub const SMALLEST: u64 = 8 << 20;

impl World {
    pub(super) async fn make_volume(&self, new: NewVolume) -> Result<Answer, Problem> {
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
            return Err(Problem::invalid(format!(
                "a volume has {SMALLEST} bytes or more"
            )));
        }
        let mut volumes = self.volumes.lock().await;
        if volumes.contains_key(&id) {
            return Err(Problem::conflict(format!("there is a volume {id} already")));
        }
        let record = Record {
            id: id.clone(),
            group: new.group,
            size: new.size,
            machine: machine.map(str::to_owned),
            with_machine: machine.is_some(),
            health: Health::Well,
        };
        self.store.make(&record)?;
        volumes.insert(id.clone(), record);
        Ok(id)
    }

    /// Every volume of a machine has its device and its name; what the machine boots with.
    pub(super) async fn plug_in(&self, kept: &Kept) -> Result<Vec<String>, Problem> {
        let mut volumes = self.volumes.lock().await;
        let mut devices = Vec::new();
        for volume in volumes.values_mut() {
            if volume.machine.as_ref() != Some(&kept.record.name) {
                continue;
            }
            let device = self.store.plug(&volume.id).await?;
            volume::link(&kept.machine, &volume.id, &device)?;
            devices.push(device);
        }
        Ok(devices)
    }

    /// Filesystems that are mounted anew take writes again.
    pub(super) async fn mounted_anew(&self, machine: &str) -> Result<(), Problem> {
        let volumes: Vec<Record> = self.volumes.lock().await.values().cloned().collect();
        for mut record in volumes {
            let ill = matches!(record.health, Health::Hanging | Health::ReadOnly);
            if ill && record.machine.as_deref() == Some(machine) {
                self.store.thaw(&record).await?;
                record.health = Health::Well;
                self.keep(record).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn attach(&self, id: &str, name: &str) -> Result<Answer, Problem> {
        let kept = self.find(name).await?;
        let kept = kept.lock().await;
        let mut record = self.volume(id).await?;
        match &record.machine {
            Some(other) if *other != kept.record.name => {
                return Err(Problem::conflict(format!(
                    "volume {id} is attached to {other}"
                )));
            }
            _ => {}
        }
        refuse_frozen(&kept)?;
        record.machine = Some(kept.record.name.clone());
        self.keep(record).await?;
        let devices = self.plug_in(&kept).await?;
        if kept.machine.is_on() {
            for device in &devices {
                volume::show(&kept.machine, device).await?;
            }
            // For when it reboots.
            kept.machine.write_boot(&kept.record, &devices)?;
        }
        self.answer_volume(id).await
    }

    pub(super) async fn detach(&self, id: &str, force: bool) -> Result<Answer, Problem> {
        let record = self.volume(id).await?;
        if let Some(name) = record.machine {
            let kept = self.find(&name).await?;
            let kept = kept.lock().await;
            self.unplug(&kept, id, force).await?;
        }
        self.answer_volume(id).await
    }

    async fn unplug(&self, kept: &Kept, id: &str, force: bool) -> Result<(), Problem> {
        refuse_frozen(kept)?;
        let mut record = self.volume(id).await?;
        let device = self.store.device(id).await?;
        if let Some(device) = device.filter(|_| kept.machine.is_on()) {
            let mounted = volume::is_mounted_in(&kept.machine, &device).await?;
            if let Some(place) = mounted.filter(|_| !force) {
                return Err(Problem::conflict(format!(
                    "volume {id} is mounted at {place} in {}; unmount it there, or use force",
                    kept.record.name
                )));
            }
            if record.health != Health::Well {
                // A filesystem that hangs could not be unmounted.
                let _ =
                    volume::set_health(&kept.machine, &device, record.health, Health::Well).await;
            }
            volume::hide(&kept.machine, &device).await?;
        }
        volume::unlink(&kept.machine, id)?;
        if !kept.machine.is_on() {
            self.store.thaw(&record).await?;
        }
        self.store.unplug(id).await?;
        record.machine = None;
        record.with_machine = false;
        record.health = Health::Well;
        self.keep(record).await?;
        let devices = self.plug_in(kept).await?;
        if kept.machine.is_on() {
            kept.machine.write_boot(&kept.record, &devices)?;
        }
        Ok(())
    }

    pub(super) async fn grow(&self, id: &str, size: u64) -> Result<Answer, Problem> {
        let mut volumes = self.volumes.lock().await;
        let record = volumes.get_mut(id).ok_or_else(|| no_volume(id))?;
        if size < record.size {
            return Err(Problem::invalid(format!(
                "volume {id} has {} bytes, and volumes only grow",
                record.size
            )));
        }
        let grown = Record {
            size,
            ..record.clone()
        };
        self.store.grow(&grown).await?;
        *record = grown;
        drop(volumes);
        self.answer_volume(id).await
    }

    pub(super) async fn set_volume(&self, id: &str, health: Health) -> Result<Answer, Problem> {
        let mut record = self.volume(id).await?;
        let name = record
            .machine
            .as_ref()
            .ok_or_else(|| Problem::conflict(format!("volume {id} is attached to nothing")))?;
        let kept = self.find(name).await?;
        let kept = kept.lock().await;
        let device = self.store.device(id).await?;
        let Some(device) =
            device.filter(|_| [Power::On, Power::Stopping].contains(&power_of(&kept)))
        else {
            return Err(Problem::conflict(format!("machine {name} is not on")));
        };
        volume::set_health(&kept.machine, &device, record.health, health).await?;
        record.health = health;
        self.keep(record).await?;
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

    pub(super) async fn list_volumes(&self, group: Option<&str>) -> Result<Answer, Problem> {
        let volumes = self.volumes.lock().await;
        let mut all = Vec::new();
        for volume in volumes.values() {
            if group.is_none_or(|group| group == volume.group) {
                all.push(self.shown(volume).await?);
            }
        }
        Ok(Answer::Volumes(all))
    }

    pub(super) async fn volume(&self, id: &str) -> Result<Record, Problem> {
        let volumes = self.volumes.lock().await;
        volumes.get(id).cloned().ok_or_else(|| no_volume(id))
    }

    async fn keep(&self, record: Record) -> Result<(), Problem> {
        self.store.write(&record)?;
        self.volumes.lock().await.insert(record.id.clone(), record);
        Ok(())
    }

    async fn answer_volume(&self, id: &str) -> Result<Answer, Problem> {
        Ok(Answer::Volume(self.shown(&self.volume(id).await?).await?))
    }

    async fn shown(&self, volume: &Record) -> anyhow::Result<protocol::Volume> {
        Ok(protocol::Volume {
            id: volume.id.clone(),
            group: volume.group.clone(),
            size: volume.size,
            machine: volume.machine.clone(),
            device: self.store.device(&volume.id).await?,
            health: volume.health,
        })
    }
}

fn no_volume(id: &str) -> Problem {
    Problem::not_found(format!("there is no volume {id}"))
}

/// In a frozen machine nothing can be done.
fn refuse_frozen(kept: &Kept) -> Result<(), Problem> {
    if power_of(kept) == Power::Frozen {
        return Err(Problem::conflict(format!(
            "machine {} is frozen",
            kept.record.name
        )));
    }
    Ok(())
}
