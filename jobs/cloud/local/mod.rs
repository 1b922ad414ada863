//! The local cloud: machines that `drover-machines` keeps on this host, each a Debian of its
//! own, or what stands in for one where that cannot be.
//!
//! Architecture Invariant: this is a client. What a machine is and how it does is the
//! daemon's to say; here lies only what it has no business with.

mod actions;
mod cluster;
mod harm;
mod making;
mod server;
mod volume;

use std::path::{Path, PathBuf};

use anyhow::Context;
use drover::config::LocalConfig;
use drover::model::{Secret, SubjectId, secret};
use drover_machines::client::{Client, ClientError};
use drover_machines::image::Image;
use drover_machines::protocol::{Machine, ProblemKind};

use super::{CloudError, NewInstance};
pub use cluster::{Cluster, DATABASE, ROLE};
pub use making::NewServer;
pub use server::{LocalServer, SSH_PORT, Settings};
pub use volume::{Cure, MIB};

/// The zones of the local cloud, so called.
pub const ZONES: [&str; 3] = ["local-a", "local-b", "local-c"];

/// The machines of one daemon.
#[derive(Clone, Debug)]
pub struct LocalCloud {
    /// What this cloud keeps of its machines.
    root: PathBuf,
    socket: PathBuf,
    client: Client,
    image: Image,
    /// The deployment's own key, if it has one.
    key: Option<Secret>,
}

impl LocalCloud {
    /// The cloud of these settings; neither its folder nor its daemon need be there yet. Its
    /// machines let the deployment's key in, or else one that the cloud makes on first use.
    ///
    /// # Errors
    /// If the current directory, which a relative path begins at, is gone, or there is no
    /// such image.
    pub fn new(config: &LocalConfig, key: Option<Secret>) -> anyhow::Result<Self> {
        let absolute =
            |path: &Path| std::path::absolute(path).context("cannot tell the current directory");
        let root = absolute(&config.dir)?;
        let socket = match &config.machines {
            Some(socket) => absolute(socket)?,
            None => root.join("machines/socket"),
        };
        let image = match &config.image {
            Some(name) => <Image as clap::ValueEnum>::from_str(name, false)
                .map_err(|_| anyhow::anyhow!("there is no image `{name}`"))?,
            None => Image::default(),
        };
        Ok(Self {
            client: Client::at(&socket),
            root,
            socket,
            image,
            key,
        })
    }

    /// Asks the daemon.
    pub fn machines(&self) -> &Client {
        &self.client
    }

    /// The key that opens its machines: the deployment's, unless this cloud made one of its
    /// own on first use.
    pub fn key_file(&self) -> PathBuf {
        self.root.join("ssh_key")
    }

    fn key(&self) -> anyhow::Result<Secret> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            None => {
                let file = self.key_file();
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("cannot read the SSH key {}", file.display()))?;
                Ok(secret(text))
            }
        }
    }

    /// Every machine there is, by name.
    ///
    /// # Errors
    /// If the daemon does not say, or what is kept of one cannot be read.
    pub async fn servers(&self) -> anyhow::Result<Vec<LocalServer>> {
        let machines = self.client.list(None).await.map_err(|e| self.told(e))?;
        let servers = machines.into_iter().map(|machine| self.known(machine));
        let mut servers = servers.collect::<anyhow::Result<Vec<_>>>()?;
        servers.sort_by_key(|s| natural(&s.name));
        Ok(servers)
    }

    /// The machine of this name, if there is one.
    ///
    /// # Errors
    /// As [`LocalCloud::servers`].
    pub async fn server(&self, name: &str) -> anyhow::Result<Option<LocalServer>> {
        let machine = self.machine(name).await?;
        machine.map(|machine| self.known(machine)).transpose()
    }

    async fn machine(&self, name: &str) -> Result<Option<Machine>, CloudError> {
        match self.client.show(name).await {
            Ok(machine) => Ok(Some(machine)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(self.told(e)),
        }
    }

    fn known(&self, machine: Machine) -> anyhow::Result<LocalServer> {
        let kept = self.kept(&machine.name)?;
        Ok(LocalServer {
            name: machine.name.clone(),
            settings: Settings {
                address: machine.address,
                zone: machine.zone.clone(),
                made_for: mark(&machine.group),
            },
            kept: kept.unwrap_or_default(),
            cloud: self.clone(),
        })
    }

    /// Removes what is kept of machines that are gone.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn clear(&self) -> anyhow::Result<()> {
        let dir = self.root.join("servers");
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", dir.display())),
        }
    }

    /// What the daemon's refusal means to whoever asked a cloud.
    fn told(&self, error: ClientError) -> CloudError {
        match error {
            ClientError::NoDaemon(socket, why) => {
                let dir = socket.parent().unwrap_or(&self.root).display();
                CloudError::Failed(anyhow::anyhow!(
                    "no daemon answers at {} ({why}): the local cloud's machines are kept by one; \
                     start it with: sudo drover-machines --dir {dir} serve --owner \"$USER\" (or \
                     set DROVER_MACHINES to the socket of one that runs)",
                    self.socket.display()
                ))
            }
            ClientError::Refused(problem) if problem.kind == ProblemKind::Invalid => {
                CloudError::Refused(problem.message)
            }
            ClientError::Refused(_)
            | ClientError::Lost(_)
            | ClientError::Late(_)
            | ClientError::Strange(_) => CloudError::Failed(error.into()),
        }
    }
}

/// The server in the record that a group of the daemon's was made for.
fn mark(group: &str) -> Option<SubjectId> {
    group.parse().ok()
}

/// So that pg-10 comes after pg-9.
fn natural(name: &str) -> (String, u64) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    (stem.to_owned(), number.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_listed_as_people_count() {
        let mut names = ["pg-10", "pg-9", "a"];
        names.sort_by_key(|n| natural(n));
        assert_eq!(names, ["a", "pg-9", "pg-10"]);
    }

    #[tokio::test]
    async fn without_a_daemon_it_is_said_how_to_start_one() {
        let config = LocalConfig {
            dir: "/nonexistent/local".into(),
            machines: None,
            image: None,
        };
        let cloud = LocalCloud::new(&config, None).unwrap();
        let said = format!("{:#}", cloud.servers().await.unwrap_err());
        assert!(
            said.starts_with("no daemon answers at /nonexistent/local/machines/socket (")
                && said.contains("--dir /nonexistent/local/machines serve"),
            "{said}"
        );
    }

    #[test]
    fn an_image_that_is_none_is_refused() {
        let config = LocalConfig {
            dir: "/tmp".into(),
            machines: None,
            image: Some("sid".into()),
        };
        let said = LocalCloud::new(&config, None).unwrap_err().to_string();
        assert_eq!(said, "there is no image `sid`");
    }
}
