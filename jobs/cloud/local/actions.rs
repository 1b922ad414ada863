//! The local cloud as a [`Cloud`].

use std::time::Duration;

use anyhow::anyhow;
use drover::model::SubjectId;
use drover_machines::protocol::{Health, Machine, Power};

use super::server::LocalServer;
use super::{LocalCloud, ZONES, mark};
use crate::cloud::{
    Cloud, CloudAction, CloudError, Done, Instance, InstanceState, Login, Marked, MarkedSort,
    NewInstance, Status, Unsupported, Volume,
};

const NO_VOLUME: Unsupported = Unsupported("this local server has no volume of its own");

impl Cloud for LocalCloud {
    async fn describe(&self, instance_id: &str) -> Done<Instance> {
        let machine = self.machine(instance_id).await?;
        let Some(machine) = machine else {
            return Ok(Instance {
                id: instance_id.to_owned(),
                state: InstanceState::Terminated,
                detail: format!("local instance {instance_id} is gone"),
                boot: None,
                address: None,
                zone: None,
                size: None,
            });
        };
        let (state, word) = match machine.power {
            Power::On | Power::Frozen => (InstanceState::Running, "running"),
            Power::Stopping => (InstanceState::Stopping, "stopping"),
            Power::Off => (InstanceState::Stopped, "stopped"),
        };
        Ok(Instance {
            id: instance_id.to_owned(),
            detail: format!("local instance {instance_id} is {word}"),
            boot: machine.boot.filter(|_| state == InstanceState::Running),
            state,
            address: Some(machine.address.to_string()),
            size: self.kept(instance_id)?.and_then(|kept| kept.size),
            zone: Some(machine.zone),
        })
    }

    async fn zones(&self) -> Done<Vec<String>> {
        Ok(ZONES.map(str::to_owned).to_vec())
    }

    async fn login(&self) -> Done<Login> {
        self.way_in().await
    }

    async fn find(&self, id: SubjectId) -> Done<Option<Instance>> {
        match self.made_for(id).await? {
            Some(server) => Ok(Some(self.describe(&server.name).await?)),
            None => Ok(None),
        }
    }

    fn consistent_within(&self) -> Duration {
        Duration::ZERO
    }

    async fn create(&self, new: &NewInstance) -> Done<Instance> {
        let server = match self.made_for(new.id).await? {
            Some(server) => server,
            None => {
                self.has_room(Some(&new.size))?;
                self.make(new).await?
            }
        };
        self.describe(&server.name).await
    }

    async fn destroy(&self, instance_id: &str) -> Done {
        self.take_away(instance_id).await
    }

    /// Those of its group. They go with it.
    async fn volumes_of(&self, id: SubjectId) -> Done<Vec<String>> {
        let volumes = self.client.volumes(Some(&id.to_string())).await;
        let volumes = volumes.map_err(|e| self.told(e))?;
        Ok(volumes.into_iter().map(|volume| volume.id).collect())
    }

