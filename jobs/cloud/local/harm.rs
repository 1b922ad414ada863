//! What can be done to a machine and its clusters so that it is broken in earnest, and undone
//! again.

use anyhow::{Context, bail};
use drover_machines::network::{End, Fault};

use super::LocalCloud;
use super::cluster::Cluster;
use super::server::LocalServer;
use crate::cloud::{CloudError, Done};

impl LocalCloud {
    fn sold_out(&self) -> std::path::PathBuf {
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

    /// Stops every process of a machine, its sshd too: it takes connections, and never
    /// answers.
    ///
    /// # Errors
    /// If it is off.
    pub async fn freeze(&self, name: &str) -> Done {
        let frozen = self.client.freeze(name).await;
        frozen.map_err(|e| self.told(e))
    }

    /// Undoes [`LocalCloud::freeze`].
    ///
    /// # Errors
    /// If it is off.
    pub async fn thaw(&self, name: &str) -> Done {
        let thawed = self.client.thaw(name).await;
        thawed.map_err(|e| self.told(e))
    }

    /// Cuts a machine off from everybody, and everybody from it. It lasts over reboots, until
    /// [`LocalCloud::heal`].
    ///
    /// # Errors
    /// If it is gone.
    pub async fn partition(&self, name: &str) -> Done {
        let cut = Fault::cut(End::Machine(name.into()), End::All);
        let cut = self.client.break_network(cut).await;
        cut.map_err(|e| self.told(e))
    }

    /// Undoes [`LocalCloud::partition`]; one that is not cut off stays as it is.
    ///
    /// # Errors
    /// If the daemon cannot.
    pub async fn heal(&self, name: &str) -> Done {
        let healed = self.client.heal(End::Machine(name.into()), End::All).await;
        healed.map_err(|e| self.told(e))
    }
}

impl LocalServer {
    /// Kills a cluster and takes away the right to read part of its data, so that
    /// no start can succeed.
    ///
    /// # Errors
    /// If there is no such data.
    pub async fn spoil(&self, cluster: &Cluster) -> anyhow::Result<()> {
        // First the data: nobody is to start it in between.
        self.set_mode(cluster, "000").await?;
        self.kill(cluster).await.map(drop)
    }

    /// Undoes [`LocalServer::spoil`]; the cluster stays down.
    ///
    /// # Errors
    /// If there is no such data.
    pub async fn mend(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.set_mode(cluster, "700").await
    }

    async fn set_mode(&self, cluster: &Cluster, mode: &str) -> anyhow::Result<()> {
        let script = include_str!("scripts/set_mode.sh");
        self.control(cluster, script, &[mode]).await.map(drop)
    }

    /// SIGSTOP to the cluster's postmaster and all its children: it takes
    /// connections, and never answers. Gives how many processes that were.
    ///
    /// # Errors
    /// If nothing of it runs.
    pub async fn hang(&self, cluster: &Cluster) -> anyhow::Result<u32> {
        self.reach(cluster, "STOP").await
    }

    /// Undoes [`LocalServer::hang`].
    ///
    /// # Errors
    /// If nothing of it runs.
    pub async fn resume(&self, cluster: &Cluster) -> anyhow::Result<u32> {
        self.reach(cluster, "CONT").await
    }

    async fn reach(&self, cluster: &Cluster, signal: &str) -> anyhow::Result<u32> {
        match self.signal(cluster, signal).await? {
            0 => bail!("nothing of {} runs", cluster.name),
            reached => Ok(reached),
        }
    }
}
