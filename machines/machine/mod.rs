//! One machine: its disk, its power, and what runs in it.

mod cgroup;
mod clock;
mod console;
mod exec;
mod keeper;
mod root;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use self::cgroup::Cgroup;
use self::keeper::Boot;
use crate::image::Image;
use crate::network::Port;
use crate::run::tool;
use crate::{network, record};

pub use self::cgroup::{root as cgroups, until};
pub use self::console::{read as console_of, rotate};
pub use self::keeper::run as keep;
pub use self::root::is_mounted;

/// What is known of a machine, whether it is on or off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub instance_id: String,
    pub group: String,
    pub image: Image,
    /// The image's folder
    pub image_root: PathBuf,
    /// Its place in the daemon's network
    pub number: u16,
    pub second_address: Option<Ipv4Addr>,
    pub zone: String,
    pub user_data: Option<String>,
    pub public_keys: Vec<String>,
    /// Seconds that its wall clock is off
    pub clock: i64,
    pub stopping: Option<Stopping>,
    /// The last reboot that was asked for with a token
    #[serde(default)]
    pub reboot: Option<Reboot>,
}

impl Record {
    /// Whatever has become of the last reboot: the machine is turned off on purpose.
    pub fn reboot_is_over(&mut self) {
        if let Some(last) = &mut self.reboot {
            last.from = None;
        }
    }
}

/// A reboot that happens once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reboot {
    pub token: String,
    /// The boot that it ends; None once it has
    pub from: Option<String>,
}

/// A stop under way. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stopping {
    /// It is not said to be off before
    pub until: u64,
    /// Its power is cut then
    pub cut: u64,
}

/// A machine's files, processes and place in the network.
#[derive(Clone, Debug)]
pub struct Machine {
    pub folder: PathBuf,
    pub port: Port,
    pub cgroup: Cgroup,
}

impl Machine {
    /// # Errors
    /// If the host has no cgroups of version 2.
    pub fn at(folder: PathBuf, port: Port) -> anyhow::Result<Self> {
        let (daemon, number) = port.link.split_once('-').context("a link has a number")?;
        let cgroup = Cgroup::of(daemon, number)?;
        Ok(Self {
            folder,
            port,
            cgroup,
        })
    }

    pub fn is_on(&self) -> bool {
        self.cgroup.is_populated()
    }

    pub fn is_frozen(&self) -> bool {
        self.cgroup.is_frozen()
    }

    /// Its init, as this host counts.
    pub fn init(&self) -> Option<i32> {
        self.cgroup.init()
    }

    /// Another after each boot; None while it is off, or between two boots.
    pub fn boot(&self) -> Option<String> {
        let init = self.init()?;
        // A pid is used again, a pid and its start are not.
        Some(format!("{init}-{}", cgroup::start_of(init)?))
    }

    /// Makes its root, and tells it its name.
    ///
    /// # Errors
    /// If that cannot be mounted or written.
    pub async fn make(&self, record: &Record) -> anyhow::Result<()> {
        root::mount(&self.folder, &record.image_root).await?;
        root::name(&self.folder, &record.name)?;
        fs::create_dir_all(self.disks())?;
        Ok(())
    }

