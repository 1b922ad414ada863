//! A local server's volume: a tmpfs that its clusters' data and logs live on, so
//! that running out of room, going read-only and growing are real.
//!
//! It is a disk on a network: it stays, with what is on it, while its server is
//! stopped. It does not outlive this machine.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::statvfs::statvfs;

use super::mount::{is_mounted, mount_options, privileged};
use super::processes;
use super::server::LocalServer;
use crate::cloud::Volume;

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// How long a command that has just ended may keep a volume busy.
const BUSY: Duration = Duration::from_secs(5);

/// How a volume that went read-only becomes writable again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// By the next boot, which mounts it anew.
    Boot,
    /// By attaching it again, and by nothing less.
    Reattach,
}

#[derive(Clone, Copy)]
enum Mode {
    ReadOnly,
    Writable,
}

impl LocalServer {
    /// Where its clusters' data and logs are.
    pub(super) fn storage(&self) -> PathBuf {
        match self.settings.volume_mib {
            Some(_) => self.mount_point(),
            None => self.path("pg"),
        }
    }

    fn mount_point(&self) -> PathBuf {
        self.path("volume")
    }

    fn source(&self) -> String {
        format!("drover-{}", self.name)
    }

    /// Lies there while the volume is detached, or so broken that only attaching
    /// it again helps.
    fn held(&self) -> PathBuf {
        self.path("volume.held")
    }

    fn ballast(&self) -> PathBuf {
        self.mount_point().join("ballast")
    }

    /// Its volume, if it has one.
    ///
    /// # Errors
    /// If it should have one, and it is not mounted.
    pub fn volume(&self) -> anyhow::Result<Option<Volume>> {
        if self.settings.volume_mib.is_none() {
            return Ok(None);
        }
        Ok(Some(Volume {
            id: format!("vol-{}", self.name),
            mount: Some(self.mount_point().to_string_lossy().into_owned()),
            device: Some(self.source()),
            size_bytes: self.room()?.0,
        }))
    }

    /// Bytes on its volume: all, and those still free.
    fn room(&self) -> anyhow::Result<(u64, u64)> {
        if self.settings.volume_mib.is_none() {
            bail!(
                "server {} has no volume of its own; `local create --volume-mib …` makes servers \
                 that have one",
                self.name
            );
        }
        let mount_point = self.mount_point();
        if !is_mounted(&mount_point)? {
            bail!(
                "the volume of server {} is not mounted; `local plug` mounts it",
                self.name
            );
        }
        let seen = statvfs(&mount_point)
            .with_context(|| format!("cannot look at {}", mount_point.display()))?;
        let bytes = |blocks| blocks * seen.fragment_size();
        Ok((bytes(seen.blocks()), bytes(seen.blocks_available())))
    }

    /// Mounts its volume, if it has one that is not mounted.
    pub(super) async fn mount(&self) -> anyhow::Result<()> {
        let mount_point = self.mount_point();
        let Some(mib) = self.settings.volume_mib else {
            return Ok(());
        };
        if is_mounted(&mount_point)? {
            return Ok(());
        }
        self.owner.make_dir(&mount_point, 0o755)?;
        let (uid, gid) = self.owner.ids();
        let options = format!("nosuid,nodev,mode=0755,uid={uid},gid={gid},size={mib}m");
        let source = self.source();
        privileged(
            "/usr/bin/mount",
            &["-t", "tmpfs", "-o", &options, &source].map(OsStr::new),
            &mount_point,
        )
        .await
        .with_context(|| format!("cannot mount a volume for server {}", self.name))?;
        for dir in ["data", "log"] {
            self.owner.make_dir(&mount_point.join(dir), 0o755)?;
        }
        Ok(())
    }

    /// As a boot leaves its volume: mounted, and writable unless it is held.
    pub(super) async fn mount_anew(&self) -> anyhow::Result<()> {
        self.mount().await?;
        if self.settings.volume_mib.is_some() && !self.held().exists() {
            self.remount(Mode::Writable, self.room()?.0).await?;
        }
        Ok(())
    }

