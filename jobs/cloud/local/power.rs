//! A local server's power: plugged in and unplugged, stopped, started, rebooted.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::processes::{self, Process};
use super::server::LocalServer;

/// How long clusters may take to shut down before they are killed.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// How long a boot waits for its clusters. Those that take longer go on by
/// themselves.
const BOOT: Duration = Duration::from_secs(60);

/// How long an action waits for another one on the same server.
const TURN: Duration = Duration::from_secs(30);

/// The last reboot that was asked for, as `reboot.json` keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Reboot {
    token: String,
    stage: Stage,
}

/// How far it has come. Whoever asks again with its token goes on from there.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Begun,
    Down,
    Done,
}

/// A server that boots does so even if a cluster does not start.
#[must_use]
#[derive(Debug)]
pub struct Boot {
    /// Why, for each cluster that does not run.
    pub failed: Vec<anyhow::Error>,
}

impl Boot {
    /// For a person, who wants to know.
    ///
    /// # Errors
    /// If a cluster did not start.
    pub fn complete(self) -> anyhow::Result<()> {
        match self.failed.into_iter().next() {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}

impl LocalServer {
    /// Starts it: sshd, then every cluster that is set to start by itself
    /// (`start.conf`, as on any Debian).
    ///
    /// # Errors
    /// If sshd does not start.
    pub async fn plug(&self) -> anyhow::Result<Boot> {
        let _turn = self.turn().await?;
        self.boot().await
    }

    /// Pulls the plug: everything that runs on it dies at once. Gives how many
    /// processes there were.
    ///
    /// # Errors
    /// If something survives.
    pub async fn unplug(&self) -> anyhow::Result<usize> {
        let config = self.config();
        let data: Vec<_> = self.clusters()?.iter().map(|c| self.data_dir(c)).collect();
        // Those that are stopped too: SIGKILL asks nobody.
        processes::kill_all(|p| p.listens_by(&config) || data.iter().any(|d| p.serves(d))).await
    }

    /// Shuts its clusters down, and unplugs it once they are, or after 20 s.
    ///
    /// # Errors
    /// If something survives.
    pub async fn shut_down(&self) -> anyhow::Result<()> {
        let _turn = self.turn().await?;
        self.shut_clusters_down().await?;
        self.unplug().await.map(drop)
    }

    /// Unplugs it and starts it again. With the token of the last reboot, nothing
    /// happens, except that one that was cut off is carried on.
    ///
    /// # Errors
    /// If something survives, or sshd does not start.
    pub async fn reboot(&self, token: &str) -> anyhow::Result<Boot> {
        let _turn = self.turn().await?;
        let mut stage = match self.last_reboot()? {
            Some(last) if last.token == token => last.stage,
            Some(_) | None => Stage::Begun,
        };
        let mut boot = Boot { failed: vec![] };
        loop {
            self.remember(token, stage)?;
            stage = match stage {
                Stage::Begun => {
                    self.unplug().await?;
                    Stage::Down
                }
                Stage::Down => {
                    boot = self.boot().await?;
                    Stage::Done
                }
                Stage::Done => return Ok(boot),
            };
        }
    }

    async fn boot(&self) -> anyhow::Result<Boot> {
        self.mount_anew().await?;
        self.start_sshd().await?;
        let clusters = self.clusters()?;
        let mut wanted = Vec::new();
        for cluster in &clusters {
            if self.starts_by_itself(cluster)? {
                wanted.push(cluster);
            }
        }
        // All at once, as a machine that boots: each start mostly waits.
        let started = wanted.into_iter().map(|cluster| self.boot_cluster(cluster));
        let started = futures::future::join_all(started).await;
        Ok(Boot {
            failed: started.into_iter().filter_map(Result::err).collect(),
        })
    }

    async fn boot_cluster(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let started = tokio::time::timeout(BOOT, self.start(cluster)).await;
        started.unwrap_or_else(|_| {
            let (name, time) = (&cluster.name, BOOT.as_secs());
            bail!("{name} did not start within {time} s")
        })
    }

    /// Asks every cluster to end its sessions and shut down, and gives them 20 s.
    pub(super) async fn shut_clusters_down(&self) -> anyhow::Result<()> {
        let data: Vec<_> = self.clusters()?.iter().map(|c| self.data_dir(c)).collect();
        let postmasters = || processes::eldest(|p| data.iter().any(|d| p.serves(d)));
        // Not over SSH: a server that does not answer is stopped too.
        for postmaster in postmasters() {
            postmaster.signal(Signal::SIGINT);
        }
        let deadline = Instant::now() + SHUTDOWN;
        // One that is stopped hears of it when it goes on, and not before.
        while !postmasters().iter().all(Process::is_stopped) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn last_reboot(&self) -> anyhow::Result<Option<Reboot>> {
        let path = self.path("reboot.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not what drover writes", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn remember(&self, token: &str, stage: Stage) -> anyhow::Result<()> {
        let token = token.to_owned();
        let text = serde_json::to_string(&Reboot { token, stage })?;
        self.owner.write(&self.path("reboot.json"), &text, 0o644)
    }

    /// One action at a time; the lock goes with whoever held it. Not for pulling
    /// the plug, which asks nobody.
    pub(super) async fn turn(&self) -> anyhow::Result<Flock<File>> {
        let path = self.path("turn");
        let deadline = Instant::now() + TURN;
        loop {
            let file =
                File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(turn) => return Ok(turn),
                Err(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(_) => bail!("something else is being done to server {}", self.name),
            }
        }
    }
}
