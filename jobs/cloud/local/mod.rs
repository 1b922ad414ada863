//! The local cloud: servers that are directories and loopback addresses of this
//! machine, with a real sshd and real PostgreSQL in each.
//!
//! Architecture Invariant: nothing supervises a local server, and no state of it
//! is anywhere but in its directory and in `/proc`. That is what makes pulling
//! its plug real.

mod actions;
mod cluster;
mod harm;
mod made;
mod mount;
mod network;
mod owner;
mod power;
mod processes;
mod server;
mod volume;

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use drover::model::{Secret, secret};

use crate::ssh::public_half;
pub use cluster::{Cluster, DATABASE, ROLE};
pub use made::ZONES;
use owner::Owner;
pub use power::Boot;
pub use server::{COMMANDS, LocalServer, SSH_PORT, Settings};
pub use volume::{Cure, MIB};

const SSHD: &str = "/usr/sbin/sshd";
const POSTGRES: &str = "/usr/lib/postgresql";

/// The local servers under one directory.
#[derive(Clone, Debug)]
pub struct LocalCloud {
    root: PathBuf,
    /// The deployment's own key, if it has one.
    key: Option<Secret>,
}

/// A server to be made.
#[derive(Clone, Debug)]
pub struct NewServer {
    /// Its name, and its directory's.
    pub name: String,
    /// Availability zone, so called.
    pub zone: String,
    /// See [`Settings::volume_mib`].
    pub volume_mib: Option<u32>,
}

impl LocalCloud {
    /// The cloud under this directory, which need not exist yet. Its servers let
    /// the deployment's key in, or else one that the cloud makes on first use.
    ///
    /// # Errors
    /// If the current directory, which a relative path begins at, is gone.
    pub fn new(root: &Path, key: Option<Secret>) -> anyhow::Result<Self> {
        let root = std::path::absolute(root).context("cannot tell the current directory")?;
        // `/proc` shows the real paths of what runs there.
        Ok(Self {
            root: std::fs::canonicalize(&root).unwrap_or(root),
            key,
        })
    }

    fn servers_dir(&self) -> PathBuf {
        self.root.join("servers")
    }

    /// The key that opens its servers: the deployment's, unless this cloud made
    /// one of its own on first use.
    pub fn key_file(&self) -> PathBuf {
        self.root.join("ssh_key")
    }

    /// Every server there is, by name.
    ///
    /// # Errors
    /// If something there cannot be read.
    pub fn servers(&self) -> anyhow::Result<Vec<LocalServer>> {
        let entries = match std::fs::read_dir(self.servers_dir()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            entries => {
                entries.with_context(|| format!("cannot list {}", self.servers_dir().display()))?
            }
        };
        let mut servers = Vec::new();
        for entry in entries.flatten() {
            if let Some(name) = entry.file_name().to_str() {
                servers.extend(self.server(name)?);
            }
        }
        servers.sort_by_key(|s| natural(&s.name));
        Ok(servers)
    }

