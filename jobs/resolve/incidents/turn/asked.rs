//! How what an incident has asked for stands.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Operation, OperationKind, OperationState};

use crate::resolve::incidents::machine::{Asked, AtWork, Ended};
use crate::resolve::operations::{self, goes_on_alone};

/// How long a failover may look for somebody before other remedies go on beside it.
const NOBODY: Duration = Duration::from_secs(7);

/// How all of it stands: while one of it is at work, all is. `None` if there is none. A
/// step that is just being done is waited for.
pub fn stands(asked: &[Operation], now: DateTime<Utc>, in_a_step: bool) -> Option<Asked> {
    let stands = stands_between_steps(asked, now)?;
    Some(match stands {
        Asked::AtWork(AtWork::MayEnd) if in_a_step => Asked::AtWork(AtWork::HalfDone),
        Asked::AtWork(_) | Asked::Ended(_) => stands,
    })
}

fn stands_between_steps(asked: &[Operation], now: DateTime<Utc>) -> Option<Asked> {
    asked
        .iter()
        .map(|operation| one(operation, now))
        .reduce(both_of)
}

fn both_of(left: Asked, right: Asked) -> Asked {
    match (left, right) {
        (Asked::AtWork(left), Asked::AtWork(right)) => Asked::AtWork(left.max(right)),
        (at_work @ Asked::AtWork(_), Asked::Ended(_))
        | (Asked::Ended(_), at_work @ Asked::AtWork(_)) => at_work,
        (Asked::Ended(left), Asked::Ended(right)) => Asked::Ended(worse(left, right)),
    }
}

/// The one of two that says more of what is left to be done.
fn worse(left: Ended, right: Ended) -> Ended {
    match (left, right) {
        (stuck @ Ended::Stuck(_), _) | (_, stuck @ Ended::Stuck(_)) => stuck,
        (failed @ Ended::Failed(_), _) | (_, failed @ Ended::Failed(_)) => failed,
        (Ended::Done(left), Ended::Done(right)) => Ended::Done(left.max(right)),
        (done @ Ended::Done(_), Ended::Skipped(_)) | (Ended::Skipped(_), done @ Ended::Done(_)) => {
            done
        }
        (skipped @ Ended::Skipped(_), Ended::Skipped(_)) => skipped,
    }
}

fn one(operation: &Operation, now: DateTime<Utc>) -> Asked {
    let id = operation.id.public();
    let note = operation.note.clone().unwrap_or_default();
    match operation.state {
        OperationState::Done => Asked::Ended(Ended::Done(operation.ended_at.unwrap_or(now))),
        OperationState::Skipped => Asked::Ended(Ended::Skipped(note)),
        OperationState::Failed => Asked::Ended(Ended::Failed(note)),
        OperationState::Cancelled => Asked::Ended(Ended::Failed(format!("{id} was given up"))),
        OperationState::Open => open(operation, now),
    }
}

fn open(operation: &Operation, now: DateTime<Utc>) -> Asked {
    let id = operation.id.public();
    let note = operation.note.clone().unwrap_or_default();
    let is_late = (now - operation.opened_at).to_std().unwrap_or_default() >= NOBODY;
    if operation.kind == OperationKind::Failover && operation.step == 0 && is_late {
        // It goes on by itself, and so does what else may help.
        return Asked::Ended(Ended::Done(now));
    }
    match (goes_on_alone(operation), operation.stuck_at) {
        (true, Some(_)) => Asked::Ended(Ended::Stuck(format!("{id} needs a human: {note}"))),
        (true, None) => Asked::AtWork(AtWork::OnItsOwn),
        (false, None) if is_half_done(operation) => Asked::AtWork(AtWork::HalfDone),
        (false, Some(_) | None) => Asked::AtWork(AtWork::MayEnd),
    }
}

/// Whether it has to come to its end: it has begun, and is at a step before which
/// something is half done.
fn is_half_done(operation: &Operation) -> bool {
    let steps = operations::of(operation.kind).steps();
    let step = operations::current(operation, &steps);
    operation.has_begun() && step.is_some_and(|step| !step.may_end)
}

/// Why a human is needed for one that has something half done and does not go on.
pub(super) fn stuck(asked: &[Operation]) -> Option<String> {
    let stuck = asked.iter().find(|operation| {
        operation.state == OperationState::Open
            && operation.stuck_at.is_some()
            && !goes_on_alone(operation)
    })?;
    let note = stuck.note.as_deref().unwrap_or_default();
    Some(format!("{} is stuck: {note}", stuck.id.public()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap_or_default()
    }

    #[test]
    fn while_one_is_at_work_all_are_and_the_worst_end_counts() {
        let done = |second| Asked::Ended(Ended::Done(at(second)));
        let skipped = || Asked::Ended(Ended::Skipped("no cloud".into()));
        let failed = || Asked::Ended(Ended::Failed("it refuses".into()));
        let stuck = || Asked::Ended(Ended::Stuck("nobody could lead".into()));
        let work = || Asked::AtWork(AtWork::MayEnd);
        let alone = || Asked::AtWork(AtWork::OnItsOwn);
        for (left, right, both) in [
            (done(1), done(2), done(2)),
            (done(1), skipped(), done(1)),
            (skipped(), failed(), failed()),
            (failed(), stuck(), stuck()),
            (work(), done(1), work()),
            (stuck(), work(), work()),
            (work(), alone(), alone()),
        ] {
            assert_eq!(
                both_of(left.clone(), right.clone()),
                both,
                "{left:?} {right:?}"
            );
            assert_eq!(
                both_of(right.clone(), left.clone()),
                both,
                "{right:?} {left:?}"
            );
        }
    }
}
