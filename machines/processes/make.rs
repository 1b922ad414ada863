//! Machines come and go.

use std::fs;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::machine::{Machine, Record};
use super::user_data::{self, Told};
use super::{Kept, Processes, SSH_PORT, address, machines_in};
use crate::protocol::{Answer, Make, Problem};
use crate::serve::{ZONE, is_name, new_id};

impl Processes {
    pub(super) async fn make(self: &Arc<Self>, make: Make) -> Result<Answer, Problem> {
        let told = match &make.user_data {
            Some(text) => user_data::read(text, &self.owner.name)?,
            None => Told::default(),
        };
        if make.volumes.len() > 1 {
            return Err(Problem::invalid(
                "a machine that is processes has no more than one volume",
            ));
        }
        let kept = self.place(&make, &told).await?;
        let name = kept.record.lock().await.name.clone();
        if let Err(problem) = self.furnish(&kept, &name, &make, &told).await {
            // What was asked for is not there, and nothing of it stays.
            if let Err(error) = self.destroy(&name).await {
                tracing::error!(machine = name, %error, "not destroyed after it could not be made");
            }
            return Err(problem);
        }
        self.show(&name).await
    }

    /// Gives it a name, an address, its files and, last, a record: without one, it is none.
    async fn place(&self, make: &Make, told: &Told) -> Result<Arc<Kept>, Problem> {
        let _one = self.making.lock().await;
        let instance_id = make.instance_id.clone().unwrap_or_else(|| new_id("i"));
        let name = make.name.clone().unwrap_or_else(|| instance_id.clone());
        for name in [&name, &instance_id] {
            if !is_name(name) {
                return Err(Problem::invalid(format!(
                    "{name:?} cannot be a name: small letters, digits and hyphens can, up to 63"
                )));
            }
        }
        for other in self.all().await {
            let other = other.record.lock().await;
            if other.name == name || other.instance_id == instance_id {
                return Err(Problem::conflict(format!(
                    "there is a machine {name} already"
                )));
            }
        }
        let machine = Machine {
            folder: machines_in(&self.folder).join(&name),
            owner: self.owner.clone(),
        };
        fs::create_dir(&machine.folder)?;
        let placed = self
            .settle(&machine, make, told, name.clone(), instance_id)
            .await;
        match placed {
            Ok(record) => {
                let record = Mutex::new(record);
                let kept = Arc::new(Kept { record, machine });
                self.machines.lock().await.insert(name, Arc::clone(&kept));
                Ok(kept)
            }
            Err(problem) => {
                machine.remove().await?;
                Err(problem)
            }
        }
    }

    async fn settle(
        &self,
        machine: &Machine,
        make: &Make,
        told: &Told,
        name: String,
        instance_id: String,
    ) -> Result<Record, Problem> {
        let ssh_port = told.ssh_port.unwrap_or(SSH_PORT);
        let address = address::take(make.address, ssh_port, &machine.folder)?;
        let record = Record {
            name,
            instance_id,
            group: make.group.clone(),
            image: make.image,
            zone: make.zone.clone().unwrap_or_else(|| ZONE.into()),
            address,
            ssh_port,
            is_cut_off: false,
            stopping: None,
            rebooting: None,
            token: None,
        };
        let keys = told.authorized_keys.iter().chain(&make.public_keys);
        let keys: Vec<String> = keys.cloned().collect();
        let made = async {
            machine.lay_out(&record, told, &keys).await?;
            machine.write_record(&record)
        };
        if let Err(error) = made.await {
            address::release(address, &machine.folder)?;
            return Err(error.into());
        }
        Ok(record)
    }

    /// Its volume, and power.
    async fn furnish(
        &self,
        kept: &Kept,
        name: &str,
        make: &Make,
        told: &Told,
    ) -> Result<(), Problem> {
        for line in &told.passed_over {
            kept.machine.say(&format!("user data: {line}"))?;
        }
        for new in &make.volumes {
            if let Err(why) = &self.may_mount {
                let line = format!("it has no volume, for nothing may be mounted here: {why}");
                kept.machine.say(&line)?;
                continue;
            }
            let mut new = new.clone();
            new.group.clone_from(&make.group);
            self.add_volume(new, Some(name)).await?;
            self.plug_in(&kept.machine, &*kept.record.lock().await)
                .await?;
        }
        if !make.off {
            self.start(name).await?;
        }
        Ok(())
    }

    pub(super) async fn destroy(&self, name: &str) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let (name, address, is_cut_off) = {
            let record = kept.record.lock().await;
            (record.name.clone(), record.address, record.is_cut_off)
        };
        if is_cut_off {
            // Its address will be another's.
            self.set_cut_off(&name, false).await?;
        }
        let _turn = kept.record.lock().await;
        let machine = &kept.machine;
        if !machine.folder.exists() {
            return Err(Problem::not_found(format!("there is no machine {name}")));
        }
        machine.marks().kill().await?;
        self.let_go_of_volume(machine, &name).await?;
        address::release(address, &machine.folder)?;
        machine.remove().await?;
        self.machines.lock().await.remove(&name);
        Ok(())
    }

    /// Destroys the machines and volumes of a group, or all.
    pub async fn destroy_group(&self, group: Option<&str>) -> Result<(), Problem> {
        let fits = |own: &str| group.is_none_or(|group| group == own);
        let mut problem = None;
        for kept in self.all().await {
            let (name, own) = {
                let record = kept.record.lock().await;
                (record.name.clone(), record.group.clone())
            };
            // One that resists keeps no other.
            if fits(&own)
                && let Err(error) = self.destroy(&name).await
            {
                tracing::error!(machine = name, %error, "not destroyed");
                problem = Some(error);
            }
        }
        let volumes: Vec<_> = {
            let volumes = self.volumes.lock().await;
            let own = volumes.values().filter(|volume| fits(&volume.group));
            own.map(|volume| volume.id.clone()).collect()
        };
        for id in volumes {
            if let Err(error) = self.destroy_volume(&id).await {
                tracing::error!(volume = id, %error, "not destroyed");
                problem = Some(error);
            }
        }
        problem.map_or(Ok(()), Err)
    }
}
