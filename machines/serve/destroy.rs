//! Machines go, and leave nothing.

use std::sync::Arc;

use super::world::World;
use crate::protocol::Problem;
use crate::volume;

impl World {
    pub(super) async fn destroy(self: &Arc<Self>, name: &str) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        {
            let mut kept = kept.lock().await;
            let name = kept.record.name.clone();
            if !kept.machine.folder.exists() {
                return Err(Problem::not_found(format!("there is no machine {name}")));
            }
            kept.machine.cut_power().await?;
            kept.metadata = None;
            self.let_go_of_volumes(&name).await?;
            self.network
                .lock()
                .await
                .disconnect(&name, &kept.machine.port)
                .await?;
            kept.machine.remove().await?;
            self.machines.lock().await.remove(&name);
        }
        self.apply_faults().await?;
        self.tidy().await
    }

    /// Volumes that go with a machine go; others are free.
    async fn let_go_of_volumes(&self, name: &str) -> Result<(), Problem> {
        let mut volumes = self.volumes.lock().await;
        let own: Vec<volume::Record> = volumes
            .values()
            .filter(|volume| volume.machine.as_deref() == Some(name))
            .cloned()
            .collect();
        for mut volume in own {
            self.store.thaw(&volume).await?;
            if volume.with_machine {
                self.store.remove(&volume.id).await?;
                volumes.remove(&volume.id);
            } else {
                self.store.unplug(&volume.id).await?;
                volume.machine = None;
                volume.health = crate::protocol::Health::Well;
                self.store.write(&volume)?;
                volumes.insert(volume.id.clone(), volume);
            }
        }
        Ok(())
    }

    /// Destroys the machines and volumes of a group, or all.
    pub async fn destroy_group(self: &Arc<Self>, group: Option<&str>) -> Result<(), Problem> {
        let fits = |own: &str| group.is_none_or(|group| group == own);
        let mut problem = None;
        for kept in self.all().await {
            let (name, own) = {
                let kept = kept.lock().await;
                (kept.record.name.clone(), kept.record.group.clone())
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
        self.tidy().await?;
        problem.map_or(Ok(()), Err)
    }

    /// Without machines, there is no network either.
    async fn tidy(&self) -> Result<(), Problem> {
        let _nobody_makes_one = self.making.lock().await;
        if self.machines.lock().await.is_empty() {
            self.network.lock().await.remove().await?;
        }
        Ok(())
    }
}
