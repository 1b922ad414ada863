//! One local server: a directory, a loopback address, an sshd.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use drover::model::{Secret, SubjectId};
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::owner::Owner;
use super::processes::Process;
use crate::ssh::{self, Limits, Output, Target};

/// Port of every local server's sshd.
pub const SSH_PORT: u16 = 2222;

/// How long its sshd may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest path that a Unix socket may have, and the longest name in it.
const LONGEST_SOCKET: usize = 106;
const SOCKET_NAME: usize = "/.s.PGSQL.65535".len();

/// What a local server does otherwise than a Debian of its own, for the `PATH` of its sshd:
/// drover's scripts do not know which of the two they run on.
pub const COMMANDS: [(&str, &str); 5] = [
    ("sudo", include_str!("bin/sudo.sh")),
    ("pg_createcluster", include_str!("bin/pg_createcluster.sh")),
    ("apt-get", include_str!("bin/absent.sh")),
    ("cloud-init", include_str!("bin/done.sh")),
    ("mountpoint", include_str!("bin/done.sh")),
];

/// What `server.json` keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Its own address, 127.77.x.y.
    pub address: Ipv4Addr,
    /// Availability zone, so called.
    pub zone: String,
    /// Size of the volume that its clusters live on, in MiB; without one they
    /// live on the machine's own disk.
    #[serde(default)]
    pub volume_mib: Option<u32>,
    /// Its id in the herd (`srv_…`), once it is adopted.
    pub id: Option<String>,
    /// The server in the record that drover made it for: its mark.
    #[serde(default)]
    pub made_for: Option<SubjectId>,
    /// What its size is called.
    #[serde(default)]
    pub size: Option<String>,
}

/// A directory that stands for a machine. Pid files in it are its only state.
#[derive(Clone, Debug)]
pub struct LocalServer {
    /// Its name, the name of its directory, and what the cloud calls it.
    pub name: String,
    /// What is kept about it.
    pub settings: Settings,
    pub(super) dir: PathBuf,
    pub(super) owner: Owner,
    key: Secret,
}

