//! What a script printed, between the marks that the runner chose for this run.

use std::time::SystemTime;

use drover::model::Cause;

use super::ScriptError;
use crate::ssh::{Output, SshError};

/// What a script printed that ended well. What a login shell says before it is not in here.
#[derive(Clone, Debug)]
pub struct Report {
    host: String,
    script: &'static str,
    text: String,
    /// What the word was obeyed about: the key that the server keeps it under. `None`: no word
    /// was taken, because nothing was changed or nobody there keeps it.
    pub obeys: Option<String>,
    /// Our clock when the script was sent, and when its first byte came back: it has read the
    /// server's clock between the two.
    pub read_between: (SystemTime, SystemTime),
}

/// The most characters of last words.
const WORDS: usize = 300;

impl Report {
    pub(super) fn read(
        host: &str,
        script: &'static str,
        mark: &str,
        output: &Output,
    ) -> Result<Self, ScriptError> {
        let host = host.to_owned();
        let stdout = clean(&output.stdout);
        let text = between(&stdout, mark);
        let ours = |line: &&str| line.starts_with(mark);
        let obeys = stdout.lines().rev().filter(ours).find_map(|line| {
            let key = line.split_once(" obeys ")?.1;
            Some(key.to_owned())
        });
        let theirs = |line: &&str| !ours(line);
        let text = text.map(|text| text.lines().filter(theirs).collect::<Vec<_>>().join("\n"));
        let text = text.as_deref();
        let (cause, why) = match (output.status, text) {
            (Some(0), Some(text)) => {
                return Ok(Self {
                    host,
                    script,
                    text: text.to_owned(),
                    obeys,
                    read_between: (output.sent_at, output.answered_at),
                });
            }
            (Some(0), None) => (Cause::Protocol, "the script's report has no end"),
            (None, _) => (Cause::Disconnected, "a signal ended the script"),
            (Some(status), text) => {
                let mut words = last_words(&clean(&output.stderr));
                if words.is_empty() || status == ScriptError::REFUSED {
                    words = last_words(text.unwrap_or(&stdout));
                }
                return Err(ScriptError::Failed {
                    host,
                    status,
                    words,
                });
            }
        };
        let why = SshError::new(cause, why);
        Err(ScriptError::Ssh { host, why })
    }

    /// All of it, trimmed.
    pub fn text(&self) -> &str {
        self.text.trim()
    }

    /// Its last line, for people.
    pub fn last_words(&self) -> String {
        last_words(&self.text)
    }

    /// What it tells of this key, on a line `key<TAB>value`.
    ///
    /// # Errors
    /// If there is no such line.
    pub fn value(&self, key: &str) -> Result<&str, ScriptError> {
        let mut lines = self.text.lines().filter_map(|line| line.split_once('\t'));
        let value = lines.find(|(name, _)| *name == key);
        let value = value.map(|(_, value)| value.trim());
        value.ok_or_else(|| ScriptError::Failed {
            host: self.host.clone(),
            status: 0,
            words: format!("{} does not tell its {key}", self.script),
        })
    }
}

/// What stands between two lines that are the mark.
fn between<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (before, rest) = text.split_once(&format!("{mark}\n"))?;
    let whole_line = before.is_empty() || before.ends_with('\n');
    let (report, _) = rest.rsplit_once(&format!("\n{mark}"))?;
    whole_line.then_some(report)
}

/// Without control characters: the record could not hold a NUL.
fn clean(bytes: &[u8]) -> String {
    let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    String::from_utf8_lossy(bytes).replace(odd, " ")
}

fn last_words(text: &str) -> String {
    let last = text.trim().lines().last().unwrap_or_default();
    last.trim().replace('\t', " ").chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: Option<u32>, stdout: &str, stderr: &str) -> Result<Report, ScriptError> {
        let output = Output {
            status,
            stdout: stdout.into(),
            stderr: stderr.into(),
            sent_at: SystemTime::UNIX_EPOCH,
            answered_at: SystemTime::UNIX_EPOCH,
        };
        Report::read("pg-1", "look", "MARK", &output)
    }

    #[test]
    fn a_greeting_is_no_part_of_the_report() {
        let said = "Welcome!\nalive\tno\nMARK\nalive\tyes\nodd\tline\nit is well\n\nMARK\nBye\n";
        let report = read(Some(0), said, "perl: warning: locale\n").unwrap();
        assert_eq!(report.value("alive").unwrap(), "yes");
        assert_eq!(report.last_words(), "it is well");
        let missing = report.value("clock").unwrap_err().to_string();
        assert_eq!(missing, "look does not tell its clock on pg-1");
        assert_eq!(read(Some(0), "MARK\n\nMARK\n", "").unwrap().text(), "");
    }

    #[test]
    fn what_was_cut_off_is_no_report() {
        for said in ["", "MARK\n", "MARK\nalive\tyes\n"] {
            let error = read(Some(0), said, "").unwrap_err();
            assert_eq!(error.to_string(), "pg-1: the script's report has no end");
        }
        let error = read(None, "MARK\n\nMARK\n", "").unwrap_err();
        assert_eq!(error.into_ssh().cause, Cause::Disconnected);
    }

    #[test]
    fn a_failure_has_its_last_words() {
        for (stdout, stderr, words) in [
            ("MARK\nno such role\n\nMARK\n", "", "no such role on pg-1"),
            ("MARK\nx\n\nMARK\n", "ERROR:  no\n", "ERROR:  no on pg-1"),
            (
                "This account is gone.\n",
                "",
                "This account is gone. on pg-1",
            ),
        ] {
            let error = read(Some(5), stdout, stderr).unwrap_err();
            assert_eq!((error.status(), error.to_string()), (Some(5), words.into()));
        }
    }
}
