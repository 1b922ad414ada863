//! Where an operation stands after a step.

use std::time::Duration;

use drover::model::Note;
use serde_json::json;

use super::{Job, SLOWLY};
use crate::operate::{Ended, Outcome, Step};

/// Steps that fail are tried again after 1 s, 2 s, 4 s … and at most this.
const LONGEST: Duration = Duration::from_secs(30);

/// Where an operation stands after a step, when its next turn is, and what its
/// timeline says of it.
pub(super) fn advance(job: &mut Job, step: &Step, outcome: &Outcome) -> (Duration, Option<Note>) {
    let patience = job.patience();
    let operation = &mut job.operation;
    let said = operation.note.as_deref() == Some(outcome.note.as_str());
    let note = |kind: &str, text: String| {
        let mut note = Note::new(kind, text);
        note.detail = json!({ "step": step.name });
        Some(note)
    };
    let slowly = |after: Duration, stuck: bool| if stuck { after.max(SLOWLY) } else { after };
    let stuck = operation.stuck_at.is_some();
    match &outcome.ended {
        Ended::Done | Ended::Then(_) => {
            let named = |name| job.book.steps.iter().position(|step| step.name == name);
            operation.step = match outcome.ended {
                Ended::Then(name) => named(name).and_then(|n| u16::try_from(n).ok()),
                Ended::Done | Ended::Again(_) | Ended::Failed | Ended::Hopeless => None,
            }
            .unwrap_or(operation.step + 1);
            operation.failures = 0;
            operation.note = None;
            if stuck {
                operation.stuck_at = None;
                operation.deadline = Some(job.now + patience);
            }
            (Duration::ZERO, note("step", outcome.note.clone()))
        }
        Ended::Again(after) => {
            operation.failures = 0;
            operation.note = Some(outcome.note.clone());
            let note = (!said).then(|| note("waiting", outcome.note.clone()));
            (slowly(*after, stuck), note.flatten())
        }
        Ended::Failed | Ended::Hopeless => {
            operation.failures = operation.failures.saturating_add(1);
            operation.note = Some(outcome.note.clone());
            let exponent = operation.failures.saturating_sub(1).min(5);
            let after = Duration::from_secs(2_u64.pow(exponent)).min(LONGEST);
            let note = (!said).then(|| note("failed", outcome.note.clone()));
            (slowly(after, stuck), note.flatten())
        }
    }
}