impl LocalServer {
    pub(super) fn new(dir: PathBuf, settings: Settings, owner: Owner, key: Secret) -> Self {
        let name = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            name,
            settings,
            dir,
            owner,
            key,
        }
    }

    /// A file of this server.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path("sshd_config")
    }

    /// Where its clusters' sockets are. A path of a socket has room for 106
    /// bytes only, so a deep directory keeps them under /tmp.
    pub(super) fn socket_dir(&self) -> PathBuf {
        let own = self.path("run");
        if own.as_os_str().len() + SOCKET_NAME <= LONGEST_SOCKET {
            return own;
        }
        PathBuf::from(format!(
            "/tmp/drover-{:016x}",
            super::fingerprint(&self.dir)
        ))
    }

    /// Keeps what changed in [`Settings`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.settings)?;
        self.owner.write(&self.path("server.json"), &text, 0o644)
    }

    /// Lays out the directory; what is there is kept.
    pub(super) fn lay_out(&self, public_key: &str) -> anyhow::Result<()> {
        for (dir, mode) in [
            ("", 0o755),
            ("bin", 0o755),
            ("pg", 0o755),
            ("pg/conf", 0o755),
            ("pg/data", 0o755),
            ("pg/log", 0o755),
            ("pg/pid", 0o755),
        ] {
            self.owner.make_dir(&self.path(dir), mode)?;
        }
        // Whoever gets at the sockets is superuser of the clusters.
        self.owner.make_private_dir(&self.socket_dir())?;
        if !self.path("host_key").exists() {
            super::keygen(&self.owner, &self.path("host_key"), &self.name)?;
        }
        self.owner
            .write(&self.path("authorized_keys"), public_key, 0o600)?;
        self.owner.write(
            &self.path("createcluster.conf"),
            &self.cluster_defaults(),
            0o644,
        )?;
        for (name, text) in COMMANDS {
            let path = self.path("bin").join(name);
            self.owner.write(&path, text, 0o755)?;
        }
        let (dir, address) = (self.dir.display(), self.settings.address);
        let folders = format!(
            "storage='{}' sockets='{}' address='{address}'\n",
            self.storage().display(),
            self.socket_dir().display(),
        );
        self.owner.write(&self.path("folders"), &folders, 0o644)?;
        let config = format!(
            "ListenAddress {address}\nPort {SSH_PORT}\nHostKey {dir}/host_key\nPidFile {dir}/sshd.pid\n\
             AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             PrintMotd no\nMaxStartups 100:30:200\nAllowUsers {}\n\
             SetEnv PG_CLUSTER_CONF_ROOT={dir}/pg/conf HOME={dir} \
             PATH={dir}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n",
            self.owner.name,
        );
        self.owner.write(&self.config(), &config, 0o644)?;
        self.save()
    }

    /// Its host key, `ssh-ed25519 AAAA…`.
    ///
    /// # Errors
    /// If it has none.
    pub fn host_key(&self) -> anyhow::Result<String> {
        let path = self.path("host_key.pub");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text
            .split_ascii_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" "))
    }

    /// How to log in to it.
    ///
    /// # Errors
    /// If it has no host key.
    pub fn target(&self) -> anyhow::Result<Target> {
        Ok(Target {
            address: self.settings.address.to_string(),
            port: SSH_PORT,
            user: self.owner.name.clone(),
            key: self.key.clone(),
            host_key: Some(self.host_key()?),
        })
    }

    /// Runs a command on it over SSH, and wants it to succeed.
    pub(super) async fn run(&self, command: &str, time: Duration) -> anyhow::Result<Output> {
        let limits = Limits {
            time,
            ..Limits::default()
        };
        let output = ssh::run(&self.target()?, command, limits)
            .await
            .with_context(|| format!("server {}", self.name))?;
        if output.status != Some(0) {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("server {}: the command failed: {}", self.name, said.trim());
        }
        Ok(output)
    }

    /// Whether its sshd runs.
    pub fn is_up(&self) -> bool {
        sshd(&self.dir).is_some()
    }

    /// Starts its sshd, which stays behind when we end.
    ///
    /// # Errors
    /// If sshd refuses, or does not answer within 5 s.
    pub async fn start_sshd(&self) -> anyhow::Result<()> {
        if self.is_up() {
            return Ok(());
        }
        let log = self.path("sshd.log");
        let mut sshd = self.owner.command(super::SSHD);
        sshd.arg("-f").arg(self.config()).arg("-E").arg(&log);
        let started = tokio::process::Command::from(sshd).output().await;
        let started = started.context("cannot start sshd")?;
        if !started.status.success() {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let said: Vec<&str> = said.lines().rev().take(3).collect();
            bail!(
                "sshd of {} does not start; {} ends with: {said:?}",
                self.name,
                log.display()
            );
        }
        self.answers().await
    }

    /// sshd goes into the background before it listens.
    async fn answers(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.run("true", PATIENCE).await {
                Err(e) if Instant::now() > deadline => return Err(e),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Takes it away, with all that is in it.
    ///
    /// # Errors
    /// If something survives or cannot be removed.
    pub async fn destroy(self) -> anyhow::Result<()> {
        self.unplug().await?;
        // Its address will be another's.
        self.heal().await?;
        for cluster in self.clusters()? {
            // What was made unreadable on purpose could not be removed either.
            let _ = self.mend(&cluster);
        }
        self.unmount().await?;
        for dir in [self.socket_dir(), self.dir.clone()] {
            match std::fs::remove_dir_all(&dir) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.with_context(|| format!("cannot remove {}", dir.display()))?,
            }
        }
        Ok(())
    }

    /// The clusters it should have.
    ///
    /// # Errors
    /// If `resources.json` cannot be read.
    pub fn clusters(&self) -> anyhow::Result<Vec<Cluster>> {
        let path = self.path("resources.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not what drover writes", path.display())),
            // A server that drover made for itself: what is on it is made over SSH.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.clusters_set_up(),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Keeps what is known of its clusters, their passwords too.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, clusters: &[Cluster]) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(clusters)?;
        self.owner.write(&self.path("resources.json"), &text, 0o600)
    }
}

/// The sshd of the server in this directory, if it runs: its pid file names a
/// process, and that process is this sshd.
pub(super) fn sshd(dir: &Path) -> Option<Process> {
    let text = std::fs::read_to_string(dir.join("sshd.pid")).ok()?;
    let process = Process::read(text.trim().parse().ok()?)?;
    process
        .listens_by(&dir.join("sshd_config"))
        .then_some(process)
}
