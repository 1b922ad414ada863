//! How anything is run on a server: the only way.
//!
//! Architecture Invariant: a script is fixed text, a file in `scripts/`. What differs is
//! handed to it as quoted arguments, and what is secret as its input.
//!
//! Architecture Invariant: no script knows which cloud it runs on; `bin/layout` looks for it.

pub mod helper;
mod report;
pub mod scripts;
mod word;

use std::time::Duration;

use drover::model::{Cause, ClusterIdentity};

use crate::ssh::{self, Limits, SshError, Target};
pub use report::Report;
pub use word::Word;

/// drover-root: all that drover does as root on a server. Scripts bring it along where it is
/// not installed.
pub const HELPER: &str = include_str!("drover-root");

/// A script, and what it needs.
#[derive(Debug)]
pub struct Script {
    /// The name of its file, for people and for `ps`.
    pub name: &'static str,
    /// Its text, without what stands before it.
    pub text: &'static str,
    /// Whom it has to be to see what it is about.
    pub sees: Sees,
    /// What it changes.
    pub changes: Changes,
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
    /// Somebody who may become root, for the verbs of `drover-root`. What it does at a
    /// cluster it does as the owner all the same.
    Root,
}

/// What a script changes, and so whose word it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// It looks.
    Nothing,
    /// One cluster.
    Cluster,
    /// The machine, or clusters of it.
    Machine,
}

/// A script that only looks. It bears no word, and can do nothing as root.
#[derive(Clone, Copy, Debug)]
pub struct Look(&'static Script);

/// A script that changes something: it is never sent without a [`Word`].
#[derive(Clone, Copy, Debug)]
pub struct Change(&'static Script);

/// One or the other.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// It only looks.
    Look(Look),
    /// It changes something.
    Change(Change),
}

impl std::ops::Deref for Look {
    type Target = Script;

    fn deref(&self) -> &Script {
        self.0
    }
}

impl std::ops::Deref for Change {
    type Target = Script;

    fn deref(&self) -> &Script {
        self.0
    }
}

impl From<&Look> for Kind {
    fn from(script: &Look) -> Self {
        Self::Look(*script)
    }
}

impl From<&Change> for Kind {
    fn from(script: &Change) -> Self {
        Self::Change(*script)
    }
}

impl From<&'static Script> for Kind {
    fn from(script: &'static Script) -> Self {
        match script.changes {
            Changes::Nothing => Self::Look(Look(script)),
            Changes::Cluster | Changes::Machine => Self::Change(Change(script)),
        }
    }
}

impl Script {
    /// The whole text: the one place where it is put together.
    ///
    /// # Errors
    /// If it holds a NUL.
    fn whole(&self) -> anyhow::Result<String> {
        let (before, obeys) = (self.before()?, self.obeys());
        let body = match self.sees {
            Sees::Anyone | Sees::Root => self.body(),
            Sees::Owner => {
                let found = scripts::A_CLUSTER.concat();
                let body = self.body();
                let (body, name) = (ssh::quote(&body)?, ssh::quote(self.name)?);
                format!(
                    "{found}{obeys}as_owner sh -c {body} {name} \"$clock\" \"$v\" \"$c\" \"$d\" \
                     \"$l\" \"$o\" \"$conf\" \"$@\" <&3"
                )
            }
        };
        let head = include_str!("scripts/prelude/head.sh");
        let no_sudo = include_str!("scripts/prelude/no_sudo.sh");
        let tail = include_str!("scripts/prelude/tail.sh");
        Ok(format!("{head}{no_sudo}(\n{before}{body}\n)\n{tail}"))
    }

    /// What stands before one that changes something: its word, and the way to root.
    fn before(&self) -> anyhow::Result<String> {
        let take = match self.changes {
            Changes::Nothing => return Ok(String::new()),
            Changes::Cluster => include_str!("scripts/prelude/cluster_word.sh"),
            Changes::Machine => "take_word() { obey machine; }\n",
        };
        let helper = ssh::quote(HELPER)?;
        let root = include_str!("scripts/prelude/root.sh");
        let word = include_str!("scripts/prelude/word.sh");
        let sees = match self.sees {
            Sees::Root => include_str!("scripts/prelude/sees_root.sh"),
            Sees::Anyone | Sees::Owner => "",
        };
        Ok(format!("{word}helper={helper}\n{root}{take}{sees}"))
    }

    /// What takes the word. A script that does it in its own time names `take_word`.
    fn obeys(&self) -> &'static str {
        let itself = || self.needs.iter().any(|need| need.contains("take_word"));
        match self.changes {
            Changes::Nothing => "",
            Changes::Cluster | Changes::Machine if self.text.contains("take_word") || itself() => {
                ""
            }
            Changes::Cluster | Changes::Machine => "take_word\n",
        }
    }

    /// What runs as [`Sees`] says.
    fn body(&self) -> String {
        let (needs, text) = (self.needs.concat(), self.text);
        match self.sees {
            Sees::Owner => format!("{}{needs}{text}", include_str!("scripts/prelude/owned.sh")),
            Sees::Anyone | Sees::Root => format!("{needs}{}{text}", self.obeys()),
        }
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
    /// The cluster that it is about, the port of which is then the first argument.
    pub cluster: Option<AtPort<'a>>,
}

