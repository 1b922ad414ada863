//! Clusters on a machine, made and started with Debian's own commands.

use anyhow::{Context, bail};
use drover::model::{ExposeSecret, Secret, secret};
use serde::{Deserialize, Serialize};

use super::server::LocalServer;

/// The role that drover logs in with, and its database.
pub const ROLE: &str = "drover";
/// See [`ROLE`].
pub const DATABASE: &str = "app";

const FIRST_PORT: u16 = 5501;

/// One cluster of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name in the herd.
    pub name: String,
    /// Its PostgreSQL's major version.
    pub version: String,
    /// The port it listens on.
    pub port: u16,
    /// Password of [`ROLE`].
    #[serde(with = "plain")]
    pub password: Secret,
    /// Whether it has been set up completely.
    pub ready: bool,
    /// Its id in the herd (`db_…`), once it is adopted.
    pub id: Option<String>,
}

impl Cluster {
    /// What Debian calls it: its units for systemd cannot have dashes.
    pub fn debian(&self) -> String {
        self.name.replace('-', "_")
    }
}

impl LocalServer {
    /// The clusters it should have: those that were made by hand, or else what Debian's own
    /// configuration knows there.
    ///
    /// # Errors
    /// If they cannot be told.
    pub async fn clusters(&self) -> anyhow::Result<Vec<Cluster>> {
        if self.settings.made_for.is_none() {
            return Ok(self.kept.clusters.clone());
        }
        if !self.is_up().await? {
            return Ok(vec![]);
        }
        let list = self.does("pg_lsclusters -h", &[], "").await?;
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some(Cluster {
                version: words.next()?.to_owned(),
                name: words.next()?.to_owned(),
                port: words.next()?.parse().ok()?,
                password: Secret::default(),
                ready: true,
                id: None,
            })
        };
        Ok(list.lines().filter_map(line).collect())
    }

    /// Whether anything of this cluster runs.
    ///
    /// # Errors
    /// If the machine does not say.
    pub async fn runs(&self, cluster: &Cluster) -> anyhow::Result<bool> {
        if !self.is_up().await? {
            return Ok(false);
        }
        Ok(self.signal(cluster, "0").await? > 0)
    }

    /// Makes a cluster, with drover's role and database in it, and starts it. One
    /// that is there already is kept; one that was left half made is made anew.
    ///
    /// # Errors
    /// If one of Debian's commands fails.
    pub async fn create(&mut self, name: &str) -> anyhow::Result<Cluster> {
        check_name(name)?;
        let clusters = &mut self.kept.clusters;
        let at = match clusters.iter().position(|c| c.name == name) {
            Some(at) => at,
            None => {
                let port = free_port(clusters)?;
                let version = self.newest_postgres().await?;
                let clusters = &mut self.kept.clusters;
                clusters.push(Cluster {
                    name: name.to_owned(),
                    version,
                    port,
                    password: random_password(),
                    ready: false,
                    id: None,
                });
                // Kept before it is used: a second run must find this password.
                self.keep()?;
                self.kept.clusters.len() - 1
            }
        };
        let cluster = self.kept.clusters[at].clone();
        if cluster.ready {
            self.start(&cluster).await?;
        } else {
            let sql = format!(
                "create role {ROLE} login password '{}';\ngrant pg_monitor to {ROLE};\n\
                 create database {DATABASE};\n",
                cluster.password.expose_secret(),
            );
            let port = cluster.port.to_string();
            let debian = cluster.debian();
            let words = [&*cluster.version, &*debian, &*port, ROLE];
            let made = self.does(include_str!("scripts/make_cluster.sh"), &words, &sql);
            made.await.with_context(|| format!("cannot make {name}"))?;
            self.kept.clusters[at].ready = true;
            self.keep()?;
        }
        Ok(self.kept.clusters[at].clone())
    }

    /// Starts a cluster; one that runs is left alone.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let start = include_str!("scripts/start_cluster.sh");
        self.control(cluster, start, &[]).await.map(drop)
    }

    /// Stops a cluster properly; one that is down is left alone.
    ///
    /// # Errors
    /// If it does not stop.
    pub async fn stop(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let stop = "pg_ctlcluster \"$1\" \"$2\" stop -m fast || [ $? -eq 2 ]";
        self.control(cluster, stop, &[]).await.map(drop)
    }

    /// Runs a script with version and name, as Debian has them, and these words.
    pub(super) async fn control(
        &self,
        cluster: &Cluster,
        script: &str,
        words: &[&str],
    ) -> anyhow::Result<String> {
        let debian = cluster.debian();
        let words = [&[cluster.version.as_str(), &debian], words].concat();
        self.does(script, &words, "").await
    }

    /// SIGKILL to the cluster's postmaster and all its children. Gives how many
    /// processes there were.
    ///
    /// # Errors
    /// If the machine does not say.
    pub async fn kill(&self, cluster: &Cluster) -> anyhow::Result<u32> {
        self.signal(cluster, "KILL").await
    }

    /// Sends a signal to all processes of a cluster. Gives how many there were.
    pub(super) async fn signal(&self, cluster: &Cluster, signal: &str) -> anyhow::Result<u32> {
        let script = include_str!("scripts/signal_cluster.sh");
        let said = self.control(cluster, script, &[signal]).await?;
        said.parse()
            .with_context(|| format!("{} says {said:?}", self.name))
    }

    async fn newest_postgres(&self) -> anyhow::Result<String> {
        let newest = "ls /usr/lib/postgresql | sort -n | tail -n 1";
        let version = self.does(newest, &[], "").await?;
        if version.is_empty() {
            bail!("{} has no PostgreSQL installed", self.name);
        }
        Ok(version)
    }
}

/// A name becomes a directory's: letters, digits and dashes.
fn check_name(name: &str) -> anyhow::Result<()> {
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(fit) || name.starts_with('-') {
        bail!("a local database's name has 1 to 40 letters, digits and dashes");
    }
    Ok(())
}

fn free_port(clusters: &[Cluster]) -> anyhow::Result<u16> {
    let free = (FIRST_PORT..FIRST_PORT + 1000).find(|p| clusters.iter().all(|c| c.port != *p));
    free.context("a local server has room for 1000 clusters")
}

/// 32 letters and digits, so that no quoting anywhere can spoil it.
fn random_password() -> Secret {
    use rand::RngExt;
    use rand::distr::Alphanumeric;
    secret(
        rand::rng()
            .sample_iter(Alphanumeric)
            .take(32)
            .map(char::from)
            .collect::<String>(),
    )
}

/// What is kept of a machine is the one place where these passwords are readable.
mod plain {
    use drover::model::{ExposeSecret, Secret, secret};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.expose_secret())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for bad in ["", "..", "a/b", "-rf", "a b", &"x".repeat(41)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("pg-1").is_ok());
    }
}
