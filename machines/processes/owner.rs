//! Whom the processes belong to. PostgreSQL refuses to run as root, so root has an
//! unprivileged user of its own run them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::unistd::{Uid, User};

use crate::run::{Tool, tool};

const USER: &str = "drover";

/// The user of all machines' processes, and of the files that they may write.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its name, which is also who logs in over SSH
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Whether we are root, and so have to become that user
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
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                switch: us.is_root(),
            }),
            None if us.is_root() => bail!(
                "PostgreSQL refuses to run as root, and the user `{USER}` that machines would \
                 run as does not exist; make it with: useradd --system --create-home --home-dir \
                 /var/lib/drover --shell /bin/sh {USER}"
            ),
            None => bail!("user {us} has no entry in the list of users"),
        }
    }

    /// A tool that runs as this user.
    pub fn tool(&self, name: &str) -> Tool {
        if self.switch {
            tool(name).user(self.uid, self.gid)
        } else {
            tool(name)
        }
    }

    /// A command that outlives us, as this user.
    pub fn command(&self, name: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(name);
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// From now on it is this user's.
    ///
    /// # Errors
    /// If it cannot be given away.
    pub fn own(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        let given = fs::set_permissions(path, fs::Permissions::from_mode(mode)).and_then(|()| {
            if self.switch {
                chown(path, Some(self.uid), Some(self.gid))?;
            }
            Ok(())
        });
        given.with_context(|| format!("{} is not {}'s to use", path.display(), self.name))
    }

    /// A folder of this user's, in one that is ours.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        self.own(path, mode)
    }

    /// Whether this user gets into a folder.
    pub async fn reaches(&self, path: &Path) -> bool {
        self.tool("test")
            .args(["-x"])
            .args([path])
            .run()
            .await
            .is_ok()
    }
}
