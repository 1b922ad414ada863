//! All processes of a machine, as one thing: a cgroup of version 2. Freezing and killing
//! need nothing else of it, so it works beside version 1 too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use crate::run::tool;

/// What the kernel may take to freeze or kill a machine.
const LIMIT: Duration = Duration::from_secs(15);
/// What is killed is gone by then, unless it waits for a disk.
const SOON: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// Where this host has cgroups of version 2.
pub fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| place.into())
    })
}

impl Cgroup {
    /// That of a machine; `daemon` and `machine` name it.
    ///
    /// # Errors
    /// If the host has none of version 2.
    pub fn of(daemon: &str, machine: &str) -> anyhow::Result<Self> {
        let root = root().context("this host has no cgroups of version 2")?;
        Ok(Self {
            path: root.join(format!("drover-machines-{daemon}")).join(machine),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn make(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.path).with_context(|| self.path.display().to_string())
    }

    /// Whether any process is left.
    pub fn is_populated(&self) -> bool {
        self.says("cgroup.events", "populated 1")
    }

    pub fn is_frozen(&self) -> bool {
        self.says("cgroup.events", "frozen 1")
    }

    fn says(&self, file: &str, line: &str) -> bool {
        fs::read_to_string(self.path.join(file))
            .is_ok_and(|text| text.lines().any(|own| own == line))
    }

    /// The machine's init: the first process of a namespace right below this one.
    pub fn init(&self) -> Option<i32> {
        let depth = namespaces_of(std::process::id().cast_signed())?.len();
        self.processes().into_iter().find(|pid| {
            namespaces_of(*pid).is_some_and(|own| {
                own.len() == depth + 1 && own.last().is_some_and(|pid| pid == "1")
            })
        })
    }

    /// Its init, once that takes signals: what is sent to it before is lost.
    pub fn init_that_listens(&self) -> Option<i32> {
        let init = self.init()?;
        let status = fs::read_to_string(format!("/proc/{init}/status")).ok()?;
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim())
        };
        // systemd blocks its signals, and reads them one by one. What becomes systemd may have
        // blocked the same one.
        let blocked = u64::from_str_radix(field("SigBlk:")?, 16).ok()?;
        let interrupt = 1 << (Signal::SIGINT as u64 - 1);
        (field("Name:")? == "systemd" && blocked & interrupt != 0).then_some(init)
    }

    fn processes(&self) -> Vec<i32> {
        let text =
            |path: PathBuf| fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        let all: String = tree(&self.path).into_iter().map(text).collect();
        all.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Which of its processes wait in the kernel, and for what: what does not end may wait for a
    /// disk.
    pub fn waits(&self) -> String {
        let waits = |pid: &i32| {
            let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
            let stat = of("stat")?;
            let (name, rest) = stat.rsplit_once(')')?;
            let calls = of("stack").unwrap_or_default();
            let calls: Vec<&str> = calls
                .lines()
                .filter_map(|line| line.split(' ').nth(1)?.split('+').next())
                .collect();
            let waits = rest.trim_start().starts_with('D');
            waits.then(|| format!("{name}) in {}", calls.join(" < ")))
        };
        let all: Vec<String> = self.processes().iter().filter_map(waits).collect();
        all.join("; ")
    }

    /// Stops every process where it is, or lets them go on.
    pub async fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        let word = if frozen { "1" } else { "0" };
        fs::write(self.path.join("cgroup.freeze"), word)?;
        until("the machine's processes to be frozen", || {
            self.is_frozen() == frozen
        })
        .await
    }

    /// Kills every process at once, frozen or not.
    pub async fn kill(&self) -> anyhow::Result<()> {
        match fs::write(self.path.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let begun = Instant::now();
        while self.is_populated() && begun.elapsed() < SOON {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.unfreeze_disks().await;
        until("the machine's processes to end", || !self.is_populated()).await
    }

    /// Whoever waits for a filesystem that hangs does not die before it goes on.
    async fn unfreeze_disks(&self) {
        for pid in self.processes() {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap_or_default();
            for line in mounts.lines().filter(|line| line.starts_with("/dev/loop")) {
                let place = line.split(' ').nth(1).unwrap_or_default();
                let seen_by_it = format!("/proc/{pid}/root{place}");
                // It says that it failed where nothing hangs.
                let unfreeze = tool("fsfreeze").args(["--unfreeze", &seen_by_it]);
                let _ = unfreeze.run().await;
            }
        }
    }

    /// Removes the group, and its daemon's if it was the last. systemd-nspawn may have made
    /// it in hierarchies of version 1 too.
    pub fn remove(&self) -> anyhow::Result<()> {
        let own = self
            .path
            .strip_prefix(root().context("cgroups went away")?)?
            .to_owned();
        for hierarchy in mounts() {
            let path = hierarchy.join(&own);
            for path in tree(&path).iter().rev() {
                match fs::remove_dir(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| path.display().to_string());
                    }
                    _ => {}
                }
            }
            if let Some(daemon) = path.parent() {
                // Others may be in it.
                let _ = fs::remove_dir(daemon);
            }
        }
        Ok(())
    }
}

/// Where cgroups of either version are.
fn mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
            ["cgroup", "cgroup2"].contains(&kind).then(|| place.into())
        })
        .collect()
}

/// A group and all below, the lowest last.
fn tree(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    let mut next = 0;
    while let Some(path) = all.get(next) {
        let below = fs::read_dir(path).into_iter().flatten().flatten();
        let folders: Vec<_> = below
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        all.extend(folders);
        next += 1;
    }
    all
}

/// A process's number in each of its namespaces, the outermost first.
fn namespaces_of(pid: i32) -> Option<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

/// The process that began this one.
pub fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

/// When it began, in clock ticks after the host did.
pub fn start_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > LIMIT {
            bail!("waited {LIMIT:?} in vain for {what}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
