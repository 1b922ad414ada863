//! The local cloud as a [`Cloud`].

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use drover::model::SubjectId;

use super::made::ZONES;
use super::owner::Owner;
use super::server::{self, LocalServer, SSH_PORT};
use super::{LocalCloud, check_name};
use crate::cloud::{
    Cloud, CloudAction, Done, Instance, InstanceState, Login, Marked, MarkedSort, NewInstance,
    Status, Unsupported, Volume,
};

const NO_VOLUME: Unsupported = Unsupported("this local server has no volume of its own");

impl Cloud for LocalCloud {
    async fn describe(&self, instance_id: &str) -> Done<Instance> {
        Ok(self.instance_now(instance_id)?)
    }

    async fn zones(&self) -> Done<Vec<String>> {
        Ok(ZONES.map(str::to_owned).to_vec())
    }

    fn login(&self) -> anyhow::Result<Login> {
        Ok(Login {
            user: Owner::find()?.name,
            port: SSH_PORT,
        })
    }

    async fn find(&self, id: SubjectId) -> Done<Option<Instance>> {
        let server = self.made_for(id)?;
        let instance = server.map(|server| self.instance_now(&server.name));
        Ok(instance.transpose()?)
    }

    fn consistent_within(&self) -> Duration {
        Duration::ZERO
    }

    async fn create(&self, new: &NewInstance) -> Done<Instance> {
        if self.made_for(new.id)?.is_none() {
            self.has_room(Some(&new.size))?;
        }
        let server = self.make(new).await?;
        Ok(self.instance_now(&server.name)?)
    }

    async fn destroy(&self, instance_id: &str) -> Done {
        check_name(instance_id)?;
        match self.server(instance_id)? {
            Some(server) => Ok(server.destroy().await?),
            None => Ok(self.clear_one(instance_id)?),
        }
    }

    /// A volume goes with its server: a tmpfs cannot be kept.
    async fn volumes_of(&self, id: SubjectId) -> Done<Vec<String>> {
        let volume = match self.made_for(id)? {
            Some(server) if server.settings.volume_mib.is_some() => server.volume().ok().flatten(),
            Some(_) | None => None,
        };
        Ok(volume.into_iter().map(|volume| volume.id).collect())
    }

    async fn delete_volume(&self, _volume_id: &str) -> Done {
        Ok(())
    }

    async fn resize(&self, instance_id: &str, size: &str) -> Done {
        let mut server = self.instance(instance_id)?;
        if server.is_up() {
            return Err(anyhow!(
                "local instance {instance_id} runs; it is resized when it is stopped"
            )
            .into());
        }
        server.settings.size = Some(size.to_owned());
        Ok(server.save()?)
    }

    async fn statuses(&self, instance_ids: &[String]) -> Done<Vec<(String, Status)>> {
        let mut all = Vec::new();
        for id in instance_ids {
            let instance = self.instance_now(id)?;
            let (state, check) = match instance.state {
                InstanceState::Running => ("running", "ok"),
                InstanceState::Terminated => continue,
                InstanceState::Pending
                | InstanceState::Stopping
                | InstanceState::Stopped
                | InstanceState::ShuttingDown
                | InstanceState::Unknown(_) => ("stopped", "not-applicable"),
            };
            // A machine that hangs does not answer the check that looks into it.
            let sshd = server::sshd(&self.servers_dir().join(id));
            let looked_into = match sshd.is_some_and(|sshd| sshd.is_stopped()) {
                true => "impaired",
                false => check,
            };
            let status = Status {
                state: state.into(),
                instance_check: looked_into.into(),
                system_check: check.into(),
                volume_check: check.into(),
                events: vec![],
            };
            all.push((id.clone(), status));
        }
        Ok(all)
    }

    async fn marked(&self) -> Done<Vec<Marked>> {
        let servers = self.made()?.into_iter().map(|server| Marked {
            detail: format!("local server at {}", server.settings.address),
            subject: server.settings.made_for,
            id: server.name,
            sort: MarkedSort::Instance,
        });
        Ok(servers.collect())
    }

    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported> {
        match action {
            CloudAction::Reboot | CloudAction::StopStart => Ok(()),
            CloudAction::GrowVolume | CloudAction::ReattachVolume => {
                match self.instance(instance_id) {
                    Ok(server) if server.settings.volume_mib.is_none() => Err(NO_VOLUME),
                    // The action itself says what is wrong.
                    Ok(_) | Err(_) => Ok(()),
                }
            }
        }
    }

