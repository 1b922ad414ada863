//! Whom the local cloud belongs to. PostgreSQL refuses to run as root, so root
//! hands everything to an unprivileged user of its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User};

const USER: &str = "drover";

/// Whom files and processes of the local cloud belong to.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its name, which is also who logs in over SSH.
    pub name: String,
    home: PathBuf,
    uid: Uid,
    gid: Gid,
    /// Whether we are root, and so have to become that user.
    switch: bool,
}

impl Owner {
    /// The user `drover` for root, otherwise whoever we are.
    ///
    /// # Errors
    /// If that user does not exist: says how to make it.
    pub fn find() -> anyhow::Result<Self> {
        let us = Uid::effective();
        let user = if us.is_root() {
            User::from_name(USER)
        } else {
            User::from_uid(us)
        };
        match user.context("cannot read the list of users")? {
            Some(user) => Ok(Self {
                name: user.name,
                home: user.dir,
                uid: user.uid,
                gid: user.gid,
                switch: us.is_root(),
            }),
            None if us.is_root() => bail!(
                "PostgreSQL refuses to run as root, and the user `{USER}` that the local cloud \
                 would run as does not exist; make it with: useradd --system --create-home \
                 --home-dir /var/lib/drover --shell /bin/sh {USER}"
            ),
            None => bail!("user {us} has no entry in the list of users"),
        }
    }

    /// Its user id and its group id.
    pub(super) fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// A command that will run as this user, with little of our environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("USER", &self.name)
            .env(
                "PATH",
                "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            )
            .current_dir("/")
            .stdin(Stdio::null());
        if self.switch {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Makes a directory that is this user's; those above it too.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_dir(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        if let Some(above) = path.parent().filter(|p| !p.exists()) {
            self.make_dir(above, 0o755)?;
        }
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("cannot make {}", path.display()))?,
        }
        self.give(path, mode)
    }

    /// Makes a directory that only this user gets into, in a place where others may
    /// have been first: theirs, or a link of theirs, is refused.
    ///
    /// # Errors
    /// If it cannot be made, or is somebody else's.
    pub fn make_private_dir(&self, path: &Path) -> anyhow::Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = std::fs::symlink_metadata(path)
                    .with_context(|| format!("cannot look at {}", path.display()))?;
                let ours = [self.uid.as_raw(), Uid::effective().as_raw()].contains(&found.uid());
                if !found.is_dir() || !ours {
                    bail!("{} is somebody else's; remove it", path.display());
                }
            }
            made => made.with_context(|| format!("cannot make {}", path.display()))?,
        }
        self.give(path, 0o700)
    }

    /// Writes a file that is this user's; readers see the old one or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let new = path.with_extension("new");
        let write = || {
            let _ = std::fs::remove_file(&new);
            let mut options = std::fs::OpenOptions::new();
            options
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&new)?
                .write_all(text.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", new.display()))?;
        self.give(&new, mode)?;
        std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn give(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        let given = || {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
            if self.switch {
                chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))?;
            }
            Ok::<_, std::io::Error>(())
        };
        given().with_context(|| format!("{} is not {}'s to use", path.display(), self.name))
    }

    /// Whether this user gets into a directory.
    pub fn reaches(&self, path: &Path) -> bool {
        let mut test = self.command("/usr/bin/test");
        test.arg("-x").arg(path).status().is_ok_and(|s| s.success())
    }
}
