//! Where an operation stands after a step. Pure: the record and the clock come in.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Note, Operation, OperationState};
use serde_json::json;

use super::SLOWLY;
use super::begin::goes_on_alone;
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

/// What a step that ended makes of its operation.
enum Goes {
    /// On to the step at this place; behind the last one it is over.
    On(usize),
    /// It is asked again after this while.
    Waits(Duration),
    /// It is tried again: why.
    Fails(String),
}

/// A name that no step has is a failure: it must not pass for the end.
fn goes(at: &str, steps: &[StepInfo], outcome: &Outcome) -> Goes {
    let place = |name: &str| {
        let place = steps.iter().position(|step| step.name == name);
        place.ok_or_else(|| format!("step `{at}` leads to `{name}`, and there is no such step"))
    };
    match &outcome.ended {
        Ended::Done => place(at).map_or_else(Goes::Fails, |place| Goes::On(place + 1)),
        Ended::Then(name) => place(name).map_or_else(Goes::Fails, Goes::On),
        Ended::Again(after) | Ended::GoesOn(after) => Goes::Waits(*after),
        Ended::Failed | Ended::Hopeless | Ended::Refused | Ended::Skipped | Ended::GaveUp => {
            Goes::Fails(outcome.note.clone())
        }
    }
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
    let at = operation.step_name.clone();
    let note = |kind: &str, text: &str| {
        let mut note = Note::new(kind, text);
        note.detail = json!({ "step": at });
        note
    };
    let stuck = operation.stuck_at.is_some();
    let slowly = |after: Duration| if stuck { after.max(SLOWLY) } else { after };
    match goes(&at, steps, outcome) {
        Goes::On(next) => {
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
            (Duration::ZERO, Some(note("step", &outcome.note)))
        }
        Goes::Waits(after) => {
            let was = operation.note.replace(outcome.note.clone());
            let said = was.as_ref() == Some(&outcome.note);
            // What gets on may take as long as it likes: a copy of a large database. But one that
            // was begun again has not succeeded yet where the one before it failed.
            let goes_on = matches!(outcome.ended, Ended::GoesOn(_));
            if !goes_on {
                operation.failures = 0;
            }
            if goes_on && was.is_some() && !said && !stuck {
                let later = Some(now + patience);
                operation.deadline = operation.deadline.max(later);
            }
            let waits = (!said).then(|| note("waiting", &outcome.note));
            (slowly(after), waits)
        }
        Goes::Fails(why) => {
            operation.failures = operation.failures.saturating_add(1);
            let said = operation.note.as_ref() == Some(&why);
            let failed = (!said).then(|| note("failed", &why));
            operation.note = Some(why);
            let exponent = operation.failures.saturating_sub(1).min(5);
            let after = Duration::from_secs(2_u64.pow(exponent)).min(LONGEST);
            (slowly(after), failed)
        }
    }
}

/// How an operation ends by a step that did not come to its end; `None`: it is tried
/// again, or needs a human. Only what an incident has asked for ends so, and where
/// something is half done only if there is nothing to do.
pub fn ends_as(operation: &Operation, step: StepInfo, ended: &Ended) -> Option<OperationState> {
    operation.incident?;
    let may_end = step.may_end && !(goes_on_alone(operation) && operation.step > 0);
    match ended {
        Ended::Skipped => Some(OperationState::Skipped),
        Ended::GaveUp => Some(OperationState::Failed),
        // No other try helps, but another remedy may.
        Ended::Hopeless if may_end => Some(OperationState::Skipped),
        Ended::Failed if may_end && operation.failures + 1 >= step.tries => {
            Some(OperationState::Failed)
        }
        Ended::Done
        | Ended::Then(_)
        | Ended::Again(_)
        | Ended::GoesOn(_)
        | Ended::Failed
        | Ended::Hopeless
        | Ended::Refused => None,
    }
}

#[cfg(test)]
mod tests {
    use drover::model::{IncidentId, OperationId, OperationKind};
    use drover::store::leases::LONGEST;

    use super::*;
    use crate::resolve::{OVER, operations};

    const PATIENCE: Duration = Duration::from_secs(600);

