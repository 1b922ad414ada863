//! How anything is run on a server: the only way.
//!
//! Architecture Invariant: a script is fixed text, a file in `scripts/`. What differs is
//! handed to it as quoted arguments, and what is secret as its input.
//!
//! Architecture Invariant: no script knows which cloud it runs on; `bin/layout` looks for it.

mod report;
pub mod scripts;

use std::time::Duration;

use drover::model::Cause;
use drover::store::leases::Fence;

use crate::ssh::{self, Limits, SshError, Target};
pub use report::Report;

/// A script, and what it needs.
#[derive(Debug)]
pub struct Script {
    /// The name of its file, for people and for `ps`.
    pub name: &'static str,
    /// Its text, without what stands before it.
    pub text: &'static str,
    /// Whom it has to be to see what it is about.
    pub sees: Sees,
    /// What it shares with others, of `prelude/`, in this order.
    pub needs: &'static [&'static str],
}

/// Whom a script has to be to see what it is about: a process shows itself to its owner and
/// to root only.
#[derive(Clone, Copy, Debug)]
pub enum Sees {
    /// Whoever logs in.
    Anyone,
    /// The owner of the cluster.
    Owner,
    /// Root. Where the login cannot become root the script says "not proved", and does
    /// nothing.
    Root,
}

impl Script {
    /// The whole text: the one place where it is put together.
    fn whole(&self) -> String {
        let sees = match self.sees {
            Sees::Anyone => include_str!("scripts/prelude/sees_anyone.sh"),
            Sees::Owner => include_str!("scripts/prelude/sees_owner.sh"),
            Sees::Root => include_str!("scripts/prelude/sees_root.sh"),
        };
        let needs = self.needs.concat();
        let head = include_str!("scripts/prelude/head.sh");
        let tail = include_str!("scripts/prelude/tail.sh");
        format!("{head}(\n{sees}{needs}{}\n)\n{tail}", self.text)
    }
}

/// On whose word a script changes something: since which operation, at which epoch of the
/// leader and its followers, under which lease, and until when. A node is to obey only the
/// newest. Nothing refuses by it yet: it reaches the script as `$word_…`.
#[derive(Debug, Default)]
pub struct Word {
    /// The operation.
    pub by: String,
    /// The epoch, as the record has it.
    pub epoch: Option<i64>,
    /// The number of the lease.
    pub fence: Option<Fence>,
    /// What is left of the turn.
    pub left: Option<Duration>,
}

impl Word {
    /// As `prelude/head.sh` takes it: empty for what is not known.
    fn arguments(&self) -> [String; 4] {
        let text = |number: Option<i64>| number.map_or_else(String::new, |n| n.to_string());
        let left = self.left.and_then(|left| left.as_millis().try_into().ok());
        let fence = self.fence.map(|fence| fence.0);
        [self.by.clone(), text(self.epoch), text(fence), text(left)]
    }
}

/// A server that scripts are run on, or one of its clusters.
pub struct Host<'a> {
    /// Its name, for people.
    pub name: &'a str,
    /// How to log in.
    pub target: Target,
    /// How long a script may take there, from the connection on.
    pub time: Duration,
    /// Of that, until we are let in.
    pub connect: Duration,
    /// The cluster's port, which is then the first argument.
    pub port: Option<u16>,
}

/// Why a script did not do its work; never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The server could not be asked, or it is not known how far the script came.
    #[error("{host}: {why}")]
    Ssh { host: String, why: SshError },
    /// It ended with another status than 0, or did not tell what it was asked.
    #[error("{words} on {host}")]
    Failed {
        host: String,
        status: u32,
        words: String,
    },
}

impl ScriptError {
    /// There is nothing to do it to.
    pub const NOTHING_THERE: u32 = 3;
    /// What it waits for goes on by itself: `EX_TEMPFAIL`.
    pub const GOES_ON: u32 = 75;
    /// No other try will help: `EX_CONFIG`.
    pub const HOPELESS: u32 = 78;

    /// The exit status, if it came to one.
    pub fn status(&self) -> Option<u32> {
        match self {
            Self::Failed { status, .. } => Some(*status),
            Self::Ssh { .. } => None,
        }
    }

    /// The same as a feeler takes it: with its cause, and the host key that was seen.
    pub fn into_ssh(self) -> SshError {
        match self {
            Self::Ssh { why, .. } => why,
            Self::Failed { .. } => SshError::new(Cause::Protocol, self.to_string()),
        }
    }
}

/// Runs a script. It bears this word; its arguments are `$1`, `$2` …, behind the port if
/// the host is a cluster; what it may read is its descriptor 3, which is where secrets go.
///
/// # Errors
/// [`ScriptError`]; none holds the input.
pub async fn run(
    host: &Host<'_>,
    script: &Script,
    word: &Word,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let failed = |why| {
        let host = host.name.to_owned();
        ScriptError::Ssh { host, why }
    };
    let mark = format!("drover-{:032x}", rand::random::<u128>());
    let (text, word) = (script.whole(), word.arguments());
    let port = host.port.map(|port| port.to_string());
    let words = [text.as_str(), script.name, mark.as_str()].into_iter();
    let words = words.chain(word.iter().map(String::as_str));
    let words = words
        .chain(port.as_deref())
        .chain(arguments.iter().copied());
    // The login shell may be any; the script is for `sh`.
    let quoted: anyhow::Result<Vec<_>> = words.map(ssh::quote).collect();
    let quoted = quoted.map_err(|e| failed(SshError::new(Cause::Error, e.to_string())))?;
    let command = format!("sh -c {}", quoted.join(" "));
    let limits = Limits {
        time: host.time,
        connect: host.connect,
        ..Limits::default()
    };
    let output = ssh::run_with_input(&host.target, &command, input, limits).await;
    Report::read(host.name, script.name, &mark, &output.map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::scripts::ALL;

    /// A file that names what it takes from others is believed when it is checked by itself;
    /// the whole text has to have it. That a prelude has more than is taken is no fault.
    #[test]
    fn whole_scripts_are_clean_under_shellcheck() {
        let dir = std::env::temp_dir().join(format!("drover-scripts-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = ALL.iter().map(|script| {
            let whole = script.whole();
            let names_what_it_takes = |line: &&str| line.starts_with("# shellcheck shell=sh");
            let lines: Vec<&str> = whole.lines().filter(|l| !names_what_it_takes(l)).collect();
            let file = dir.join(script.name);
            std::fs::write(&file, lines.join("\n")).unwrap();
            file
        });
        let mut check = Command::new("shellcheck");
        check.args(["--norc", "-s", "sh", "-e", "SC2034,SC2317"]);
        let said = check.args(files).output().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{text}");
    }
}
