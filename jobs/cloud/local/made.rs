//! Local servers that drover makes for itself, through [`crate::cloud::Cloud`]:
//! marked with the id of the server in the record, as an instance of EC2 is by its
//! tags.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use drover::model::{ExposeSecret, SubjectId};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

use super::owner::Owner;
use super::server::LocalServer;
use super::{LocalCloud, Settings, check_programs, keygen, public_half};
use crate::cloud::NewInstance;

/// The zones of the local cloud, so called.
pub const ZONES: [&str; 3] = ["local-a", "local-b", "local-c"];

/// How long another process may take to choose an address.
const TURN: Duration = Duration::from_secs(10);

impl LocalCloud {
    /// The instance of a server that drover makes: one id, one instance.
    fn instance_of(id: SubjectId) -> String {
        format!("i-{}", id.to_string().to_ascii_lowercase())
    }

    /// The server that was made for this id; also one that is only half made.
    pub(super) fn made_for(&self, id: SubjectId) -> anyhow::Result<Option<LocalServer>> {
        let server = self.server(&Self::instance_of(id))?;
        Ok(server.filter(|server| server.settings.made_for == Some(id)))
    }

    /// Every server that drover made.
    pub(super) fn made(&self) -> anyhow::Result<Vec<LocalServer>> {
        let mut servers = self.servers()?;
        servers.retain(|server| server.settings.made_for.is_some());
        Ok(servers)
    }

    /// Makes it, or finishes what a worker that died left half made.
    pub(super) async fn make(&self, new: &NewInstance) -> anyhow::Result<LocalServer> {
        check_programs()?;
        let owner = Owner::find()?;
        let root = self.prepare(&owner)?;
        let server = {
            let _turn = root.turn().await?;
            if root.key.is_none() && !root.key_file().exists() {
                keygen(&owner, &root.key_file(), "drover")?;
            }
            match root.made_for(new.id)? {
                Some(server) => server,
                None => root.lay_out_new(&owner, new)?,
            }
        };
        server.mount().await?;
        server.start_sshd().await?;
        Ok(server)
    }

    /// Chooses an address and lays the directory out; call it in one's turn.
    fn lay_out_new(&self, owner: &Owner, new: &NewInstance) -> anyhow::Result<LocalServer> {
        let there = self.servers()?;
        let taken: HashSet<_> = there.iter().map(|s| s.settings.address).collect();
        let settings = Settings {
            address: self.free_address(&taken)?,
            zone: new.zone.clone(),
            // Without the right to mount, it lives on this machine's disk.
            volume_mib: may_mount().then_some(new.volume_gib.saturating_mul(1024)),
            id: None,
            made_for: Some(new.id),
            size: Some(new.size.clone()),
        };
        let key = self.key()?;
        let keys = format!("{}{}\n", public_half(&key)?, new.authorized_key.trim());
        let dir = self.servers_dir().join(Self::instance_of(new.id));
        let server = LocalServer::new(dir, settings, owner.clone(), key);
        owner.make_dir(&server.path(""), 0o755)?;
        owner.write(
            &server.path("host_key"),
            new.host_key.expose_secret(),
            0o600,
        )?;
        let public = public_half(&new.host_key)?;
        owner.write(&server.path("host_key.pub"), &public, 0o644)?;
        server.lay_out(&keys)?;
        Ok(server)
    }

    /// One process at a time chooses an address.
    async fn turn(&self) -> anyhow::Result<Flock<File>> {
        let path: PathBuf = self.root.join("turn");
        let deadline = Instant::now() + TURN;
        loop {
            let file =
                File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(turn) => return Ok(turn),
                Err(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_) => bail!("another process holds {} for too long", path.display()),
            }
        }
    }
}

/// Whether this process can give a server a volume of its own.
fn may_mount() -> bool {
    Uid::effective().is_root()
        || std::process::Command::new("sudo")
            .args(["-n", "true"])
            .stdin(std::process::Stdio::null())
            .output()
            .is_ok_and(|done| done.status.success())
}
