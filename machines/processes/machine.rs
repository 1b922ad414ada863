//! One machine: a folder, an address, and processes of one user.
//!
//! Architecture Invariant: nothing supervises it, and no state of it is anywhere but in its
//! folder and in `/proc`. That is what makes a power cut real.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::owner::Owner;
use super::proc::Marks;
use super::user_data::Told;
use crate::image::Image;
use crate::machine::{Stopping, rotate};
use crate::record;
use crate::run::{Tool, tool};

/// What sshd may take to listen, on a host under load.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest path that a Unix socket may have, and the longest name in it.
const LONGEST_SOCKET: usize = 106;
const SOCKET_NAME: usize = "/.s.PGSQL.65535.lock".len();

/// What this machine does otherwise than a Debian of its own, first in its PATH: scripts do
/// not know which of the two they run on.
const COMMANDS: [(&str, &str); 8] = [
    ("sudo", include_str!("bin/sudo.sh")),
    ("pg_createcluster", include_str!("bin/pg_createcluster.sh")),
    ("apt-get", include_str!("bin/absent.sh")),
    ("cloud-init", include_str!("bin/done.sh")),
    ("mountpoint", include_str!("bin/done.sh")),
    ("findmnt", include_str!("bin/findmnt.sh")),
    ("systemctl", include_str!("bin/systemctl.sh")),
    ("cat", include_str!("bin/cat.sh")),
];
const BOOT: &str = include_str!("boot.sh");

/// What is known of it, whether it is on or off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub instance_id: String,
    pub group: String,
    /// As it was asked for; it means nothing here
    pub image: Image,
    pub zone: String,
    pub address: Ipv4Addr,
    pub ssh_port: u16,
    pub is_cut_off: bool,
    pub stopping: Option<Stopping>,
    pub rebooting: Option<Rebooting>,
    /// That of the last reboot
    pub token: Option<String>,
}

/// A reboot under way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rebooting {
    /// Milliseconds since 1970; its power is cut then
    pub cut: u64,
    pub is_down: bool,
}

/// A machine's files and processes.
#[derive(Clone, Debug)]
pub struct Machine {
    pub folder: PathBuf,
    pub owner: Owner,
}

impl Machine {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where its clusters' data and logs are, and its volume is mounted.
    pub fn storage(&self) -> PathBuf {
        self.path("disk")
    }

    /// Where its clusters' sockets are; a deep folder keeps them in /tmp.
    fn sockets(&self) -> PathBuf {
        let own = self.path("run");
        if own.as_os_str().len() + SOCKET_NAME <= LONGEST_SOCKET {
            return own;
        }
        let hash = super::fingerprint(&self.folder);
        PathBuf::from(format!("/tmp/drover-{hash:016x}"))
    }

    fn conf_root(&self) -> String {
        format!("{}/home/pg/conf", self.folder.display())
    }

    /// What all its processes have in their environment.
    fn environment(&self) -> [String; 3] {
        let here = self.folder.display();
        [
            format!("PG_CLUSTER_CONF_ROOT={}", self.conf_root()),
            format!("HOME={here}/home"),
            format!("PATH={here}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
        ]
    }

    pub fn marks(&self) -> Marks {
        Marks {
            uid: self.owner.uid,
            config: self.path("sshd_config"),
            variable: format!("PG_CLUSTER_CONF_ROOT={}", self.conf_root()),
            storage: self.storage(),
        }
    }

    /// # Errors
    /// If it cannot be written.
    pub fn write_record(&self, record: &Record) -> anyhow::Result<()> {
        record::write(&self.path("record.json"), record)
    }

    /// Its folders and configuration are there. Only what has to be the owner's is, so that
    /// no link of the owner's leads what root does here astray.
    ///
    /// # Errors
    /// If something cannot be written.
    pub async fn lay_out(
        &self,
        record: &Record,
        told: &Told,
        keys: &[String],
    ) -> anyhow::Result<()> {
        for part in ["home", "home/pg", "home/pg/conf", "home/pg/pid"] {
            self.owner.folder(&self.path(part), 0o755)?;
        }
        self.owner.folder(&self.storage(), 0o755)?;
        // Whoever gets at the sockets is superuser of the clusters.
        fs::create_dir(self.sockets()).with_context(|| self.sockets().display().to_string())?;
        self.owner.own(&self.sockets(), 0o700)?;
        self.write("console", "", 0o644)?;
        self.owner.own(&self.path("console"), 0o644)?;
        match &told.host_key {
            Some(key) => self.write("host_key", &format!("{}\n", key.trim_end()), 0o600)?,
            None => drop(
                tool("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-C", &record.name, "-f"])
                    .args([self.path("host_key")])
                    .run()
                    .await?,
            ),
        }
        self.owner.own(&self.path("host_key"), 0o600)?;
        let keys: String = keys.iter().map(|key| format!("{key}\n")).collect();
        self.write("authorized_keys", &keys, 0o644)?;
        self.configure(record)?;
        self.make_storage().await
    }