    /// Takes its volume away, with all that is on it.
    pub(super) async fn unmount(&self) -> anyhow::Result<()> {
        let mount_point = self.mount_point();
        let deadline = Instant::now() + BUSY;
        while is_mounted(&mount_point)? {
            match privileged("/usr/bin/umount", &[], &mount_point).await {
                Err(e) if Instant::now() > deadline => return Err(e),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn remount(&self, mode: Mode, size: u64) -> anyhow::Result<()> {
        let mode = match mode {
            Mode::ReadOnly => "ro",
            Mode::Writable => "rw",
        };
        // All of them: those that are left out fall back to mount's own.
        let options = format!("remount,{mode},nosuid,nodev,size={size}");
        let source = self.source();
        privileged(
            "/usr/bin/mount",
            &["-o", &options, &source].map(OsStr::new),
            &self.mount_point(),
        )
        .await
        .with_context(|| format!("cannot remount the volume of server {}", self.name))
    }

    /// Gives its volume at least this many bytes, also while clusters run on it.
    ///
    /// # Errors
    /// If it has none, or cannot be remounted.
    pub async fn grow_volume(&self, to_bytes: u64) -> anyhow::Result<()> {
        let _turn = self.turn().await?;
        let (size, _) = self.room()?;
        if size >= to_bytes {
            return Ok(());
        }
        let mib = u32::try_from(to_bytes.div_ceil(MIB)).context("a volume that large")?;
        // Kept first: whoever mounts it anew must not make it smaller.
        let mut grown = self.clone();
        grown.settings.volume_mib = Some(mib);
        grown.save()?;
        let mode = if self.volume_is_writable()? {
            Mode::Writable
        } else {
            Mode::ReadOnly
        };
        self.remount(mode, u64::from(mib) * MIB).await
    }

    /// Whether its volume is mounted for writing.
    ///
    /// # Errors
    /// If the list of mounts cannot be read.
    pub fn volume_is_writable(&self) -> anyhow::Result<bool> {
        Ok(mount_options(&self.mount_point())?.is_some_and(|o| o.split(',').any(|o| o == "rw")))
    }

    /// Makes its volume read-only, as Linux does after an error of the disk. What
    /// writes there dies of it: its clusters are killed.
    ///
    /// # Errors
    /// If it has none, or something survives.
    pub async fn make_volume_read_only(&self, cure: Cure) -> anyhow::Result<()> {
        let _turn = self.turn().await?;
        let (size, _) = self.room()?;
        match cure {
            Cure::Boot => {}
            Cure::Reattach => self.owner.write(&self.held(), "", 0o644)?,
        }
        self.kill_clusters().await?;
        self.remount(Mode::ReadOnly, size).await
    }

    /// Makes its volume writable again, whatever was wrong with it. Its clusters
    /// stay down.
    ///
    /// # Errors
    /// If it has none, or it cannot be remounted.
    pub async fn make_volume_writable(&self) -> anyhow::Result<()> {
        let _turn = self.turn().await?;
        let (size, _) = self.room()?;
        self.remount(Mode::Writable, size).await?;
        match std::fs::remove_file(self.held()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", self.held().display())),
        }
    }

    /// Takes its volume away from it: its clusters shut down, and nothing writes
    /// there until [`LocalServer::make_volume_writable`] gives it back.
    ///
    /// # Errors
    /// If it has none, or something survives.
    pub async fn detach_volume(&self) -> anyhow::Result<()> {
        self.room()?;
        {
            let _turn = self.turn().await?;
            self.shut_clusters_down().await?;
        }
        self.make_volume_read_only(Cure::Reattach).await
    }

    async fn kill_clusters(&self) -> anyhow::Result<()> {
        let data: Vec<_> = self.clusters()?.iter().map(|c| self.data_dir(c)).collect();
        let killed = processes::kill_all(|p| data.iter().any(|d| p.serves(d)));
        killed.await.map(drop)
    }

    /// Fills its volume but for this many MiB. Gives how many bytes that took.
    ///
    /// # Errors
    /// If it has none, or has less room than that.
    pub fn fill_volume(&self, leave_mib: u32) -> anyhow::Result<u64> {
        self.empty_volume()?;
        let (_, free) = self.room()?;
        let leave = u64::from(leave_mib) * MIB;
        let Some(bytes) = free.checked_sub(leave).filter(|bytes| *bytes > 0) else {
            let (name, free) = (&self.name, free / MIB);
            bail!("the volume of server {name} has {free} MiB left, no more than that");
        };
        let path = self.ballast();
        let fill = || {
            let mut file = std::fs::File::create(&path)?;
            std::io::copy(&mut std::io::repeat(0).take(bytes), &mut file)
        };
        fill().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes away what [`LocalServer::fill_volume`] wrote.
    ///
    /// # Errors
    /// If it has no volume, or one that cannot be written to.
    pub fn empty_volume(&self) -> anyhow::Result<()> {
        self.room()?;
        match std::fs::remove_file(self.ballast()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.with_context(|| format!("cannot remove {}", self.ballast().display()))
            }
        }
    }
}
