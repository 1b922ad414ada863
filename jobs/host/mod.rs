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

/// As whom a script runs: a process shows itself to its owner and to root only. A login that
/// cannot become that one is told "not proved" (status 77), and nothing is done.
///
/// Architecture Invariant: what is below a cluster's data or its configuration is read and
/// written as its owner, whoever logs in: their folders may hold links to anybody's files.
#[derive(Clone, Copy, Debug)]
pub enum Sees {
    /// Whoever logs in. What it does at a cluster it does as the owner (`as_owner`).
    Anyone,
    /// The owner of the cluster: all of it runs as that user.
    Owner,
    /// Somebody who may become root, for the verbs of `prelude/root.sh`. What it does at a
    /// cluster it does as the owner all the same.
    Root,
}

impl Script {
    /// The whole text: the one place where it is put together.
    ///
    /// # Errors
    /// If it holds a NUL.
    fn whole(&self) -> anyhow::Result<String> {
        let body = match self.sees {
            Sees::Anyone => self.body(),
            Sees::Root => {
                let root = include_str!("scripts/prelude/root.sh");
                let may = include_str!("scripts/prelude/sees_root.sh");
                format!("{root}{may}{}", self.body())
            }
            Sees::Owner => {
                let found = scripts::A_CLUSTER.concat();
                let body = self.body();
                let (body, name) = (ssh::quote(&body)?, ssh::quote(self.name)?);
                format!(
                    "{found}as_owner sh -c {body} {name} \"$clock\" \"$v\" \"$c\" \"$d\" \"$l\" \
                     \"$o\" \"$conf\" \"$@\" <&3"
                )
            }
        };
        let head = include_str!("scripts/prelude/head.sh");
        let tail = include_str!("scripts/prelude/tail.sh");
        Ok(format!("{head}(\n{body}\n)\n{tail}"))
    }

    /// What runs as [`Sees`] says.
    fn body(&self) -> String {
        let head = match self.sees {
            Sees::Owner => include_str!("scripts/prelude/owned.sh"),
            Sees::Anyone | Sees::Root => "",
        };
        format!("{head}{}{}", self.needs.concat(), self.text)
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
    let odd = |e: anyhow::Error| failed(SshError::new(Cause::Error, e.to_string()));
    let (text, word) = (script.whole().map_err(odd)?, word.arguments());
    let port = host.port.map(|port| port.to_string());
    let words = [text.as_str(), script.name, mark.as_str()].into_iter();
    let words = words.chain(word.iter().map(String::as_str));
    let words = words
        .chain(port.as_deref())
        .chain(arguments.iter().copied());
    // The login shell may be any; the script is for `sh`.
    let quoted: anyhow::Result<Vec<_>> = words.map(ssh::quote).collect();
    let command = format!("sh -c {}", quoted.map_err(odd)?.join(" "));
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

    use super::Sees;
    use super::scripts::ALL;

    /// A file that names what it takes from others is believed when it is checked by itself;
    /// the whole text has to have it. That a prelude has more than is taken is no fault.
    #[test]
    fn whole_scripts_are_clean_under_shellcheck() {
        let dir = std::env::temp_dir().join(format!("drover-scripts-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = ALL.iter().map(|script| {
            let whole = match script.sees {
                // All of it is one word of what is sent.
                Sees::Owner => script.body(),
                Sees::Anyone | Sees::Root => script.whole().unwrap(),
            };
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