    /// The server of this name; `None` also if it was never finished, or is half
    /// destroyed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn server(&self, name: &str) -> anyhow::Result<Option<LocalServer>> {
        let dir = self.servers_dir().join(name);
        let Ok(text) = std::fs::read_to_string(dir.join("server.json")) else {
            return Ok(None);
        };
        let settings = serde_json::from_str(&text)
            .with_context(|| format!("{}/server.json is damaged", dir.display()))?;
        let server = LocalServer::new(dir, settings, Owner::find()?, self.key()?);
        Ok(Some(server))
    }

    fn key(&self) -> anyhow::Result<Secret> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            None => read_key(&self.key_file()),
        }
    }

    /// Makes the servers of these names and zones that are missing, each with its
    /// sshd up, and gives all of them.
    ///
    /// # Errors
    /// If a program is missing, or a name is not fit for a directory.
    pub async fn create(&self, wanted: &[NewServer]) -> anyhow::Result<Vec<LocalServer>> {
        check_programs()?;
        let owner = Owner::find()?;
        let root = self.prepare(&owner)?;
        if root.key.is_none() && !root.key_file().exists() {
            keygen(&owner, &root.key_file(), "drover")?;
        }
        let key = root.key()?;
        let public_key = public_half(&key)?;
        let there = root.servers()?;
        let mut taken: HashSet<_> = there.iter().map(|s| s.settings.address).collect();
        let mut servers = Vec::new();
        for new in wanted {
            check_name(&new.name)?;
            let server = match there.iter().find(|s| s.name == new.name) {
                Some(server) => server.clone(),
                None => {
                    let address = root.free_address(&taken)?;
                    taken.insert(address);
                    let settings = Settings {
                        address,
                        zone: new.zone.clone(),
                        volume_mib: new.volume_mib,
                        id: None,
                        made_for: None,
                        size: None,
                    };
                    let dir = root.servers_dir().join(&new.name);
                    LocalServer::new(dir, settings, owner.clone(), key.clone())
                }
            };
            server.lay_out(&public_key)?;
            if let Err(e) = server.mount().await {
                // A new one is not finished, so it is none; an old one stays.
                if there.iter().all(|s| s.name != server.name) {
                    let _ = std::fs::remove_file(server.path("server.json"));
                }
                return Err(e);
            }
            server.start_sshd().await?;
            servers.push(server);
        }
        Ok(servers)
    }

    /// Removes what is left of servers that were destroyed, or never finished.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn clear(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(self.servers_dir()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.with_context(|| format!("cannot remove {}", self.servers_dir().display()))
            }
        }
    }

    fn prepare(&self, owner: &Owner) -> anyhow::Result<Self> {
        owner.make_dir(&self.root, 0o755)?;
        owner.make_dir(&self.servers_dir(), 0o755)?;
        if !owner.reaches(&self.servers_dir()) {
            bail!(
                "user `{}` that local servers run as cannot reach {}: set DROVER_LOCAL_DIR to a \
                 directory it can reach, such as /var/lib/drover/local",
                owner.name,
                self.root.display()
            );
        }
        Self::new(&self.root, self.key.clone())
    }

    /// An address in 127.77.0.0/16 that nothing listens at. Nothing does at that of a
    /// server that is unplugged either: where the search begins depends on the directory,
    /// one in 65,536, so that two clouds on one machine hardly ever come near each other.
    fn free_address(&self, taken: &HashSet<Ipv4Addr>) -> anyhow::Result<Ipv4Addr> {
        let [x, y, ..] = fingerprint(&self.root).to_be_bytes();
        let first = u16::from_be_bytes([x, y]);
        let candidates = (0..=u16::MAX).map(|n| {
            let [x, y] = first.wrapping_add(n).to_be_bytes();
            Ipv4Addr::new(127, 77, x, y)
        });
        candidates
            .filter(|a| !matches!(a.octets()[3], 0 | 255) && !taken.contains(a))
            .find(|a| TcpListener::bind((*a, SSH_PORT)).is_ok())
            .context("no loopback address in 127.77.0.0/16 is free at port 2222")
    }
}

/// A name becomes a directory and a cluster: letters, digits and dashes.
fn check_name(name: &str) -> anyhow::Result<()> {
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(fit) || name.starts_with('-') {
        bail!("a local server's name has 1 to 40 letters, digits and dashes");
    }
    Ok(())
}

fn check_programs() -> anyhow::Result<()> {
    let needed = [
        (SSHD, "openssh-server"),
        ("/usr/bin/ssh-keygen", "openssh-client"),
        ("/usr/bin/pg_createcluster", "postgresql"),
        ("/usr/bin/pg_lsclusters", "postgresql"),
    ];
    let missing: Vec<_> = needed
        .iter()
        .filter(|(program, _)| !Path::new(program).exists())
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        bail!("missing: {}", missing.join(", "))
    }
}

fn keygen(owner: &Owner, file: &Path, comment: &str) -> anyhow::Result<()> {
    let mut keygen = owner.command("/usr/bin/ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(file);
    let made = keygen.output().context("cannot start ssh-keygen")?;
    if !made.status.success() {
        bail!(
            "ssh-keygen: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );
    }
    Ok(())
}

fn read_key(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the SSH key {}", file.display()))?;
    Ok(secret(text))
}

/// FNV-1a: the same for a path in every process and every release.
fn fingerprint(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
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
    fn names_that_leave_the_directory_are_refused() {
        for bad in ["", "..", "a/b", "-rf", "a b", &"x".repeat(41)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("pg-1").is_ok());
    }

    #[test]
    fn servers_are_listed_as_people_count() {
        let mut names = ["pg-10", "pg-9", "a"];
        names.sort_by_key(|n| natural(n));
        assert_eq!(names, ["a", "pg-9", "pg-10"]);
    }
}
