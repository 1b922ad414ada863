//! A machine's processes, found in `/proc`.
//!
//! A pid in a file proves nothing: it may be another program's by now. What is signalled is
//! what `/proc` shows to be the machine's at that moment.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the kernel may take to end what is killed.
const LIMIT: Duration = Duration::from_secs(15);
/// Rounds after which nothing new can have been started.
const ROUNDS: usize = 3;

/// One process, as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    parent: i32,
    /// Clock ticks after the host's start; with this, a pid is never used twice
    started: u64,
    /// Whether a signal has stopped it: it lives, and does nothing
    pub is_stopped: bool,
    arguments: Vec<u8>,
    environment: Vec<u8>,
    directory: Option<PathBuf>,
    program: Option<PathBuf>,
}

impl Process {
    /// The process of this pid, if there is one that has not ended.
    fn read(pid: i32) -> Option<Self> {
        let (state, parent, started) = stat(pid)?;
        if matches!(state, 'Z' | 'X') {
            return None;
        }
        Some(Self {
            pid,
            parent,
            started,
            is_stopped: matches!(state, 'T' | 't'),
            arguments: fs::read(format!("/proc/{pid}/cmdline")).ok()?,
            environment: fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
            directory: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
            program: fs::read_link(format!("/proc/{pid}/exe")).ok(),
        })
    }

    fn is_postgres(&self) -> bool {
        let program = self.program.as_deref().and_then(Path::file_name);
        // After an upgrade of the package, the link ends with ` (deleted)`.
        program.is_some_and(|name| name.as_bytes().starts_with(b"postgres"))
    }

    /// Whether it is the sshd of this configuration.
    fn listens_by(&self, config: &Path) -> bool {
        // sshd rewrites its title, though not at once: first it is `/usr/sbin/sshd -f …`,
        // then `sshd: /usr/sbin/sshd -f … [listener] …`.
        let words = self.arguments.split(|byte| [0, b' '].contains(byte));
        let mut words = words.filter(|word| !word.is_empty()).peekable();
        words
            .peek()
            .is_some_and(|word| *word == b"sshd:" || word.ends_with(b"/sshd"))
            && words.any(|word| word == b"-f")
            && words.next() == Some(config.as_os_str().as_bytes())
    }

    /// Sends it a signal. That it has ended meanwhile is no failure: by now its pid may be
    /// nobody's, or another's.
    pub fn signal(&self, signal: Signal) {
        let lives = stat(self.pid).is_some_and(|(state, _, started)| {
            started == self.started && !matches!(state, 'Z' | 'X')
        });
        if lives {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// State, parent and start of a process.
fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    let parent = words.next()?.parse().ok()?;
    let started = words.nth(17)?.parse().ok()?;
    Some((state, parent, started))
}

/// What makes a process one of a machine's.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Whose processes are looked at
    pub uid: u32,
    /// Its sshd's configuration
    pub config: PathBuf,
    /// What stands in the environment of all that sshd or the daemon starts there
    pub variable: String,
    /// Where its clusters' data are: PostgreSQL writes over its environment
    pub storage: PathBuf,
}

impl Marks {
    fn fit(&self, process: &Process) -> bool {
        process.listens_by(&self.config)
            || self.serves(process)
            || process
                .environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == self.variable.as_bytes())
    }

    /// PostgreSQL changes into its data directory at the start, and stays there; a child too
    /// that its postmaster left behind.
    fn serves(&self, process: &Process) -> bool {
        let directory = process.directory.as_deref();
        process.is_postgres() && directory.is_some_and(|own| own.starts_with(&self.storage))
    }

    /// All of the machine's processes, and what they started.
    pub fn family(&self) -> Vec<Process> {
        with_descendants(&all(self.uid), |process| self.fit(process))
    }

    /// Its sshd.
    pub fn listener(&self) -> Option<Process> {
        eldest(all(self.uid), |process| process.listens_by(&self.config)).pop()
    }

    pub fn postmasters(&self) -> Vec<Process> {
        eldest(all(self.uid), |process| self.serves(process))
    }

    /// Sends a signal to all; who begins another process meanwhile is met in the next round.
    pub fn signal(&self, signal: Signal) {
        for _ in 0..ROUNDS {
            // The postmasters first: stopped, they start no more children.
            for process in self.postmasters().iter().chain(&self.family()) {
                process.signal(signal);
            }
        }
    }

    /// SIGKILL to all, until none is left.
    ///
    /// # Errors
    /// If one survives.
    pub async fn kill(&self) -> anyhow::Result<()> {
        // Stopped first, so that none begins another that is nobody's child by the time
        // that it is looked for.
        self.signal(Signal::SIGSTOP);
        kill_all(|| self.family()).await
    }