    async fn delete_volume(&self, volume_id: &str) -> Done {
        match self.client.destroy_volume(volume_id).await {
            Err(e) if !e.is_not_found() => Err(self.told(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn resize(&self, instance_id: &str, size: &str) -> Done {
        let mut server = self.instance(instance_id).await?;
        if server.machine().await?.power != Power::Off {
            return Err(anyhow!(
                "local instance {instance_id} runs; it is resized when it is stopped"
            )
            .into());
        }
        server.kept.size = Some(size.to_owned());
        Ok(server.keep()?)
    }

    async fn statuses(&self, instance_ids: &[String]) -> Done<Vec<(String, Status)>> {
        let machines = self.client.list(None).await.map_err(|e| self.told(e))?;
        let volumes = self.client.volumes(None).await;
        let volumes = volumes.map_err(|e| self.told(e))?;
        let known = machines.iter().filter(|m| instance_ids.contains(&m.name));
        let status = |machine: &Machine| {
            let (state, check) = match machine.power {
                Power::On | Power::Frozen => ("running", "ok"),
                Power::Stopping => ("stopping", "not-applicable"),
                Power::Off => ("stopped", "not-applicable"),
            };
            let hangs = volumes.iter().any(|volume| {
                volume.machine.as_ref() == Some(&machine.name) && volume.health == Health::Hanging
            });
            let or_impaired = |bad: bool| if bad { "impaired" } else { check }.to_owned();
            Status {
                state: state.into(),
                // A machine that hangs does not answer the check that looks into it.
                instance_check: or_impaired(machine.power == Power::Frozen),
                system_check: check.into(),
                volume_check: or_impaired(hangs && check == "ok"),
                events: vec![],
            }
        };
        Ok(known.map(|m| (m.name.clone(), status(m))).collect())
    }

    async fn marked(&self) -> Done<Vec<Marked>> {
        let machines = self.client.list(None).await.map_err(|e| self.told(e))?;
        let volumes = self.client.volumes(None).await;
        let volumes = volumes.map_err(|e| self.told(e))?;
        let machines = machines.into_iter().filter_map(|machine| {
            Some(Marked {
                subject: Some(mark(&machine.group)?),
                detail: format!("local machine at {}, {}", machine.address, machine.power),
                id: machine.name,
                sort: MarkedSort::Instance,
            })
        });
        let volumes = volumes.into_iter().filter_map(|volume| {
            Some(Marked {
                subject: Some(mark(&volume.group)?),
                detail: format!("local volume of {} bytes", volume.size),
                id: volume.id,
                sort: MarkedSort::Volume,
            })
        });
        Ok(machines.chain(volumes).collect())
    }

    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported> {
        match (action, self.kept(instance_id)) {
            (CloudAction::GrowVolume | CloudAction::ReattachVolume, Ok(Some(kept)))
                if !kept.volume =>
            {
                Err(NO_VOLUME)
            }
            // The action itself says what is wrong.
            _ => Ok(()),
        }
    }

    /// One that is off is turned on.
    async fn reboot(&self, instance_id: &str, token: &str) -> Done {
        let mut server = self.instance(instance_id).await?;
        if server.machine().await?.power == Power::Off {
            server.kept.reboot = Some(token.to_owned());
            server.keep()?;
            return self.start(instance_id).await;
        }
        if server.kept.reboot.as_deref() == Some(token) {
            return Ok(());
        }
        let asked = self.client.reboot(instance_id, Some(token)).await;
        asked.map_err(|e| self.told(e))
    }

    /// What cannot hear is not waited for.
    async fn stop(&self, instance_id: &str) -> Done {
        let machine = self.instance(instance_id).await?.machine().await?;
        if machine.power == Power::Frozen {
            return self.cut_power(instance_id).await;
        }
        let stopped = self.client.stop(instance_id, Duration::ZERO).await;
        stopped.map_err(|e| self.told(e))
    }

    async fn cut_power(&self, instance_id: &str) -> Done {
        let killed = self.client.kill(instance_id).await;
        killed.map_err(|e| self.told(e))
    }

    async fn start(&self, instance_id: &str) -> Done {
        let server = self.instance(instance_id).await?;
        if server.machine().await?.power == Power::Off {
            self.has_room(server.kept.size.as_deref())?;
        }
        let started = self.client.start(instance_id).await;
        started.map_err(|e| self.told(e))
    }

    async fn volumes(&self, instance_id: &str) -> Done<Vec<Volume>> {
        let volumes = self.client.volumes(None).await;
        let volumes = volumes.map_err(|e| self.told(e))?;
        let own = volumes
            .into_iter()
            .filter(|volume| volume.machine.as_deref() == Some(instance_id));
        let seen = own.map(|volume| Volume {
            id: volume.id,
            mount: None,
            device: volume.device,
            size_bytes: volume.size,
        });
        Ok(seen.collect())
    }

    async fn grow_volume(&self, instance_id: &str, volume_id: &str, to_bytes: u64) -> Done {
        let volume = self.with_volume(instance_id, volume_id).await?;
        if volume.size_bytes >= to_bytes {
            return Ok(());
        }
        let grown = self.client.grow(volume_id, to_bytes).await;
        grown.map(drop).map_err(|e| self.told(e))
    }

    async fn detach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        self.instance(instance_id).await?;
        let all = self.client.volumes(None).await.map_err(|e| self.told(e))?;
        let there = all.into_iter().find(|volume| volume.id == volume_id);
        let on = there.map(|volume| volume.machine);
        match on.ok_or_else(|| anyhow!("there is no volume {volume_id}"))? {
            None => Ok(()),
            Some(machine) if machine == instance_id => {
                let detached = self.client.detach(volume_id).await;
                detached.map(drop).map_err(|e| self.told(e))
            }
            Some(other) => Err(anyhow!("volume {volume_id} is attached to {other}").into()),
        }
    }

    async fn attach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        let attached = self.client.attach(volume_id, instance_id).await;
        attached.map(drop).map_err(|e| self.told(e))
    }
}

impl LocalCloud {
    pub(in crate::cloud) async fn instance(&self, instance_id: &str) -> Done<LocalServer> {
        let server = self.server(instance_id).await?;
        server.ok_or_else(|| anyhow!("local instance {instance_id} is gone").into())
    }

    async fn with_volume(&self, instance_id: &str, volume_id: &str) -> Done<Volume> {
        self.instance(instance_id).await?;
        let mut volumes = self.volumes(instance_id).await?;
        if volumes.is_empty() {
            return Err(CloudError::Unsupported(NO_VOLUME));
        }
        volumes.retain(|volume| volume.id == volume_id);
        let found = volumes.pop();
        found.ok_or_else(|| anyhow!("{instance_id} has no volume {volume_id}").into())
    }
}
