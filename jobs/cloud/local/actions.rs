//! The local cloud as a [`Cloud`].

use anyhow::{anyhow, bail};

use super::server::{self, LocalServer};
use super::{LocalCloud, check_name};
use crate::cloud::{Cloud, CloudAction, Done, Instance, InstanceState, Unsupported, Volume};

const NO_VOLUME: Unsupported = Unsupported("this local server has no volume of its own");

impl Cloud for LocalCloud {
    async fn describe(&self, instance_id: &str) -> anyhow::Result<Instance> {
        check_name(instance_id)?;
        let dir = self.servers_dir().join(instance_id);
        let sshd = server::sshd(&dir);
        let (state, word) = if !dir.join("server.json").exists() {
            (InstanceState::Terminated, "is gone")
        } else if sshd.is_some() {
            (InstanceState::Running, "is running")
        } else {
            (InstanceState::Stopped, "is stopped")
        };
        Ok(Instance {
            state,
            detail: format!("local instance {instance_id} {word}"),
            boot: sshd.map(|p| format!("{}-{}", p.pid, p.started)),
        })
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

    async fn start(&self, instance_id: &str) -> Done {
        let boot = self.instance(instance_id)?.plug().await?;
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
    fn instance(&self, instance_id: &str) -> anyhow::Result<LocalServer> {
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