    fn configure(&self, record: &Record) -> anyhow::Result<()> {
        let (here, address, storage) = (self.folder.display(), record.address, self.storage());
        let (storage, sockets) = (storage.display(), self.sockets());
        fs::create_dir_all(self.path("bin"))?;
        for (name, text) in COMMANDS {
            self.write(&format!("bin/{name}"), text, 0o755)?;
        }
        let folders = format!(
            "storage='{storage}' sockets='{}' address='{address}'\n",
            sockets.display()
        );
        self.write("folders", &folders, 0o644)?;
        // Without fsync, because it cannot lose power alone: what a killed process wrote is
        // safe in the kernel. With it, a start after a crash syncs a thousand files first.
        let clusters = format!(
            "start_conf = 'auto'\ndata_directory = '{storage}/data/%c'\nadd_include_dir = 'conf.d'\n\
             initdb_options = '--no-sync'\ncluster_name = '%v/%c'\n\
             log_line_prefix = '%%m [%%p] %%q%%u@%%d '\nfsync = off\nshared_buffers = '16MB'\n\
             max_wal_size = '128MB'\nmin_wal_size = '32MB'\n\
             external_pid_file = '{here}/home/pg/pid/%c'\n",
        );
        self.write("createcluster.conf", &clusters, 0o644)?;
        let sshd = format!(
            "ListenAddress {address}\nPort {port}\nHostKey {here}/host_key\nPidFile none\n\
             AuthorizedKeysFile {here}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             PrintMotd no\nMaxStartups 100:30:200\nAllowUsers {user}\nSetEnv {environment}\n",
            port = record.ssh_port,
            user = self.owner.name,
            environment = self.environment().join(" "),
        );
        self.write("sshd_config", &sshd, 0o644)
    }

    /// The folders of a storage that may be new.
    ///
    /// # Errors
    /// If they cannot be made.
    pub async fn make_storage(&self) -> anyhow::Result<()> {
        let parts = ["data", "log"].map(|part| self.storage().join(part));
        let made = self.owner.tool("mkdir").args(["-p", "--"]).args(parts);
        made.run().await.map(drop)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// A line of its console.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn say(&self, line: &str) -> anyhow::Result<()> {
        let path = self.path("console");
        let file = OpenOptions::new().append(true).open(&path);
        writeln!(file.with_context(|| path.display().to_string())?, "{line}")?;
        Ok(())
    }

    /// Turns it on, and waits until its sshd listens. Its clusters start meanwhile.
    ///
    /// # Errors
    /// If sshd does not start, with the end of the console.
    pub async fn boot(&self, record: &Record) -> anyhow::Result<()> {
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        self.write("boot_id", &id, 0o644)?;
        rotate(&self.folder)?;
        if !self.path("console").exists() {
            self.write("console", "", 0o644)?;
            self.owner.own(&self.path("console"), 0o644)?;
        }
        self.say(&format!("-- boot {} --", id.trim()))?;
        let console = OpenOptions::new().append(true).open(self.path("console"))?;
        // A session of its own: machines outlive the daemon.
        let mut booting = self.owner.command("setsid");
        booting
            .args(["env", "-i"])
            .args(self.environment())
            .args(["LC_ALL=C.UTF-8", "sh", "-c", BOOT, "boot"])
            .arg(&self.folder)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console);
        let mut booting = booting.spawn().context("setsid cannot be run")?;
        let begun = Instant::now();
        let port = (record.address, record.ssh_port);
        loop {
            let ended = booting.try_wait()?;
            if self.marks().listener().is_some() && self.listens(record, port).await {
                break;
            }
            if ended.is_some_and(|status| !status.success()) || begun.elapsed() > PATIENCE {
                self.marks().kill().await?;
                let console = crate::machine::console_of(&self.folder);
                let lines: Vec<_> = console.lines().rev().take(3).collect();
                bail!("its sshd does not start; its console ends with {lines:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::spawn(async move { booting.wait().await });
        Ok(())
    }

    /// One that is cut off cannot be asked: that its sshd lives has to do.
    async fn listens(&self, record: &Record, port: (Ipv4Addr, u16)) -> bool {
        record.is_cut_off || tokio::net::TcpStream::connect(port).await.is_ok()
    }

    /// Another after each boot.
    pub fn boot_id(&self) -> Option<String> {
        let id = fs::read_to_string(self.path("boot_id")).ok()?;
        Some(id.trim().to_owned())
    }

    /// Asks its clusters to end their sessions and shut down. Whether they have, as far as
    /// they will: one that is stopped hears of it when it goes on, and not before.
    pub fn shut_clusters_down(&self) -> bool {
        let left = self.marks().postmasters();
        left.iter()
            .for_each(|postmaster| postmaster.signal(Signal::SIGINT));
        left.iter().all(|postmaster| postmaster.is_stopped)
    }

    /// A tool that runs there, as one of its processes.
    pub fn tool(&self) -> Tool {
        self.owner
            .tool("env")
            .args(["-i", "-C"])
            .args([self.path("home")])
            .args(self.environment())
            .args([format!("USER={}", self.owner.name).as_str(), "LANG=C.UTF-8"])
    }

    /// Takes its files away, once nothing of it runs and nothing is mounted there.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn remove(&self) -> anyhow::Result<()> {
        for folder in [self.sockets(), self.folder.clone()] {
            let gone = if folder == self.folder {
                let gone = folder.with_extension("gone");
                fs::rename(&folder, &gone)?;
                gone
            } else {
                folder
            };
            remove(&self.owner, &gone).await?;
        }
        Ok(())
    }
}

/// Removes a folder, also where its owner may not enter what is in it.
///
/// # Errors
/// If something cannot be removed.
pub async fn remove(owner: &Owner, folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    if fs::remove_dir_all(folder).is_ok() {
        return Ok(());
    }
    let _ = owner
        .tool("chmod")
        .args(["-R", "u+rwX", "--"])
        .args([folder])
        .run()
        .await;
    fs::remove_dir_all(folder).with_context(|| folder.display().to_string())
}
