//! Processes of a local server, found in `/proc` and killed.
//!
//! A pid in a file proves nothing: it may be another program's by now. What is
//! signalled is what `/proc` shows to belong to the directory at that moment.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process, as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    parent: i32,
    /// Clock ticks after boot; a pid together with this is never used twice.
    pub(super) started: u64,
    arguments: Vec<u8>,
    directory: Option<PathBuf>,
    program: Option<PathBuf>,
}

impl Process {
    /// The process of this pid, if there is one that has not ended.
    pub(super) fn read(pid: i32) -> Option<Self> {
        let (state, parent, started) = stat(pid)?;
        if matches!(state, 'Z' | 'X') {
            return None;
        }
        Some(Self {
            pid,
            parent,
            started,
            arguments: std::fs::read(format!("/proc/{pid}/cmdline")).ok()?,
            directory: std::fs::read_link(format!("/proc/{pid}/cwd")).ok(),
            program: std::fs::read_link(format!("/proc/{pid}/exe")).ok(),
        })
    }

    /// Whether it is PostgreSQL at work in this data directory: the postmaster,
    /// or a child, even one that its postmaster left behind. PostgreSQL changes
    /// into its data directory at the start and stays there.
    pub(super) fn serves(&self, data: &Path) -> bool {
        let program = self.program.as_deref().and_then(Path::file_name);
        // After an upgrade of the package, the link ends with ` (deleted)`.
        let postgres = program.is_some_and(|p| p.as_bytes().starts_with(b"postgres"));
        postgres && self.directory.as_deref() == Some(data)
    }

    /// Whether it is the sshd of this configuration.
    pub(super) fn listens_by(&self, config: &Path) -> bool {
        // sshd rewrites its title, though not at once: first it is
        // `/usr/sbin/sshd -f …`, then `sshd: /usr/sbin/sshd -f … [listener] …`.
        let words = self.arguments.split(|b| *b == 0 || *b == b' ');
        let mut words = words.filter(|w| !w.is_empty()).peekable();
        words
            .peek()
            .is_some_and(|w| *w == b"sshd:" || w.ends_with(b"/sshd"))
            && words.any(|w| w == b"-f")
            && words.next() == Some(OsStr::new(config).as_bytes())
    }

    /// Sends it a signal. That it has ended meanwhile is no failure: by now its pid
    /// may be nobody's, or another's.
    pub(super) fn signal(&self, signal: Signal) {
        if self.lives() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Whether it was stopped by a signal: it lives, and does nothing.
    pub(super) fn is_stopped(&self) -> bool {
        stat(self.pid).is_some_and(|(state, _, started)| {
            started == self.started && matches!(state, 'T' | 't')
        })
    }

    fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|(state, _, started)| {
            started == self.started && !matches!(state, 'Z' | 'X')
        })
    }
}

/// State, parent and start of a process.
fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    let parent = words.next()?.parse().ok()?;
    let started = words.nth(17)?.parse().ok()?;
    Some((state, parent, started))
}

/// Everything that runs on this machine.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return vec![];
    };
    let pids = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

/// Those that match, and all that they started.
fn with_descendants(all: &[Process], matches: &impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut pids: BTreeSet<i32> = all.iter().filter(|p| matches(p)).map(|p| p.pid).collect();
    loop {
        let children = all
            .iter()
            .filter(|p| pids.contains(&p.parent))
            .map(|p| p.pid);
        let more: Vec<i32> = children.filter(|pid| !pids.contains(pid)).collect();
        if more.is_empty() {
            break;
        }
        pids.extend(more);
    }
    all.iter()
        .filter(|p| pids.contains(&p.pid))
        .cloned()
        .collect()
}

/// The same of all that runs on this machine.
pub(super) fn family(matches: impl Fn(&Process) -> bool) -> Vec<Process> {
    with_descendants(&all(), &matches)
}

/// Those that match, and were started by none that does: postmasters, say.
pub(super) fn eldest(matches: impl Fn(&Process) -> bool) -> Vec<Process> {
    let found: Vec<_> = all().into_iter().filter(|p| matches(p)).collect();
    let pids: BTreeSet<i32> = found.iter().map(|p| p.pid).collect();
    let eldest = found.into_iter().filter(|p| !pids.contains(&p.parent));
    eldest.collect()
}

/// SIGKILL to all that match and all that they started, until none is left;
/// gives how many there were.
pub(super) async fn kill_all(matches: impl Fn(&Process) -> bool) -> anyhow::Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut killed = BTreeSet::new();
    loop {
        let doomed = with_descendants(&all(), &matches);
        if doomed.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() > deadline {
            bail!("process {} survives SIGKILL", doomed[0].pid);
        }
        for process in &doomed {
            killed.insert((process.pid, process.started));
            // Children end by themselves as soon as they miss their postmaster.
            process.signal(Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, arguments: &[u8]) -> Process {
        let arguments = arguments.to_vec();
        Process {
            pid,
            parent,
            started: 1,
            arguments,
            directory: None,
            program: None,
        }
    }

    #[test]
    fn we_see_ourselves() {
        let us = i32::try_from(std::process::id()).unwrap();
        let seen = all();
        assert!(seen.iter().any(|p| p.pid == us && p.lives()));
        let mut recycled = seen.into_iter().find(|p| p.pid == us).unwrap();
        recycled.started += 1;
        assert!(
            !recycled.lives(),
            "the same pid with another start is another process"
        );
    }

    #[test]
    fn descendants_go_with_their_ancestor() {
        let all = [
            process(1, 0, b""),
            process(5, 1, b"x"),
            process(7, 6, b""),
            process(6, 5, b""),
        ];
        let found = with_descendants(&all, &|p: &Process| p.arguments == b"x");
        assert_eq!(found.iter().map(|p| p.pid).collect::<Vec<_>>(), [5, 7, 6]);
    }

    #[test]
    fn an_sshd_is_known_by_its_configuration_alone() {
        let ours = Path::new("/d/servers/pg-1/sshd_config");
        let title = b"sshd: /usr/sbin/sshd -f /d/servers/pg-1/sshd_config -E /d/log [listener]";
        assert!(process(1, 0, title).listens_by(ours));
        assert!(!process(1, 0, title).listens_by(Path::new("/d/servers/pg-1/sshd")));
        assert!(!process(1, 0, b"vim\0-f\0/d/servers/pg-1/sshd_config").listens_by(ours));
    }

    #[test]
    fn postgres_is_known_by_where_it_works() {
        let mut backend = process(1, 0, b"postgres: 15/app: checkpointer");
        backend.directory = Some("/d/data".into());
        assert!(!backend.serves(Path::new("/d/data")));
        backend.program = Some("/usr/lib/postgresql/15/bin/postgres".into());
        assert!(backend.serves(Path::new("/d/data")));
        assert!(!backend.serves(Path::new("/d/data2")));
    }
}
