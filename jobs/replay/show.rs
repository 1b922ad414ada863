//! What a replay found, for people or as JSON.

use std::io::Write;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use drover::model::{PublicId, Subject};
use drover::store::history::Span;
use serde_json::{Value, json};

use super::compare::{Difference, Found, Total};

/// A moment as people read it: UTC, to the second.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

pub(super) struct Show {
    pub(super) json: bool,
}

impl Show {
    /// A subject's differences; nothing if there are none.
    pub(super) fn subject(&self, subject: &Subject, found: &Found) -> Result<()> {
        if found.differences.is_empty() {
            return Ok(());
        }
        let id = PublicId::new(subject.kind, subject.id).to_string();
        if self.json {
            for difference in &found.differences {
                let mut line = json!({"subject": id, "name": subject.name});
                extend(&mut line, as_json(difference));
                say(&line.to_string())?;
            }
            return Ok(());
        }
        say(&format!("{id} {}", plain(&subject.name)))?;
        for difference in &found.differences {
            say(&format!("  {}", plain(&as_text(difference))))?;
        }
        Ok(())
    }

    /// The last line.
    pub(super) fn total(&self, span: Span, total: &Total) -> Result<()> {
        let sums = &total.sums;
        if self.json {
            let line = json!({
                "since": span.since, "until": span.until, "subjects": total.subjects,
                "observations": sums.observations, "differences": total.differences,
                "subjects_that_differ": total.differing,
                "changes": {"recorded": sums.changes_recorded, "replayed": sums.changes_replayed},
                "openings":
                    {"recorded": sums.openings_recorded, "replayed": sums.openings_replayed},
            });
            return say(&line.to_string());
        }
        say(&format!(
            "{} observations of {} subjects from {} to {} UTC: {} differences in {} subjects; \
             changes of state: {} recorded, {} replayed; openings: {} recorded, {} replayed",
            sums.observations,
            total.subjects,
            moment(span.since),
            moment(span.until),
            total.differences,
            total.differing,
            sums.changes_recorded,
            sums.changes_replayed,
            sums.openings_recorded,
            sums.openings_replayed,
        ))
    }
}

fn as_text(difference: &Difference) -> String {
    match difference {
        Difference::Change { by, turn } => format!(
            "{}  only {}: {} to {}: {}",
            moment(turn.at),
            by.word(),
            turn.from,
            turn.to,
            turn.reason
        ),
        Difference::Opening {
            kind,
            recorded,
            replayed,
        } => {
            let at = moment(difference.at());
            match (recorded, replayed) {
                (Some(recorded), Some((replayed, reason))) => format!(
                    "{at}  opens {kind}: recorded at {}, replayed at {}: {reason}",
                    moment(*recorded),
                    moment(*replayed)
                ),
                (None, Some((_, reason))) => format!("{at}  only replayed: opens {kind}: {reason}"),
                (Some(_), None) | (None, None) => format!("{at}  only recorded: opens {kind}"),
            }
        }
    }
}

fn as_json(difference: &Difference) -> Value {
    match difference {
        Difference::Change { by, turn } => json!({
            "difference": "change", "only": by.word(), "at": turn.at, "from": turn.from,
            "to": turn.to, "reason": turn.reason, "observation": turn.because,
        }),
        Difference::Opening {
            kind,
            recorded,
            replayed,
        } => json!({
            "difference": "opening", "kind": kind, "recorded_at": recorded,
            "replayed_at": replayed.as_ref().map(|(at, _)| at),
            "reason": replayed.as_ref().map(|(_, reason)| reason),
        }),
    }
}

fn extend(line: &mut Value, with: Value) {
    if let (Value::Object(line), Value::Object(with)) = (line, with) {
        line.extend(with);
    }
}

/// Reasons hold what servers said: nothing of it steers a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Prints to stdout. A reader that has enough (`| head`) is no failure.
fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.context("writing to stdout"),
    }
}