    /// A `resize` at this step, which failed before.
    fn at(step: &str) -> Operation {
        Operation {
            id: OperationId::generate(),
            subject: None,
            kind: OperationKind::Resize,
            state: OperationState::Open,
            params: json!({}),
            secret: None,
            asked_by: "the test".into(),
            reason: None,
            opened_at: DateTime::UNIX_EPOCH,
            not_before: None,
            revision: 0,
            step_name: step.into(),
            step: 0,
            steps: 0,
            step_since: DateTime::UNIX_EPOCH,
            note: Some("no answer".into()),
            failures: 2,
            deadline: None,
            stuck_at: None,
            memo: json!({}),
            ended_at: None,
            incident: None,
            remedy: None,
            attempt: None,
            lane: 0,
            at_work: true,
        }
    }

    /// After this outcome: the operation, when its next turn is, and what is noted.
    fn after(mut operation: Operation, outcome: &Outcome) -> (Operation, Duration, Option<Note>) {
        let steps = operations::of(operation.kind).steps();
        let now = DateTime::UNIX_EPOCH + Duration::from_secs(60);
        let (next, note) = advance(&mut operation, &steps, outcome, PATIENCE, now);
        (operation, next, note)
    }

    #[test]
    fn what_is_done_goes_on_to_the_next_step_or_to_the_one_it_names() {
        let (operation, next, note) = after(at("stop"), &Outcome::done("it is stopped"));
        assert_eq!(
            (operation.step_name.as_str(), operation.step),
            ("set_size", 3)
        );
        assert_eq!((operation.failures, operation.note), (0, None));
        assert!(operation.step_since > operation.opened_at);
        assert_eq!(next, Duration::ZERO);
        assert_eq!(note.unwrap().text, "it is stopped");
        let (operation, ..) = after(at("start"), &Outcome::then("stop", "it runs"));
        assert_eq!((operation.step_name.as_str(), operation.step), ("stop", 2));
    }

    /// Else the clock would end one that is at work ([`LONGEST`]).
    #[test]
    fn no_step_is_at_work_for_longer_than_a_lease_may_last() {
        for kind in OperationKind::ALL {
            for step in operations::of(*kind).steps() {
                assert!(step.limit + OVER <= LONGEST, "{kind}: {}", step.name);
            }
        }
    }

    #[test]
    fn behind_the_last_step_it_is_over() {
        let steps = operations::of(OperationKind::Resize).steps();
        let (operation, ..) = after(at(steps.last().unwrap().name), &Outcome::done("done"));
        assert_eq!(usize::from(operation.step), steps.len());
    }

    #[test]
    fn a_step_that_nobody_knows_is_a_failure_and_not_the_end() {
        let before = at("stop");
        let (operation, next, note) = after(before.clone(), &Outcome::then("stpo", "it runs"));
        let why = "step `stop` leads to `stpo`, and there is no such step";
        assert_eq!((operation.step_name.as_str(), operation.step), ("stop", 0));
        assert_eq!(operation.step_since, before.step_since);
        assert_eq!(
            (operation.failures, operation.note.as_deref()),
            (3, Some(why))
        );
        assert_eq!(next, Duration::from_secs(4));
        let note = note.unwrap();
        assert_eq!((note.kind.as_str(), note.text.as_str()), ("failed", why));
    }

    /// What an incident has asked for, at this step.
    fn asked(kind: OperationKind, step: &str) -> Operation {
        Operation {
            kind,
            incident: Some(IncidentId::generate()),
            remedy: Some("a remedy".into()),
            attempt: Some(1),
            failures: 0,
            ..at(step)
        }
    }

    fn step(operation: &Operation) -> StepInfo {
        let steps = operations::of(operation.kind).steps();
        current(operation, &steps).unwrap()
    }

