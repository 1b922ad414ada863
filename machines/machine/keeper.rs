//! The process that keeps one machine's power on. It lives in a session of its own, so a
//! machine outlives the daemon; it starts the machine again when that reboots, writes down
//! its console, and ends with it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use super::console::Console;
use crate::{record, run};

/// systemd-nspawn's exit status when the machine wants to be started again.
const REBOOT: i32 = 133;
/// Boots in a row that may come to nothing.
const FAILURES: u32 = 5;

/// What the keeper is told, anew for each boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Boot {
    pub(super) cgroup: PathBuf,
    /// The host's side of the machine's cable
    pub(super) link: String,
    /// The machine's network namespace
    pub(super) namespace: PathBuf,
    /// systemd-nspawn's arguments
    pub(super) arguments: Vec<String>,
}

pub(super) fn write(folder: &Path, boot: &Boot) -> anyhow::Result<()> {
    record::write(&folder.join("boot.json"), boot)
}

fn read(folder: &Path) -> anyhow::Result<Boot> {
    record::read(&folder.join("boot.json"))?.context("nobody said how to boot")
}

/// Keeps the machine in this folder on until it is turned off.
///
/// # Errors
/// If it cannot be turned on.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    // Fails if it leads a session already, which is as good.
    let _ = nix::unistd::setsid();
    let first = read(folder)?;
    fs::write(
        first.cgroup.join("cgroup.procs"),
        std::process::id().to_string(),
    )?;
    let mut console = Console::open(folder)?;
    plug(&first.link, "up")?;
    let mut failed = 0;
    loop {
        match once(folder, &mut console)? {
            Some(0) => break,
            Some(REBOOT) => failed = 0,
            // Told to reboot before systemd-nspawn has got it ready, which takes that for a
            // failure.
            _ if failed < FAILURES => failed += 1,
            status => bail!("it does not boot: systemd-nspawn ended with {status:?}"),
        }
        console.write(b"\n-- reboot --\n")?;
    }
    plug(&first.link, "down")
}

/// From power on to power off; systemd-nspawn's status.
fn once(folder: &Path, console: &mut Console) -> anyhow::Result<Option<i32>> {
    let boot = read(folder)?;
    let (mut said, ours) = std::io::pipe()?;
    let mut command = Command::new("systemd-nspawn");
    command
        .args(&boot.arguments)
        .env("PATH", run::path())
        // Its locks would be files outside of our folder.
        .env("SYSTEMD_NSPAWN_LOCK", "0")
        .stdin(Stdio::null())
        .stdout(ours.try_clone()?)
        .stderr(ours);
    let mut child = spawn_within(command, &boot.namespace)?;
    let mut bytes = [0; 4096];
    while let Ok(count) = said.read(&mut bytes) {
        if count == 0 {
            break;
        }
        console.write(&bytes[..count])?;
    }
    Ok(child.wait()?.code())
}

/// A machine's `/sys` shows the network devices of the namespace that systemd-nspawn is
/// started in: by a thread that has entered the machine's.
fn spawn_within(mut command: Command, namespace: &Path) -> anyhow::Result<Child> {
    let namespace = File::open(namespace).with_context(|| namespace.display().to_string())?;
    let spawn = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the network namespace")?;
        command
            .spawn()
            .context("systemd-nspawn cannot be run; install systemd-container")
    };
    // The command goes with the thread: it would keep the console's writing end open.
    let spawned = std::thread::spawn(spawn).join();
    spawned.unwrap_or_else(|_| bail!("the thread in the namespace broke"))
}

fn plug(link: &str, state: &str) -> anyhow::Result<()> {
    let status = Command::new("ip")
        .args(["link", "set", link, state])
        .env("PATH", run::path())
        .status()
        .context("ip cannot be run; install iproute2")?;
    if !status.success() {
        bail!("the cable {link} cannot be set {state}");
    }
    Ok(())
}
