//! A machine's volume, and what can be wrong with it: running out of room, going read-only and
//! growing are real.

use anyhow::Context;
use drover_machines::protocol::{Health, Kind, Volume};

use super::server::LocalServer;

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// How a volume that went read-only becomes writable again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// By the next boot, which mounts it anew.
    Boot,
    /// By attaching it again, and by nothing less.
    Reattach,
}

impl LocalServer {
    /// Its volume, if it has one.
    ///
    /// # Errors
    /// If the daemon does not say.
    pub async fn volume(&self) -> anyhow::Result<Option<Volume>> {
        let volumes = self.cloud.client.volumes(None).await;
        let volumes = volumes.map_err(|e| self.cloud.told(e))?;
        let mut own = volumes
            .into_iter()
            .filter(|volume| volume.machine.as_ref() == Some(&self.name));
        Ok(own.next())
    }

    async fn device(&self) -> anyhow::Result<String> {
        let device = self.volume().await?.and_then(|volume| volume.device);
        device.with_context(|| {
            format!(
                "server {} has no volume of its own; `local create --volume-mib …` makes servers \
                 that have one",
                self.name
            )
        })
    }

    /// Mounts its volume, at each boot too.
    ///
    /// # Errors
    /// If it has none, or it cannot be mounted.
    pub async fn mount_volume(&self) -> anyhow::Result<()> {
        let device = self.device().await?;
        self.does(include_str!("scripts/mount_volume.sh"), &[&device], "")
            .await
            .map(drop)
    }

    /// Makes its volume read-only, as Linux does after an error of the disk. What
    /// writes there dies of it.
    ///
    /// # Errors
    /// If it has none, or none that is mounted.
    pub async fn make_volume_read_only(&self, cure: Cure) -> anyhow::Result<()> {
        if self.set_where_processes_are(Health::ReadOnly).await? {
            return Ok(());
        }
        let device = self.device().await?;
        let until = match cure {
            Cure::Boot => "boot",
            Cure::Reattach => "reattach",
        };
        let script = include_str!("scripts/readonly_volume.sh");
        self.does(script, &[&device, until], "").await.map(drop)
    }

    /// Makes its volume writable again, whatever was wrong with it. Its clusters
    /// stay down.
    ///
    /// # Errors
    /// If it has none, or it cannot be mounted anew.
    pub async fn make_volume_writable(&self) -> anyhow::Result<()> {
        if self.set_where_processes_are(Health::Well).await? {
            return Ok(());
        }
        let device = self.device().await?;
        self.does(include_str!("scripts/writable_volume.sh"), &[&device], "")
            .await
            .map(drop)
    }

    /// Whether its volume is mounted for writing.
    ///
    /// # Errors
    /// If it has none, or none that is mounted.
    pub async fn volume_is_writable(&self) -> anyhow::Result<bool> {
        let options = "findmnt -nro OPTIONS -S \"$1\" | head -n 1 | grep .";
        let device = self.device().await?;
        let options = self.does(options, &[&device], "").await?;
        Ok(options.split(',').any(|option| option == "rw"))
    }

    /// Where machines are processes their daemon alone can mount, and its word is enough;
    /// else false, and what is done to a disk is done within.
    async fn set_where_processes_are(&self, health: Health) -> anyhow::Result<bool> {
        let volume = self.volume().await?.map(|volume| volume.id);
        match (self.cloud.about().await?.kind, volume) {
            (Kind::Processes, Some(volume)) => {
                let set = self.cloud.client.set_volume(&volume, health).await;
                set.map_err(|e| self.cloud.told(e))?;
                Ok(true)
            }
            (Kind::Processes, None) | (Kind::Machines, _) => Ok(false),
        }
    }

    /// Fills its volume but for this many MiB. Gives how many bytes that took.
    ///
    /// # Errors
    /// If it has none, or has less room than that.
    pub async fn fill_volume(&self, leave_mib: u32) -> anyhow::Result<u64> {
        let leave = (u64::from(leave_mib) * MIB).to_string();
        let said = self.fill(&leave).await?;
        said.parse().with_context(|| format!("it says {said:?}"))
    }

    /// Takes away what [`LocalServer::fill_volume`] wrote.
    ///
    /// # Errors
    /// If it has no volume, or one that cannot be written to.
    pub async fn empty_volume(&self) -> anyhow::Result<()> {
        self.fill("").await.map(drop)
    }

    async fn fill(&self, leave: &str) -> anyhow::Result<String> {
        self.device().await?;
        self.does(include_str!("scripts/fill_volume.sh"), &[leave], "")
            .await
    }
}
