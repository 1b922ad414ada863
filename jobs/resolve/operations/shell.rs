//! One script on a server, over SSH: how resolvers change something there.
//!
//! Architecture Invariant: a script is fixed text. What differs is handed to it as
//! quoted arguments, and what is secret as its input.

use std::time::Duration;

use drover::model::Server;

use super::Outcome;
use crate::resolve::Tools;
use crate::ssh::{self, Limits};

/// What a script said.
pub struct Said {
    /// Its exit status.
    pub status: u32,
    /// Its standard output, trimmed.
    pub out: String,
    /// The last words of its standard error.
    pub err: String,
}

/// Runs a script with these arguments (`$1`, `$2` …) and something to read, which is
/// where secrets go.
///
/// # Errors
/// The outcome of a step whose server could not be asked, or whose script was cut off;
/// none holds the input.
pub async fn run_with_input(
    tools: &Tools,
    server: &Server,
    script: &str,
    arguments: &[&str],
    input: &[u8],
    time: Duration,
) -> Result<Said, Outcome> {
    let target = tools
        .context
        .target(server)
        .map_err(|e| Outcome::failed(e.message))?;
    let mut command = String::from("sh -c ");
    for word in [script, "drover"].iter().chain(arguments) {
        let word = ssh::quote(word).map_err(|e| Outcome::failed(e.to_string()))?;
        command.push_str(&word);
        command.push(' ');
    }
    let limits = Limits {
        time,
        ..Limits::default()
    };
    let output = ssh::run_with_input(&target, &command, input, limits)
        .await
        .map_err(|e| Outcome::failed(format!("{}: {}", server.subject.name, e.message)))?;
    let status = output
        .status
        .ok_or_else(|| Outcome::failed("a signal ended the script"))?;
    Ok(Said {
        status,
        out: clean(&output.stdout, OUTPUT),
        err: clean(&output.stderr, WORDS),
    })
}

/// The most characters of an output that are kept: a line for each of some hundred
/// clusters.
const OUTPUT: usize = 32 * 1024;
/// The same of an error, which is for people.
const WORDS: usize = 2000;

/// No control characters, and of a longer text its end.
fn clean(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    match text.char_indices().rev().nth(most) {
        Some((from, _)) => text[from..].to_owned(),
        None => text,
    }
}

impl Said {
    /// The last line it wrote, for people.
    pub fn last_words(&self) -> String {
        let words = |text: &str| text.lines().last().unwrap_or_default().trim().to_owned();
        let (err, out) = (words(&self.err), words(&self.out));
        let said = if err.is_empty() { out } else { err };
        said.chars().take(300).collect()
    }
}
