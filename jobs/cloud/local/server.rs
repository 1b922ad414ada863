//! One machine of the local cloud, and what is kept of it here.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use drover::model::SubjectId;
use drover_machines::protocol::{Exec, Machine, Output, Power};
use serde::{Deserialize, Serialize};

use super::LocalCloud;
use super::cluster::Cluster;
use crate::ssh::{self, Limits, Target};

/// Port of its sshd, as of an instance of EC2.
pub const SSH_PORT: u16 = 2222;
/// Who logs in to a Debian of its own.
pub(super) const USER: &str = "drover";

/// How long a boot may take: some 5 s, and more on a host that has much to do.
const BOOT: Duration = Duration::from_secs(120);
/// How long a command in it may take.
pub(super) const COMMAND: Duration = Duration::from_secs(120);

/// What the daemon says of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address.
    pub address: Ipv4Addr,
    /// Availability zone, so called.
    pub zone: String,
    /// The server in the record that drover made it for: its mark.
    pub made_for: Option<SubjectId>,
}

/// What is kept of a machine here, in `servers/NAME.json`: the daemon has no business with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// Its id in the herd (`srv_…`), once it is adopted.
    #[serde(default)]
    pub id: Option<String>,
    /// Its host key, as in `known_hosts`, where it was made to have one.
    #[serde(default)]
    pub host_key: Option<String>,
    /// What its size is called.
    #[serde(default)]
    pub size: Option<String>,
    /// Whether it was made with a volume.
    #[serde(default)]
    pub volume: bool,
    /// The last reboot that was asked for while it was off.
    #[serde(default)]
    pub reboot: Option<String>,
    /// The clusters that were made on it by hand, with drover's passwords.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct LocalServer {
    /// Its name, and what the cloud calls it.
    pub name: String,
    /// What the daemon says of it.
    pub settings: Settings,
    /// What is kept of it here.
    pub kept: Kept,
    pub(super) cloud: LocalCloud,
}

impl LocalCloud {
    fn kept_in(&self, name: &str) -> PathBuf {
        self.root.join("servers").join(format!("{name}.json"))
    }

    /// What is kept of a machine. Call it with a name that the daemon knows, or takes.
    pub(super) fn kept(&self, name: &str) -> anyhow::Result<Option<Kept>> {
        let path = self.kept_in(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not what drover writes", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Readers see what was kept before, or this. It has passwords in it.
    pub(super) fn keep(&self, name: &str, kept: &Kept) -> anyhow::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.kept_in(name);
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let text = serde_json::to_string_pretty(kept)?;
        let write = || {
            std::fs::create_dir_all(self.root.join("servers"))?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(text.as_bytes())?;
            std::fs::rename(&new, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn forget(&self, name: &str) -> anyhow::Result<()> {
        let path = self.kept_in(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", path.display())),
        }
    }
}

impl LocalServer {
    /// Keeps what changed in [`LocalServer::kept`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self) -> anyhow::Result<()> {
        self.cloud.keep(&self.name, &self.kept)
    }

    /// Its host key, `ssh-ed25519 AAAA…`.
    ///
    /// # Errors
    /// If drover made it for itself: then the record has it.
    pub fn host_key(&self) -> anyhow::Result<String> {
        let key = self.kept.host_key.clone();
        key.with_context(|| format!("the host key of {} is not kept here", self.name))
    }

    /// How to log in to it.
    ///
    /// # Errors
    /// If there is no key.
    pub async fn target(&self) -> anyhow::Result<Target> {
        let login = self.cloud.way_in().await?;
        Ok(Target {
            address: self.settings.address.to_string(),
            port: login.port,
            user: login.user,
            key: self.cloud.key()?,
            host_key: self.kept.host_key.clone(),
        })
    }

    /// How the daemon sees it now.
    ///
    /// # Errors
    /// If it does not say, or the machine is gone.
    pub async fn machine(&self) -> anyhow::Result<Machine> {
        let machine = self.cloud.machine(&self.name).await?;
        machine.with_context(|| format!("local instance {} is gone", self.name))
    }

    /// Whether it is on and not frozen.
    ///
    /// # Errors
    /// As [`LocalServer::machine`].
    pub async fn is_up(&self) -> anyhow::Result<bool> {
        Ok(self.machine().await?.power == Power::On)
    }

    /// Runs a shell's words in it as root, with these as `$1` and so on.
    ///
    /// # Errors
    /// If they cannot be run; that they fail is an answer.
    pub async fn sh(
        &self,
        script: &str,
        arguments: &[&str],
        input: &str,
    ) -> anyhow::Result<Output> {
        let mut command = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        command.push("sh".to_owned());
        command.extend(arguments.iter().map(|&word| word.to_owned()));
        let exec = Exec {
            machine: self.name.clone(),
            command,
            input: input.to_owned(),
            limit: COMMAND.as_secs(),
        };
        let done = self.cloud.client.exec(exec).await;
        done.map_err(|e| self.cloud.told(e).into())
    }

    /// The same, where it has to succeed. Gives what it printed.
    ///
    /// # Errors
    /// If it does not.
    pub async fn does(
        &self,
        script: &str,
        arguments: &[&str],
        input: &str,
    ) -> anyhow::Result<String> {
        let output = self.sh(script, arguments, input).await?;
        if output.status != Some(0) {
            let said = [output.stdout.trim(), output.stderr.trim()].join(" ");
            bail!("server {}: {}", self.name, said.trim());
        }
        Ok(output.stdout.trim().to_owned())
    }

    /// Waits until it has booted and lets drover in.
    ///
    /// # Errors
    /// If it does not within two minutes.
    pub async fn answers(&self) -> anyhow::Result<()> {
        let target = self.target().await?;
        let limits = Limits {
            time: Duration::from_secs(10),
            ..Limits::default()
        };
        let deadline = Instant::now() + BOOT;
        loop {
            match ssh::run(&target, "true", limits).await {
                Ok(_) => break,
                Err(e) if Instant::now() > deadline => {
                    let said = self.cloud.client.console(&self.name).await;
                    let said = said.unwrap_or_default();
                    let last = said.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
                    return Err(e).with_context(|| {
                        format!("{} does not let drover in; its console: {last}", self.name)
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        // What is set to start by itself is started, or has failed to.
        let settled =
            "command -v systemctl >/dev/null || exit 0; systemctl is-system-running --wait";
        self.sh(settled, &[], "").await.map(drop)
    }

    /// Turns it on, if it is off, and waits until it has booted.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn plug(&self) -> anyhow::Result<()> {
        let started = self.cloud.client.start(&self.name).await;
        started.map_err(|e| self.cloud.told(e))?;
        self.answers().await
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// If the daemon cannot.
    pub async fn unplug(&self) -> anyhow::Result<()> {
        let killed = self.cloud.client.kill(&self.name).await;
        Ok(killed.map_err(|e| self.cloud.told(e))?)
    }

    /// Takes it away, with all that is on it. One that is gone is gone.
    ///
    /// # Errors
    /// If something of it stays.
    pub async fn destroy(&self) -> anyhow::Result<()> {
        Ok(self.cloud.take_away(&self.name).await?)
    }
}
