//! Where an operation stands after a step. Pure: the record and the clock come in.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Note, Operation};
use serde_json::json;

use super::SLOWLY;
use crate::resolve::operations::{Ended, Outcome, StepInfo};

/// Steps that fail are tried again after 1 s, 2 s, 4 s … and at most this.
const LONGEST: Duration = Duration::from_secs(30);

/// The step that is next, by its name in the record; the first, if none has begun.
/// `None`: the record is of another release.
pub fn current(operation: &Operation, steps: &[StepInfo]) -> Option<StepInfo> {
    if operation.step_name == Operation::QUEUED {
        return steps.first().copied();
    }
    let named = |step: &&StepInfo| step.name == operation.step_name;
    steps.iter().find(named).copied()
}

/// Where an operation stands after the step it was at, when its next turn is, and what
/// its timeline says of it. `patience` is how long it may take once it is stuck no more.
pub fn advance(
    operation: &mut Operation,
    steps: &[StepInfo],
    outcome: &Outcome,
    patience: Duration,
    now: DateTime<Utc>,
) -> (Duration, Option<Note>) {
    let said = operation.note.as_deref() == Some(outcome.note.as_str());
    let at = operation.step_name.clone();
    let note = |kind: &str| {
        let mut note = Note::new(kind, outcome.note.clone());
        note.detail = json!({ "step": at });
        note
    };
    let stuck = operation.stuck_at.is_some();
    let slowly = |after: Duration| if stuck { after.max(SLOWLY) } else { after };
    match &outcome.ended {
        Ended::Done | Ended::Then(_) => {
            let place = |name: &str| steps.iter().position(|step| step.name == name);
            let next = match &outcome.ended {
                Ended::Then(name) => place(name),
                Ended::Done | Ended::Again(_) | Ended::Failed | Ended::Hopeless => {
                    place(&at).map(|place| place + 1)
                }
            };
            let next = next.unwrap_or(steps.len());
            operation.step = u16::try_from(next).unwrap_or(u16::MAX);
            if let Some(step) = steps.get(next) {
                step.name.clone_into(&mut operation.step_name);
                operation.step_since = now;
            }
            operation.failures = 0;
            operation.note = None;
            if stuck {
                operation.stuck_at = None;
                operation.deadline = Some(now + patience);
            }
            (Duration::ZERO, Some(note("step")))
        }
        Ended::Again(after) => {
            operation.failures = 0;
            operation.note = Some(outcome.note.clone());
            (slowly(*after), (!said).then(|| note("waiting")))
        }
        Ended::Failed | Ended::Hopeless => {
            operation.failures = operation.failures.saturating_add(1);
            operation.note = Some(outcome.note.clone());
            let exponent = operation.failures.saturating_sub(1).min(5);
            let after = Duration::from_secs(2_u64.pow(exponent)).min(LONGEST);
            (slowly(after), (!said).then(|| note("failed")))
        }
    }
}
