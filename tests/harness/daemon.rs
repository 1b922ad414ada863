//! A daemon of `drover-machines`, with all its machines: what a cloud is to others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use drover_machines::client::Client;
use tokio::net::UnixStream;

use crate::{program, until};

/// What it may take until it answers.
const START: Duration = Duration::from_secs(30);

/// The daemon; its machines go with it.
pub struct Daemon {
    /// Asks it.
    pub client: Client,
    folder: PathBuf,
    process: Child,
    /// As itself says: where sudo started it, that is no child of ours.
    pid: Option<i32>,
}

impl Daemon {
    /// One that keeps its machines in this folder, which need not exist; with root's rights,
    /// by sudo where the test has none, and a socket for whoever runs the test.
    ///
    /// # Errors
    /// If it does not answer, with what it had to say.
    pub async fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let owner = nix::unistd::User::from_uid(nix::unistd::getuid())?;
        let log = File::create(folder.join("log"))?;
        let mut serve = command(folder)?;
        serve.arg("serve").stdin(Stdio::null());
        if std::env::var_os("DROVER_TEST_PROCESSES").is_some() {
            serve.arg("--processes");
        }
        if let Some(owner) = owner {
            serve.args(["--owner", &owner.name]);
        }
        let process = serve.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut daemon = Self {
            pid: None,
            client: Client::at(folder.join("socket")),
            folder: folder.to_owned(),
            process,
        };
        until("the daemon answers", START, || async {
            let said = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let listed = daemon.client.list(None).await;
            Ok(listed.map_err(|e| format!("{e}; {said}")))
        })
        .await?;
        let stream = UnixStream::connect(daemon.socket()).await?;
        daemon.pid = stream.peer_cred()?.pid();
        Ok(daemon)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Runs a shell's words in a machine, as root, which have to succeed.
    ///
    /// # Errors
    /// If they do not, with what they had to say.
    pub async fn sh(&self, machine: &str, script: &str) -> Result<String> {
        let said = self.client.sh(machine, script, START).await?;
        ensure!(said.status == Some(0), "{script} in {machine}: {said:?}");
        Ok(said.stdout)
    }
}

fn command(folder: &Path) -> Result<Command> {
    let mut command = as_root(program("drover-machines")?, "DROVER_MACHINES_DIR");
    command.env("DROVER_MACHINES_DIR", folder);
    Ok(command)
}

/// With root's rights, by sudo where the test has none; it keeps these of its environment.
pub(crate) fn as_root(program: impl AsRef<std::ffi::OsStr>, kept: &str) -> Command {
    if nix::unistd::getuid().is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", &format!("--preserve-env={kept}")])
        .arg(program);
    sudo
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let _ = as_root("kill", "")
                .args(["-KILL", &pid.to_string()])
                .output();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let destroyed = command(&self.folder).and_then(|mut destroy| {
            let said = destroy.args(["destroy", "--all"]).output()?;
            ensure!(said.status.success(), "{said:?}");
            Ok(())
        });
        if let Err(e) = destroyed {
            eprintln!("machines of {} are left: {e:#}", self.folder.display());
            return;
        }
        // What is in it is root's.
        let _ = as_root("rm", "").arg("-rf").arg(&self.folder).output();
    }
}