/// A cluster, as a script finds it.
#[derive(Clone, Copy)]
pub struct AtPort<'a> {
    /// Its port.
    pub port: u16,
    /// What tells it apart, where several claim that port.
    pub is: Option<&'a ClusterIdentity>,
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
    /// The server knows a newer word than the record, or another deployment's, or has lost
    /// the one that it had: nothing was changed, and a human has to look.
    #[error("{host} does not obey: {words}")]
    RecordIsOld { host: String, words: String },
    /// It was not sent.
    #[error("nothing was sent to {host}: {why}")]
    NotSent { host: String, why: String },
}

impl ScriptError {
    /// It cannot see what it is about, and has changed nothing: `EX_NOPERM`.
    pub const NOT_PROVED: u32 = 77;
    /// There is nothing to do it to.
    pub const NOTHING_THERE: u32 = 3;
    /// What it waits for goes on by itself: `EX_TEMPFAIL`.
    pub const GOES_ON: u32 = 75;
    /// The server does not obey this word.
    pub const REFUSED: u32 = 76;
    /// No other try will help: `EX_CONFIG`.
    pub const HOPELESS: u32 = 78;

    /// The exit status, if it came to one.
    pub fn status(&self) -> Option<u32> {
        match self {
            Self::Failed { status, .. } => Some(*status),
            Self::Ssh { .. } | Self::RecordIsOld { .. } | Self::NotSent { .. } => None,
        }
    }

    /// The same as a feeler takes it: with its cause, and the host key that was seen.
    pub fn into_ssh(self) -> SshError {
        match self {
            Self::Ssh { why, .. } => why,
            Self::Failed { .. } | Self::RecordIsOld { .. } | Self::NotSent { .. } => {
                SshError::new(Cause::Protocol, self.to_string())
            }
        }
    }
}

/// Runs a script that only looks. Its arguments are `$1`, `$2` …, behind the port if the host
/// is a cluster; what it may read is its descriptor 3, which is where secrets go.
///
/// # Errors
/// [`ScriptError`]; none holds the input.
pub async fn look(
    host: &Host<'_>,
    script: &Look,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    send(host, script.0, None, arguments, input).await
}

/// Runs a script that changes something, on this word; otherwise as [`look`].
///
/// # Errors
/// [`ScriptError`]; none holds the input. Status [`ScriptError::REFUSED`]: the server does not
/// obey this word, and nothing was changed.
pub async fn change(
    host: &Host<'_>,
    script: &Change,
    word: &Word,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    send(host, script.0, Some(word), arguments, input).await
}

async fn send(
    host: &Host<'_>,
    script: &Script,
    word: Option<&Word>,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let failed = |why| {
        let host = host.name.to_owned();
        ScriptError::Ssh { host, why }
    };
    let mark = format!("drover-{:032x}", rand::random::<u128>());
    let odd = |e: anyhow::Error| failed(SshError::new(Cause::Error, e.to_string()));
    let text = script.whole().map_err(odd)?;
    let of_word = word.map(Word::arguments).into_iter().flatten();
    let of_word: Vec<String> = of_word.collect();
    let port = host.cluster.map(|at| at.port.to_string());
    let is = host.cluster.and_then(|at| at.is);
    let system = is.map_or("", |is| &is.system_identifier);
    let home = is.and_then(|is| is.data_directory.as_deref()).unwrap_or("");
    let words = [&*mark, system, home].into_iter();
    let words = words.chain(of_word.iter().map(String::as_str));
    let words = words
        .chain(port.as_deref())
        .chain(arguments.iter().copied());
    let quoted: anyhow::Result<Vec<_>> = words.map(ssh::quote).collect();
    let quoted = quoted.map_err(odd)?.join(" ");
    // One compound command: what was cut off on its way is none, and nothing of it is done.
    let text = format!("{{\nset -- {quoted}\n{text}}}\n");
    // The login shell may be any, and each has its own way of quoting: it is shown nothing
    // that one of them would read otherwise. The script is for `sh`, which takes it from its
    // input, and no more than that.
    let command = format!("sh -c 'eval \"$(head -c {})\"' {}", text.len(), script.name);
    let limits = Limits {
        time: host.time,
        connect: host.connect,
        ..Limits::default()
    };
    let output = match word {
        None => {
            let input = [text.as_bytes(), input].concat();
            ssh::run_with_input(&host.target, &command, &input, limits).await
        }
        Some(word) => {
            let text = text.as_bytes();
            let answer = |said: &[u8]| word.until(&mark, said);
            ssh::run_answering(&host.target, &command, text, &answer, input, limits).await
        }
    };
    Report::read(host.name, script.name, &mark, &output.map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::scripts::ALL;
    use super::{HELPER, Sees, ssh};

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
            let whole = whole.replace(&*ssh::quote(HELPER).unwrap(), "''");
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
