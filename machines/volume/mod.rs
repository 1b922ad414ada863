//! Disks that outlive machines: sparse files, shown to a machine as loop devices.
//!
//! A device has the same name in the machine as on the host (`/dev/loop7`), because tools
//! there look the names up in `/sys`; `/dev/disk/by-id` has the name that EC2's would
//! have. Like on EC2, it is the machine that makes a filesystem and mounts it.

mod health;
mod node;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::protocol::Health;
use crate::record;
use crate::run::tool;

pub use self::health::{FILL, set as set_health};
pub use self::node::{hide, is_mounted_in, link, show, unlink};

/// What is known of a volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub group: String,
    /// In bytes
    pub size: u64,
    pub machine: Option<String>,
    /// Whether it goes when its machine does
    pub with_machine: bool,
    #[serde(default)]
    pub health: Health,
}

/// Where a volume is kept.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// All of them.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn load(&self) -> anyhow::Result<Vec<Record>> {
        fs::create_dir_all(&self.folder)?;
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

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("data")
    }

    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, volume: &Record) -> anyhow::Result<()> {
        record::write(&self.folder.join(&volume.id).join("record.json"), volume)
    }

    /// An empty volume: it takes room as it is written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make(&self, volume: &Record) -> anyhow::Result<()> {
        fs::create_dir_all(self.folder.join(&volume.id))?;
        File::create(self.file(&volume.id))?.set_len(volume.size)?;
        self.write(volume)
    }

    /// # Errors
    /// If its files cannot be removed.
    pub async fn remove(&self, id: &str) -> anyhow::Result<()> {
        self.unplug(id).await?;
        let folder = self.folder.join(id);
        // Without its record, a half removed volume is none.
        fs::remove_file(folder.join("record.json"))?;
        tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await??;
        Ok(())
    }

    /// Its device on this host, if it has one.
    ///
    /// # Errors
    /// If `losetup` fails.
    pub async fn device(&self, id: &str) -> anyhow::Result<Option<String>> {
        let file = self.file(id);
        let said = tool("losetup")
            .line("--noheadings --output NAME --associated")
            .args([&file])
            .run()
            .await?;
        Ok(said.lines().next().map(|line| line.trim().to_owned()))
    }

    /// Its device, made if it has none.
    ///
    /// # Errors
    /// If no loop device can be had.
    pub async fn plug(&self, id: &str) -> anyhow::Result<String> {
        if let Some(device) = self.device(id).await? {
            return Ok(device);
        }
        let said = tool("losetup")
            .line("--find --show")
            .args([self.file(id)])
            .run()
            .await?;
        let device = said.trim().to_owned();
        if !Path::new(&device).exists() {
            bail!("losetup made no device for volume {id}");
        }
        // The kernel leaves it as read-only as whoever had it before has made it.
        tool("blockdev").args(["--setrw", &device]).run().await?;
        Ok(device)
    }

    /// A filesystem that hung when its last user went hangs on, mounted nowhere; whoever mounts it
    /// next finds it so, and its device stays in use. It is mounted once more, where nobody sees
    /// it, and goes on.
    ///
    /// # Errors
    /// If `losetup` fails.
    pub async fn thaw(&self, volume: &Record) -> anyhow::Result<()> {
        if volume.health != Health::Hanging {
            return Ok(());
        }
        if let Some(device) = self.device(&volume.id).await? {
            let thaw = "mount \"$1\" \"$2\" && fsfreeze --unfreeze \"$2\"";
            let tool = tool("unshare")
                .args(["--mount", "sh", "-c", thaw, "thaw", &device])
                .args([self.folder.join(&volume.id)]);
            // It hangs no more where a process that waited for it had to be let go on.
            if let Err(error) = tool.run().await {
                tracing::debug!(
                    volume = volume.id,
                    error = format!("{error:#}"),
                    "not thawed"
                );
            }
        }
        Ok(())
    }

    /// Takes its device away, if it has one.
    ///
    /// # Errors
    /// If `losetup` fails, or somebody still uses the device.
    pub async fn unplug(&self, id: &str) -> anyhow::Result<()> {
        if let Some(device) = self.device(id).await? {
            tool("losetup").args(["--detach", &device]).run().await?;
            // A device in use goes when its last user does.
            for _ in 0..50 {
                if self.device(id).await?.is_none() {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            bail!("volume {id} is still in use as {device}");
        }
        Ok(())
    }

    /// Makes it larger; a machine that has it sees that at once.
    ///
    /// # Errors
    /// If `losetup` fails.
    pub async fn grow(&self, volume: &Record) -> anyhow::Result<()> {
        let file = File::options().write(true).open(self.file(&volume.id));
        file.context("the volume has no file")?
            .set_len(volume.size)?;
        if let Some(device) = self.device(&volume.id).await? {
            tool("losetup")
                .args(["--set-capacity", &device])
                .run()
                .await?;
        }
        self.write(volume)
    }
}
