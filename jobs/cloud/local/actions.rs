//! The local cloud as a [`Cloud`].

use anyhow::bail;

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

    async fn volumes(&self, _instance_id: &str) -> Done<Vec<Volume>> {
        Ok(vec![])
    }

    async fn grow_volume(&self, _instance_id: &str, _volume_id: &str, _to_bytes: u64) -> Done {
        Err(NO_VOLUME.into())
    }

    async fn detach_volume(&self, _instance_id: &str, _volume_id: &str) -> Done {
        Err(NO_VOLUME.into())
    }

    async fn attach_volume(&self, _instance_id: &str, _volume_id: &str) -> Done {
        Err(NO_VOLUME.into())
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
}

/// A cloud does not look into its instances: what failed there is for the log.
fn note(instance_id: &str, failed: &[anyhow::Error]) {
    for why in failed {
        tracing::warn!(instance_id, "booted, but {why:#}");
    }
}
