//! drover's processes, each started by its line of the Procfile.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program;

/// Running processes; all of them are killed when this is dropped.
pub struct Processes {
    environment: BTreeMap<String, String>,
    logs: PathBuf,
    running: Vec<(String, Child)>,
    started: u32,
}

impl Processes {
    /// None yet; they will get this environment and write their logs there.
    pub fn new(environment: BTreeMap<String, String>, logs: PathBuf) -> Self {
        Self {
            environment,
            logs,
            running: Vec::new(),
            started: 0,
        }
    }

    /// Sets a variable for what is started from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.into(), value.into());
    }

    /// A command of drover's with the environment that the processes have.
    pub fn command(&self, line: &[&str]) -> Result<Command> {
        let (name, arguments) = line.split_first().context("an empty command")?;
        let mut command = Command::new(program(name)?);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
            .envs(&self.environment)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Starts one process of a type that the Procfile names.
    ///
    /// # Errors
    /// If there is no such type, or its program cannot be started.
    pub fn start(&mut self, kind: &str) -> Result<u32> {
        self.start_with(kind, &[])
    }

    /// The same with other settings.
    pub fn start_with(&mut self, kind: &str, settings: &[(&str, &str)]) -> Result<u32> {
        let line = procfile(kind)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let child = self.command(&words)?;
        self.spawn(kind, child, settings)
    }

    /// The same in a network of its own, whose only link is down.
    pub fn start_without_network(&mut self, kind: &str, settings: &[(&str, &str)]) -> Result<u32> {
        let line = procfile(kind)?;
        let (name, arguments) = line.split_once(' ').context("an empty line")?;
        let alone = if nix::unistd::Uid::current().is_root() {
            "-n"
        } else {
            "-rn"
        };
        let mut command = self.command(&[name])?;
        let mut wrapped = Command::new("unshare");
        wrapped.arg(alone).arg(command.get_program());
        wrapped.args(arguments.split_whitespace()).env_clear();
        for (name, value) in command.get_envs() {
            wrapped.env(name, value.unwrap_or_default());
        }
        command = wrapped;
        command.stdin(Stdio::null());
        self.spawn(kind, command, settings)
    }

    fn spawn(
        &mut self,
        kind: &str,
        mut command: Command,
        settings: &[(&str, &str)],
    ) -> Result<u32> {
        self.started += 1;
        let log = File::create(self.logs.join(format!("{kind}.{}.log", self.started)))?;
        let child = command
            .envs(settings.iter().copied())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {kind}"))?;
        let pid = child.id();
        self.running.push((kind.to_owned(), child));
        Ok(pid)
    }

    /// Sends SIGKILL to every process of a type; tells how many there were.
    pub fn kill(&mut self, kind: &str) -> Result<usize> {
        let mut killed = 0;
        for (_, child) in self.running.iter_mut().filter(|(k, _)| k == kind) {
            child.kill()?;
            child.wait()?;
            killed += 1;
        }
        self.running.retain(|(k, _)| k != kind);
        Ok(killed)
    }

    /// Sends SIGKILL to the process with this id.
    ///
    /// # Errors
    /// If it is not one of ours.
    pub fn kill_pid(&mut self, pid: u32) -> Result<()> {
        let index = self.running.iter().position(|(_, c)| c.id() == pid);
        let (_, mut child) = self.running.remove(index.context("no such process")?);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends a signal to the process with this id.
    ///
    /// # Errors
    /// If it is not one of ours, or has ended.
    pub fn signal(&self, pid: u32, signal: Signal) -> Result<()> {
        let ours = self.running.iter().any(|(_, child)| child.id() == pid);
        ensure!(ours, "no process of ours has the id {pid}");
        kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        Ok(())
    }

    /// Sends SIGTERM to every process of a type, and waits until they have
    /// ended; tells how long that took.
    ///
    /// # Errors
    /// If one of them fails, or takes longer than drover promises (25 s).
    pub fn terminate(&mut self, kind: &str) -> Result<Duration> {
        let began = Instant::now();
        for (_, child) in self.running.iter().filter(|(k, _)| k == kind) {
            kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        }
        for (name, child) in self.running.iter_mut().filter(|(k, _)| k == kind) {
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if began.elapsed() > Duration::from_secs(27) {
                    bail!("{name} did not end within 25 s of SIGTERM");
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            ensure!(status.success(), "{name} ended with {status} after SIGTERM");
        }
        self.running.retain(|(k, _)| k != kind);
        Ok(began.elapsed())
    }

    /// Process ids of a type.
    pub fn pids(&self, kind: &str) -> Vec<u32> {
        self.running
            .iter()
            .filter(|(k, _)| k == kind)
            .map(|(_, c)| c.id())
            .collect()
    }

    /// The types of which a process has ended by itself.
    pub fn ended(&mut self) -> Vec<String> {
        self.running
            .iter_mut()
            .filter_map(|(kind, child)| match child.try_wait() {
                Ok(Some(status)) => Some(format!("{kind} ({status})")),
                Ok(None) | Err(_) => None,
            })
            .collect()
    }

    /// Everything the processes have logged, each line behind its process.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        let Ok(files) = std::fs::read_dir(&self.logs) else {
            return all;
        };
        let mut files: Vec<_> = files.filter_map(Result::ok).map(|f| f.path()).collect();
        files.sort();
        for file in files {
            let name = file
                .file_stem()
                .and_then(|s| s.to_str())
                .unwrap_or_default()
                .to_owned();
            for line in std::fs::read_to_string(&file).unwrap_or_default().lines() {
                all.push_str(&format!("{name} | {line}\n"));
            }
        }
        all
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The command that the Procfile has for a type.
fn procfile(kind: &str) -> Result<String> {
    let text = include_str!("../../Procfile");
    text.lines()
        .find_map(|line| line.strip_prefix(kind)?.strip_prefix(": "))
        .map(str::to_owned)
        .with_context(|| format!("the Procfile has no `{kind}`"))
}

/// Bytes resident of a process; 0 if it is gone.
pub fn resident(pid: u32) -> u64 {
    let of = || -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    of().unwrap_or(0)
}