    /// The root is mounted, as after a restart of the host it is not.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub async fn restore(&self, record: &Record) -> anyhow::Result<()> {
        root::mount(&self.folder, &record.image_root).await?;
        fs::create_dir_all(self.disks())?;
        Ok(())
    }

    /// What the machine sees as `/dev/disk/by-id`.
    pub fn disks(&self) -> PathBuf {
        self.folder.join("disk/by-id")
    }

    /// Writes down how it boots from now on: with these devices.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_boot(&self, record: &Record, devices: &[String]) -> anyhow::Result<()> {
        let boot = Boot {
            cgroup: self.cgroup.path().into(),
            link: self.port.link.clone(),
            namespace: self.port.namespace(),
            arguments: arguments(&self.folder, &self.port, &record.name, devices),
        };
        keeper::write(&self.folder, &boot)
    }

    /// Turns it on, and waits until its init runs.
    ///
    /// # Errors
    /// If it does not come up, with the end of its console.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.cgroup.make()?;
        let errors = fs::File::create(self.folder.join("keeper"))?;
        let mut keeper = tokio::process::Command::new("/proc/self/exe")
            .arg("keep")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(errors.try_clone()?)
            .stderr(errors)
            .spawn()?;
        let up = until("the machine's init", || {
            self.init().is_some() || keeper.try_wait().is_ok_and(|ended| ended.is_some())
        })
        .await;
        if up.is_err() || self.init().is_none() {
            let _ = self.cgroup.kill().await;
            let said = fs::read_to_string(self.folder.join("keeper")).unwrap_or_default();
            let console = console::read(&self.folder);
            let end = console.len().saturating_sub(800);
            bail!(
                "it did not start: {said}{}",
                console.get(end..).unwrap_or(&console).trim()
            );
        }
        tokio::spawn(async move { keeper.wait().await });
        Ok(())
    }

    /// Asks it to shut down.
    ///
    /// # Errors
    /// If it is not on.
    pub async fn shut_down(&self) -> anyhow::Result<()> {
        // systemd-nspawn passes it on as the signal that systemd shuts down at.
        let init = self.until_it_listens().await?;
        let nspawn = cgroup::parent_of(init).context("it is not on")?;
        kill(Pid::from_raw(nspawn), Signal::SIGTERM).context("it is not on")
    }

    /// Asks it to restart.
    ///
    /// # Errors
    /// If it is not on.
    pub async fn reboot(&self) -> anyhow::Result<()> {
        // As Ctrl-Alt-Del does.
        let init = self.until_it_listens().await?;
        kill(Pid::from_raw(init), Signal::SIGINT).context("it is not on")
    }

    /// Waits for one that boots; its init.
    ///
    /// # Errors
    /// If it does not come to that.
    pub async fn until_it_listens(&self) -> anyhow::Result<i32> {
        let mut init = None;
        until("the machine's init to listen", || {
            init = self.cgroup.init_that_listens();
            init.is_some() || !self.is_on()
        })
        .await?;
        init.context("it is not on")
    }

    /// Cuts its power. What runs in it learns nothing; what it wrote and did not sync is
    /// still in the host's page cache, and not lost.
    ///
    /// # Errors
    /// If a process does not die.
    pub async fn cut_power(&self) -> anyhow::Result<()> {
        self.cgroup.kill().await?;
        if Path::new("/sys/class/net").join(&self.port.link).exists() {
            network::power(&self.port.link, false).await?;
        }
        if self.cgroup.path().exists() {
            self.cgroup.remove()?;
        }
        Ok(())
    }

    /// # Errors
    /// If the kernel does not come to an end with it.
    pub async fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        self.cgroup.freeze(frozen).await
    }

    pub fn console(&self) -> String {
        console::read(&self.folder)
    }

    /// Takes away what is left of it once it is off: root, processes' group, files.
    ///
    /// # Errors
    /// If something on the host still uses its root.
    pub async fn remove(&self) -> anyhow::Result<()> {
        root::unmount(&self.folder).await?;
        // What nspawn leaves when it is killed.
        for kind in ["propagate", "unix-export"] {
            let left = Path::new("/run/systemd/nspawn")
                .join(kind)
                .join(&self.port.link);
            if is_mounted(&left) {
                let _ = tool("umount").args([&left]).run().await;
            }
            let _ = fs::remove_dir(left);
        }
        let gone = self.folder.with_extension("gone");
        fs::rename(&self.folder, &gone)?;
        tokio::task::spawn_blocking(move || fs::remove_dir_all(gone)).await??;
        Ok(())
    }

    pub fn write_record(&self, record: &Record) -> anyhow::Result<()> {
        record::write(&self.folder.join("record.json"), record)
    }
}

fn arguments(folder: &Path, port: &Port, name: &str, devices: &[String]) -> Vec<String> {
    let path = |path: &str| folder.join(path).display().to_string();
    let mut all = vec![
        "--quiet".into(),
        "--boot".into(),
        format!("--directory={}", path("root")),
        // Needs no systemd on the host, and shares nothing of one.
        "--register=no".into(),
        "--keep-unit".into(),
        "--link-journal=no".into(),
        "--resolv-conf=off".into(),
        "--timezone=off".into(),
        "--console=read-only".into(),
        format!("--machine={}", port.link),
        format!("--hostname={name}"),
        format!("--network-namespace-path={}", port.namespace().display()),
        // Its root makes no node for a disk of the host's.
        "--drop-capability=CAP_MKNOD".into(),
        format!("--bind-ro={}:/dev/disk", path("disk")),
    ];
    all.extend(devices.iter().map(|device| format!("--bind={device}")));
    all
}
