//! What can be done to a cluster of a local server so that it is broken in
//! earnest, and undone again.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::LocalCloud;
use super::cluster::Cluster;
use super::processes::{self, Process};
use super::server::LocalServer;
use crate::cloud::{CloudError, Done};

/// Rounds after which nothing new can have been started.
const ROUNDS: usize = 3;

impl LocalCloud {
    fn sold_out(&self) -> PathBuf {
        self.root.join("sold-out")
    }

    /// Leaves no room for servers of these sizes: none is made or started. Those that
    /// run go on.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn sell_out(&self, sizes: &[&str]) -> anyhow::Result<()> {
        let path = self.sold_out();
        std::fs::write(&path, sizes.join("\n"))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether there is room for a server of this size.
    pub(super) fn has_room(&self, size: Option<&str>) -> Done {
        let sold_out = match std::fs::read_to_string(self.sold_out()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("cannot read {}", self.sold_out().display()))?,
        };
        match size {
            Some(size) if sold_out.lines().any(|line| line == size) => Err(CloudError::NoCapacity(
                format!("local servers of the size {size} are sold out"),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl LocalServer {
    /// Kills a cluster and takes away the right to read part of its data, so that
    /// no start can succeed.
    ///
    /// # Errors
    /// If something survives, or there is no such data.
    pub async fn spoil(&self, cluster: &Cluster) -> anyhow::Result<()> {
        // First the data: nobody is to start it in between.
        self.set_mode(cluster, 0o000)?;
        self.kill(cluster).await.map(drop)
    }

    /// Undoes [`LocalServer::spoil`]; the cluster stays down.
    ///
    /// # Errors
    /// If there is no such data.
    pub fn mend(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.set_mode(cluster, 0o700)
    }

    /// Its own directory stays readable: it is the start that has to fail, and not
    /// those who only look.
    fn set_mode(&self, cluster: &Cluster, mode: u32) -> anyhow::Result<()> {
        let path = self.data_dir(cluster).join("global");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))
            .with_context(|| format!("cannot change the mode of {}", path.display()))
    }

    /// SIGSTOP to the cluster's postmaster and all its children: it takes
    /// connections, and never answers. Gives how many processes that were.
    ///
    /// # Errors
    /// If nothing of it runs.
    pub fn hang(&self, cluster: &Cluster) -> anyhow::Result<usize> {
        self.signal(cluster, Signal::SIGSTOP)
    }

    /// Undoes [`LocalServer::hang`].
    ///
    /// # Errors
    /// If nothing of it runs.
    pub fn resume(&self, cluster: &Cluster) -> anyhow::Result<usize> {
        self.signal(cluster, Signal::SIGCONT)
    }

    /// SIGSTOP to everything that runs on it, its sshd and all sessions too: it takes
    /// connections, and never answers. Gives how many processes that were.
    pub fn freeze(&self) -> usize {
        self.signal_all(Signal::SIGSTOP)
    }

    /// Undoes [`LocalServer::freeze`].
    pub fn thaw(&self) -> usize {
        self.signal_all(Signal::SIGCONT)
    }

    fn signal_all(&self, signal: Signal) -> usize {
        let config = self.config();
        // One that cannot be read has no clusters; its sshd stops all the same.
        let clusters = self.clusters().unwrap_or_default();
        let data: Vec<_> = clusters.iter().map(|c| self.data_dir(c)).collect();
        let mut reached = 0;
        for _ in 0..ROUNDS {
            let all = processes::family(|p| {
                p.listens_by(&config) || data.iter().any(|data| p.serves(data))
            });
            all.iter().for_each(|p| p.signal(signal));
            reached = all.len();
        }
        reached
    }

    fn signal(&self, cluster: &Cluster, signal: Signal) -> anyhow::Result<usize> {
        let data = self.data_dir(cluster);
        let serves = |p: &Process| p.serves(&data);
        // The postmaster first: stopped, it starts no more children. One that it
        // was just starting is seen in the next round.
        for postmaster in processes::eldest(serves) {
            postmaster.signal(signal);
        }
        let mut reached = 0;
        for _ in 0..ROUNDS {
            let all: Vec<_> = processes::all().into_iter().filter(serves).collect();
            all.iter().for_each(|p| p.signal(signal));
            reached = all.len();
        }
        if reached == 0 {
            bail!("nothing of {} runs", cluster.name);
        }
        Ok(reached)
    }
}