    async fn reboot(&self, instance_id: &str, token: &str) -> Done {
        let boot = self.instance(instance_id)?.reboot(token).await?;
        note(instance_id, &boot.failed);
        Ok(())
    }

    async fn stop(&self, instance_id: &str) -> Done {
        Ok(self.instance(instance_id)?.shut_down().await?)
    }

    async fn cut_power(&self, instance_id: &str) -> Done {
        self.instance(instance_id)?.unplug().await?;
        Ok(())
    }

    async fn start(&self, instance_id: &str) -> Done {
        let server = self.instance(instance_id)?;
        if !server.is_up() {
            self.has_room(server.settings.size.as_deref())?;
        }
        let boot = server.plug().await?;
        note(instance_id, &boot.failed);
        Ok(())
    }

    async fn volumes(&self, instance_id: &str) -> Done<Vec<Volume>> {
        let volume = self.instance(instance_id)?.volume()?;
        Ok(volume.into_iter().collect())
    }

    async fn grow_volume(&self, instance_id: &str, volume_id: &str, to_bytes: u64) -> Done {
        let server = self.with_volume(instance_id, volume_id)?;
        Ok(server.grow_volume(to_bytes).await?)
    }

    /// A tmpfs cannot be put away and brought back. What is lost and gained by
    /// detaching and attaching is the same: nothing runs there, and what comes
    /// back can be written to.
    async fn detach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        let server = self.with_volume(instance_id, volume_id)?;
        Ok(server.detach_volume().await?)
    }

    async fn attach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        let server = self.with_volume(instance_id, volume_id)?;
        Ok(server.make_volume_writable().await?)
    }
}

impl LocalCloud {
    fn instance_now(&self, instance_id: &str) -> anyhow::Result<Instance> {
        check_name(instance_id)?;
        let dir = self.servers_dir().join(instance_id);
        let settings = self.server(instance_id).ok().flatten().map(|s| s.settings);
        let sshd = server::sshd(&dir);
        let (state, word) = if !dir.join("server.json").exists() {
            (InstanceState::Terminated, "is gone")
        } else if sshd.is_some() {
            (InstanceState::Running, "is running")
        } else {
            (InstanceState::Stopped, "is stopped")
        };
        Ok(Instance {
            id: instance_id.to_owned(),
            state,
            detail: format!("local instance {instance_id} {word}"),
            boot: sshd.map(|p| format!("{}-{}", p.pid, p.started)),
            address: settings.as_ref().map(|s| s.address.to_string()),
            zone: settings.as_ref().map(|s| s.zone.clone()),
            size: settings.and_then(|s| s.size),
        })
    }

    /// Removes what a destruction that was cut off has left.
    fn clear_one(&self, instance_id: &str) -> anyhow::Result<()> {
        let dir = self.servers_dir().join(instance_id);
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", dir.display())),
        }
    }

    pub(in crate::cloud) fn instance(&self, instance_id: &str) -> anyhow::Result<LocalServer> {
        check_name(instance_id)?;
        match self.server(instance_id)? {
            Some(server) => Ok(server),
            None => bail!("local instance {instance_id} is gone"),
        }
    }

    fn with_volume(&self, instance_id: &str, volume_id: &str) -> Done<LocalServer> {
        let server = self.instance(instance_id)?;
        match server.volume()? {
            None => Err(NO_VOLUME.into()),
            Some(volume) if volume.id == volume_id => Ok(server),
            Some(_) => Err(anyhow!("{instance_id} has no volume {volume_id}").into()),
        }
    }
}

/// A cloud does not look into its instances: what failed there is for the log.
fn note(instance_id: &str, failed: &[anyhow::Error]) {
    for why in failed {
        tracing::warn!(instance_id, "booted, but {why:#}");
    }
}