    #[test]
    fn what_an_incident_asked_for_ends_where_nothing_is_half_done() {
        let (skipped, failed) = (OperationState::Skipped, OperationState::Failed);
        for (kind, name, ended, as_what) in [
            // Nothing is done yet.
            (
                OperationKind::StopStart,
                "look",
                Ended::Skipped,
                Some(skipped),
            ),
            (
                OperationKind::StopStart,
                "look",
                Ended::Hopeless,
                Some(skipped),
            ),
            (
                OperationKind::StopStart,
                "look",
                Ended::Failed,
                Some(failed),
            ),
            // The server is stopped: it is started, however long that takes.
            (OperationKind::StopStart, "start", Ended::Failed, None),
            (OperationKind::StopStart, "start", Ended::Hopeless, None),
            (
                OperationKind::StopStart,
                "await_running",
                Ended::GaveUp,
                Some(failed),
            ),
            // A cloud's hiccup is no failure yet.
            (OperationKind::Reboot, "reboot", Ended::Failed, None),
            (
                OperationKind::Restart,
                "restart",
                Ended::Failed,
                Some(failed),
            ),
            (OperationKind::Restart, "restart", Ended::Done, None),
            // It goes on by itself.
            (OperationKind::Failover, "fence", Ended::Failed, None),
            // The record is wrong: no other remedy is tried on the strength of it.
            (OperationKind::Restart, "restart", Ended::Refused, None),
            (OperationKind::StopStart, "look", Ended::Refused, None),
        ] {
            let operation = asked(kind, name);
            let what = format!("{kind} {name} {ended:?}");
            assert_eq!(
                ends_as(&operation, step(&operation), &ended),
                as_what,
                "{what}"
            );
            // What a human asked for is tried until it is done, or they are called.
            let operation = Operation {
                incident: None,
                ..operation
            };
            assert_eq!(
                ends_as(&operation, step(&operation), &ended),
                None,
                "{what}"
            );
        }
        let mut operation = asked(OperationKind::Reboot, "reboot");
        operation.failures = step(&operation).tries - 1;
        let ended = ends_as(&operation, step(&operation), &Ended::Failed);
        assert_eq!(ended, Some(failed), "five in a row are one");
    }

    /// Else one that fails each time, after a while, would be begun for ever.
    #[test]
    fn what_is_begun_again_keeps_count_of_its_failures() {
        let failed = after(at("rewind"), &Outcome::failed("no")).0;
        assert_eq!(failed.failures, 3);
        let goes_on = Outcome {
            ended: Ended::GoesOn(Duration::from_secs(1)),
            ..Outcome::again(Duration::from_secs(1), "half of it")
        };
        let begun = after(failed.clone(), &goes_on).0;
        assert_eq!(begun.failures, 3);
        let waits = Outcome::again(Duration::from_secs(1), "not yet");
        assert_eq!(after(failed, &waits).0.failures, 0);
    }

    #[test]
    fn what_goes_on_by_itself_has_time_for_as_long_as_it_gets_on() {
        let soon = DateTime::UNIX_EPOCH + Duration::from_secs(61);
        let deadline = |says: &str, outcome: fn(Duration, String) -> Outcome| {
            let mut operation = at("stop");
            operation.deadline = Some(soon);
            operation.note = Some("1.0 % are copied".into());
            let outcome = outcome(Duration::from_secs(2), says.to_owned());
            after(operation, &outcome).0.deadline.unwrap()
        };
        assert!(deadline("1.1 % are copied", Outcome::goes_on) > soon + Duration::from_secs(500));
        assert_eq!(deadline("1.0 % are copied", Outcome::goes_on), soon);
        assert_eq!(deadline("it is asked again", Outcome::again), soon);
        let mut stuck = at("stop");
        stuck.stuck_at = Some(soon);
        let outcome = Outcome::goes_on(Duration::ZERO, "2.0 % are copied");
        assert_eq!(after(stuck, &outcome).0.deadline, None);
    }

    #[test]
    fn what_was_said_before_is_not_noted_again() {
        let again = Outcome::again(Duration::from_secs(1), "no answer");
        for outcome in [again, Outcome::failed("no answer")] {
            assert_eq!(after(at("stop"), &outcome).2.map(|note| note.text), None);
        }
        let (_, _, note) = after(at("stop"), &Outcome::failed("it refuses"));
        assert_eq!(note.unwrap().text, "it refuses");
    }
}
