//! How machines of the local cloud come to be: told at their first boot what an instance of
//! EC2 is told.

use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context;
use drover::model::{ExposeSecret, Secret, SubjectId, secret};
use drover_machines::protocol::{About, Make, NewVolume};
use futures::{StreamExt, TryStreamExt};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use super::server::{Kept, SSH_PORT, USER};
use super::volume::MIB;
use super::{LocalCloud, LocalServer, NewInstance};
use crate::cloud::{CloudError, Done, Login, Unsupported, user_data};
use crate::ssh::public_half;

/// More at once only makes two cores slower.
const AT_ONCE: usize = 3;

const NO_VOLUMES: &str =
    "machines are processes here, and have no volumes: neither root nor sudo may mount one";

/// A machine to be made by hand.
#[derive(Clone, Debug)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// Availability zone, so called.
    pub zone: String,
    /// The size of its volume; without one, its clusters live on the machine's own disk.
    pub volume_mib: Option<u32>,
}

impl LocalCloud {
    pub(super) async fn about(&self) -> Done<About> {
        self.client.about().await.map_err(|e| self.told(e))
    }

    /// Who logs in, and where: as the user data say, unless these are processes of one user.
    pub(super) async fn way_in(&self) -> Done<Login> {
        Ok(way_in(self.about().await?))
    }

    /// The instance of a server that drover makes: one id, one instance.
    pub(super) fn instance_of(id: SubjectId) -> String {
        format!("i-{}", id.to_string().to_ascii_lowercase())
    }

    /// Makes the machines of these names and zones that are missing, turns on those that are
    /// off, and gives all of them, once they let drover in.
    ///
    /// # Errors
    /// If the daemon cannot make them, or one does not boot.
    pub async fn create(&self, wanted: &[NewServer]) -> anyhow::Result<Vec<LocalServer>> {
        if self.key.is_none() && !self.key_file().exists() {
            self.make_key()?;
        }
        let all = wanted.iter().map(|new| self.create_one(new));
        futures::stream::iter(all)
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn create_one(&self, new: &NewServer) -> anyhow::Result<LocalServer> {
        if self.machine(&new.name).await?.is_none() {
            let host_key = new_key()?;
            let about = self.about().await?;
            if new.volume_mib.is_some() && !about.volumes {
                return Err(Unsupported(NO_VOLUMES).into());
            }
            let login = way_in(about);
            let key = public_half(&self.key()?)?;
            let kept = Kept {
                host_key: Some(plain(&public_half(&host_key)?)),
                volume: new.volume_mib.is_some(),
                ..Kept::default()
            };
            let mib = new.volume_mib.map(u64::from);
            let make = Make {
                name: Some(new.name.clone()),
                zone: Some(new.zone.clone()),
                user_data: Some(user_data::document(
                    &host_key,
                    &key,
                    &login.user,
                    login.port,
                )?),
                volumes: volumes(mib.map(|mib| mib * MIB)),
                image: self.image,
                ..Make::default()
            };
            // Kept first: who finds it must be able to know it.
            self.keep(&new.name, &kept)?;
            if let Err(e) = self.client.make(make).await {
                self.forget(&new.name)?;
                let e = anyhow::Error::from(self.told(e));
                return Err(e.context(format!("cannot make {}", new.name)));
            }
        }
        let server = self.server(&new.name).await?;
        let server = server.with_context(|| format!("{} is gone", new.name))?;
        server.plug().await?;
        if new.volume_mib.is_some() {
            server.mount_volume().await?;
        }
        Ok(server)
    }

    /// The machine that was made for this server in the record.
    pub(super) async fn made_for(&self, id: SubjectId) -> Done<Option<LocalServer>> {
        let server = self.server(&Self::instance_of(id)).await?;
        Ok(server.filter(|server| server.settings.made_for == Some(id)))
    }

    /// Makes the one that drover wants, with its mark: the group that it and its volumes are
    /// of.
    pub(super) async fn make(&self, new: &NewInstance) -> Done<LocalServer> {
        let name = Self::instance_of(new.id);
        let about = self.about().await?;
        let gib = about.volumes.then_some(u64::from(new.volume_gib));
        let login = way_in(about);
        let key = &new.authorized_key;
        let told = user_data::document(&new.host_key, key, &login.user, login.port)?;
        let make = Make {
            name: Some(name.clone()),
            instance_id: Some(name.clone()),
            group: new.id.to_string(),
            zone: Some(new.zone.clone()),
            user_data: Some(told),
            volumes: volumes(gib.map(|gib| gib * 1024 * MIB)),
            image: self.image,
            ..Make::default()
        };
        let kept = Kept {
            host_key: Some(plain(&public_half(&new.host_key)?)),
            size: Some(new.size.clone()),
            volume: gib.is_some(),
            ..Kept::default()
        };
        self.keep(&name, &kept)?;
        let made = self.client.make(make).await.map_err(|e| self.told(e));
        match (made, self.made_for(new.id).await?) {
            // Also where another worker was quicker.
            (_, Some(server)) => Ok(server),
            (Err(e), None) => Err(e),
            (Ok(_), None) => Err(CloudError::Failed(anyhow::anyhow!(
                "{name} is gone at once"
            ))),
        }
    }

    /// Takes a machine away, and what is kept of it.
    pub(super) async fn take_away(&self, name: &str) -> Done {
        match self.client.destroy(name).await {
            Err(e) if !e.is_not_found() => Err(self.told(e)),
            Ok(()) | Err(_) => Ok(self.forget(name)?),
        }
    }

    /// Whether the image that machines start from has still to be made, which takes minutes.
    ///
    /// # Errors
    /// If the daemon does not say.
    pub async fn lacks_image(&self) -> anyhow::Result<bool> {
        let images = self.client.images().await.map_err(|e| self.told(e))?;
        Ok(images
            .iter()
            .any(|made| made.image == self.image && made.path.is_none()))
    }

    fn make_key(&self) -> anyhow::Result<()> {
        use std::io::Write;
        let path = self.key_file();
        let key = new_key()?;
        let write = || {
            std::fs::create_dir_all(&self.root)?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(key.expose_secret().as_bytes())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

fn way_in(about: About) -> Login {
    Login {
        user: about.login.unwrap_or_else(|| USER.to_owned()),
        port: SSH_PORT,
    }
}

fn volumes(size: Option<u64>) -> Vec<NewVolume> {
    let volume = size.map(|size| NewVolume {
        size,
        ..NewVolume::default()
    });
    volume.into_iter().collect()
}

/// A private key in OpenSSH's format.
fn new_key() -> anyhow::Result<Secret> {
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .context("cannot make a key")?;
    let text = key
        .to_openssh(LineEnding::LF)
        .context("cannot write a key")?;
    Ok(secret(text.to_string()))
}

/// `ssh-ed25519 AAAA…`, without a comment.
fn plain(public: &str) -> String {
    public
        .split_ascii_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}