    /// The same to its clusters alone.
    ///
    /// # Errors
    /// If one survives.
    pub async fn kill_clusters(&self) -> anyhow::Result<()> {
        kill_all(|| with_descendants(&all(self.uid), |process| self.serves(process))).await
    }
}

async fn kill_all(doomed: impl Fn() -> Vec<Process>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let left = doomed();
        let Some(first) = left.first() else {
            return Ok(());
        };
        if begun.elapsed() > LIMIT {
            bail!("process {} survives SIGKILL", first.pid);
        }
        left.iter()
            .for_each(|process| process.signal(Signal::SIGKILL));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that a user runs.
fn all(uid: u32) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.metadata().is_ok_and(|seen| seen.uid() == uid));
    let pids = own.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

/// Those that match, and all that they started.
fn with_descendants(all: &[Process], matches: impl Fn(&Process) -> bool) -> Vec<Process> {
    let fit = all.iter().filter(|process| matches(process));
    let mut pids: BTreeSet<i32> = fit.map(|process| process.pid).collect();
    loop {
        let before = pids.len();
        let children = all.iter().filter(|process| pids.contains(&process.parent));
        let children: Vec<i32> = children.map(|process| process.pid).collect();
        pids.extend(children);
        if pids.len() == before {
            break;
        }
    }
    let found = all.iter().filter(|process| pids.contains(&process.pid));
    found.cloned().collect()
}

/// Those that match, and were started by none that does.
fn eldest(all: Vec<Process>, matches: impl Fn(&Process) -> bool) -> Vec<Process> {
    let found: Vec<_> = all.into_iter().filter(|process| matches(process)).collect();
    let pids: BTreeSet<i32> = found.iter().map(|process| process.pid).collect();
    let eldest = found.into_iter();
    eldest
        .filter(|process| !pids.contains(&process.parent))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, arguments: &[u8]) -> Process {
        Process {
            pid,
            parent,
            started: 1,
            is_stopped: false,
            arguments: arguments.to_vec(),
            environment: vec![],
            directory: None,
            program: None,
        }
    }

    fn marks() -> Marks {
        Marks {
            uid: 0,
            config: "/d/a/sshd_config".into(),
            variable: "ROOT=/d/a/conf".into(),
            storage: "/d/a/disk".into(),
        }
    }

    #[test]
    fn a_recycled_pid_is_another_process() {
        let us = i32::try_from(std::process::id()).unwrap();
        let seen = all(nix::unistd::getuid().as_raw());
        let mut recycled = seen.into_iter().find(|process| process.pid == us).unwrap();
        recycled.started += 1;
        // Else this test would end here.
        recycled.signal(Signal::SIGKILL);
    }

    #[test]
    fn descendants_go_with_their_ancestor() {
        let all = [
            process(1, 0, b""),
            process(5, 1, b"x"),
            process(7, 6, b""),
            process(6, 5, b""),
        ];
        let found = with_descendants(&all, |process| process.arguments == b"x");
        assert_eq!(found.iter().map(|p| p.pid).collect::<Vec<_>>(), [5, 7, 6]);
    }

    #[test]
    fn an_sshd_is_known_by_its_configuration_alone() {
        let title = b"sshd: /usr/sbin/sshd -f /d/a/sshd_config -E /d/log [listener]";
        assert!(marks().fit(&process(1, 0, title)));
        assert!(marks().fit(&process(1, 0, b"/usr/sbin/sshd\0-f\0/d/a/sshd_config\0")));
        assert!(!marks().fit(&process(1, 0, b"sshd: /usr/sbin/sshd -f /d/a/sshd_config2")));
        assert!(!marks().fit(&process(1, 0, b"vim\0-f\0/d/a/sshd_config")));
    }

    #[test]
    fn postgres_is_known_by_where_it_works_and_others_by_their_environment() {
        let mut backend = process(1, 0, b"postgres: 15/app: checkpointer");
        backend.directory = Some("/d/a/disk/data/app".into());
        assert!(!marks().fit(&backend), "somebody's shell");
        backend.program = Some("/usr/lib/postgresql/15/bin/postgres (deleted)".into());
        assert!(marks().fit(&backend));
        backend.directory = Some("/d/a/disk2/data/app".into());
        assert!(!marks().fit(&backend));
        let mut session = process(1, 0, b"sh");
        session.environment = b"HOME=/x\0ROOT=/d/a/conf\0".to_vec();
        assert!(marks().fit(&session));
        session.environment = b"HOME=/x\0ROOT=/d/a/conf2\0".to_vec();
        assert!(!marks().fit(&session));
    }
}
