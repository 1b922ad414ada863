//! The incident's machine: what is to be done next with an incident, and where
//! it stands after a step.
//!
//! ```text
//!              ┌──────────── retry (operator) ──────────────┐
//!              ▼                                            │
//!  triggered ──▶ resolving ⇄ waiting ──▶ needs_human ───────┤
//!      │             │          │             │             │
//!      └─────────────┴──────────┴─────────────┴──▶ resolved ┘ back within 10 min
//! ```
//!
//! Architecture Invariant: everything here is a pure function of the incident,
//! its playbook and the [`View`]. A test walks every state and every event.

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{Incident, IncidentId, IncidentState, Mode};
use serde_json::Value;
use std::time::Duration;

use super::fail_over;
use super::playbook::{Playbook, Remedy, Tells, UNDO};
use crate::think::Sight;

/// Times that an incident may come back before a human has to look: the third
/// time it is there, no remedy is believed any more.
const RETURNS: u16 = 2;
/// When an incident that nothing is done about is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The same while a remedy's effect is waited for, or other servers are felt.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Attempts made at what cannot be done: more than any playbook allows.
const NEVER_AGAIN: u16 = 10_000;
/// How long a remedy that must not be left half done may go on after its time.
const FINISH: TimeDelta = TimeDelta::seconds(300);
/// Behind a step that failed.
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(3);

/// What a turn of an incident has before its eyes.
#[derive(Clone, Debug)]
pub struct View {
    /// What the newest observation says.
    pub sight: Sight,
    /// Why nothing may be done now, if so.
    pub still: Option<Still>,
    /// What resolvers may do here.
    pub mode: Mode,
    /// The place of the remedy whose time has come, whatever is tried.
    pub jump: Option<u16>,
    /// Why a human is needed before the remedies run out, if so.
    pub urgent: Option<String>,
    /// The control database's clock.
    pub now: DateTime<Utc>,
}

/// Why an incident rests. All of them end by themselves or by an operator, and
/// the playbook's clock stands while they last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Still {
    /// An operator holds this incident.
    Held,
    /// The incident of its server stands for it.
    Covered(IncidentId),
    /// Somebody has asked for what disturbs it, and that is being done.
    Operating(String),
    /// Too much fails at once.
    Blind(IncidentId),
    /// Other servers are being felt.
    LookingRound,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// It is over already: its token leaves.
    Gone,
    /// A fresh observation says that all is well.
    Close(String),
    /// Nothing now.
    Rest {
        /// Why, if not because it waits for an effect or a human.
        why: Option<String>,
        /// When to look again.
        after: Duration,
        /// Whether the playbook's clock stands.
        clock_stands: bool,
    },
    /// A step of a remedy.
    Perform {
        /// The remedy's place.
        remedy: u16,
        /// The step's.
        step: u16,
        /// How often the remedy was begun, this time included.
        attempt: u16,
    },
    /// Call a human, and go on.
    Page,
    /// Say what would be done, and call a human.
    Advise,
    /// Call a human.
    Escalate(String),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It is done; the next one follows.
    Done,
    /// It goes on by itself: ask again after this while.
    Again(Duration),
    /// This remedy cannot be done here, and why.
    PassedOver(String),
    /// It failed, and how.
    Failed(String),
}

/// Decides.
pub fn next(incident: &Incident, book: &Playbook, view: &View) -> Move {
    let state = incident.state;
    if state == IncidentState::Resolved {
        return Move::Gone;
    }
    let at_work = state == IncidentState::Resolving && incident.step > 0;
    let undoing = incident.remedy == UNDO;
    if at_work && must_be_finished(incident, view) {
        return perform(incident, book, view, incident.remedy, incident.step);
    }
    if let Sight::Cleared(reason) = &view.sight {
        return if !owes_undo(incident, book) {
            Move::Close(reason.clone())
        } else if let Some(rest) = stand_still(incident, view, at_work) {
            rest
        } else {
            undo(incident, book)
        };
    }
    if state == IncidentState::NeedsHuman {
        return Move::Rest {
            why: None,
            after: LOOK_AGAIN,
            clock_stands: false,
        };
    }
    if let Some(rest) = stand_still(incident, view, at_work) {
        return rest;
    }
    let unheard = book.tells == Tells::PageAtOnce && incident.paged_at.is_none();
    if unheard && matches!(view.sight, Sight::Holds(_)) {
        // Whatever the mode, and whatever comes of the remedies.
        return Move::Page;
    }
    // However often it has come back, and whatever was tried.
    if let (Some(to), Sight::Holds(_), Mode::Act) = (view.jump, &view.sight, view.mode)
        && (incident.remedy != to || incident.state != IncidentState::Waiting)
    {
        let step = if incident.remedy == to {
            incident.step
        } else {
            0
        };
        return perform(incident, book, view, to, step);
    }
    if let Some(reason) = &view.urgent {
        return Move::Escalate(reason.clone());
    }
    if incident
        .deadline
        .is_some_and(|deadline| view.now >= deadline)
    {
        return Move::Escalate("the playbook's time is up".into());
    }
    if unheard {
        // What was seen once is not acted on before it is seen to last.
        return Move::Rest {
            why: None,
            after: LOOK_SOON,
            clock_stands: false,
        };
    }
    if book.remedies.is_empty() && view.sight != Sight::Recovering {
        // No mode keeps drover from calling for help; there is nothing else to do.
        return Move::Escalate("there is nothing that drover may do about it".into());
    }
    if view.mode == Mode::Hold {
        return Move::Rest {
            why: Some("mode hold: drover feels and thinks only".into()),
            after: LOOK_AGAIN,
            clock_stands: false,
        };
    }
    if incident.reopened >= RETURNS {
        let times = incident.reopened + 1;
        return Move::Escalate(format!("it is back for time {times} within minutes"));
    }
    if view.sight == Sight::Recovering {
        return Move::Rest {
            why: None,
            after: LOOK_SOON,
            clock_stands: false,
        };
    }
    if view.mode == Mode::Advise {
        return Move::Advise;
    }
    match state {
        IncidentState::Waiting if incident.wait_until.is_some_and(|until| view.now < until) => {
            Move::Rest {
                why: None,
                after: LOOK_SOON,
                clock_stands: false,
            }
        }
        // An undo that is no longer wanted: what it would take back is needed.
        IncidentState::Triggered | IncidentState::Resolving | IncidentState::Waiting if undoing => {
            perform(incident, book, view, 0, 0)
        }
        IncidentState::Resolving => perform(incident, book, view, incident.remedy, incident.step),
        IncidentState::Triggered | IncidentState::Waiting => {
            perform(incident, book, view, incident.remedy, 0)
        }
        IncidentState::NeedsHuman | IncidentState::Resolved => Move::Gone,
    }
}

/// Half done, it would leave a server stopped: `memo.half_done` is set by the step
/// before the first of those that belong together, and taken out by the last. Neither
/// an observation nor the clock nor a change of mode comes in between.
fn must_be_finished(incident: &Incident, view: &View) -> bool {
    let in_time = |deadline| view.now < deadline + FINISH;
    incident.memo.get("half_done") == Some(&Value::Bool(true))
        && view.still != Some(Still::Held)
        && incident.deadline.is_none_or(in_time)
}

/// A remedy at work goes on, unless an operator or the brake stops it; what must not
/// be left half done is [`must_be_finished`].
fn stand_still(incident: &Incident, view: &View, at_work: bool) -> Option<Move> {
    let rest = |why: String, after| {
        Some(Move::Rest {
            why: Some(why),
            after,
            clock_stands: true,
        })
    };
    let still = view.still.as_ref()?;
    if at_work && !matches!(still, Still::Held | Still::Blind(_)) {
        return None;
    }
    match still {
        Still::Held => rest("held by an operator".into(), LOOK_AGAIN),
        Still::Covered(by) => rest(format!("{} stands for it", by.public()), LOOK_SOON * 3),
        Still::Operating(what) => rest(what.clone(), LOOK_SOON * 2),
        Still::Blind(by) => rest(
            format!("{}: too much fails at once", by.public()),
            LOOK_SOON * 2,
        ),
        Still::LookingRound if incident.state != IncidentState::Triggered => None,
        Still::LookingRound => rest("other servers are looked at first".into(), LOOK_SOON / 2),
    }
}

/// A step of a remedy, or what comes after it where it is used up; who fails over does so
/// when the time has come, and never because its turn has.
fn perform(incident: &Incident, book: &Playbook, view: &View, remedy: u16, step: u16) -> Move {
    if step == 0 && view.jump.is_none() && fail_over::place(book) == Some(remedy) {
        return perform(incident, book, view, remedy + 1, 0);
    }
    let Some(found) = book.remedies.get(usize::from(remedy)) else {
        return Move::Escalate("every remedy was tried".into());
    };
    if step > 0 || incident.state == IncidentState::Resolving && incident.remedy == remedy {
        // Already counted when it began.
        return Move::Perform {
            remedy,
            step,
            attempt: incident.attempt.max(1),
        };
    }
    let attempt = if incident.remedy == remedy {
        incident.attempt
    } else {
        0
    };
    if attempt >= found.attempts {
        return perform(incident, book, view, remedy + 1, 0);
    }
    if incident.attempts >= book.budget.attempts {
        return Move::Escalate(format!(
            "{} attempts were made, as many as the playbook allows",
            incident.attempts
        ));
    }
    Move::Perform {
        remedy,
        step: 0,
        attempt: attempt + 1,
    }
}

fn owes_undo(incident: &Incident, book: &Playbook) -> bool {
    book.undo.is_some() && incident.memo.get("undo") == Some(&Value::Bool(true))
}

fn undo(incident: &Incident, book: &Playbook) -> Move {
    let begun = incident.remedy == UNDO && incident.state == IncidentState::Resolving;
    let attempt = if incident.remedy == UNDO {
        incident.attempt
    } else {
        0
    };
    let most = book.undo.map_or(0, |undo| undo.attempts);
    if !begun && attempt >= most {
        return if incident.state == IncidentState::NeedsHuman {
            Move::Rest {
                why: None,
                after: LOOK_AGAIN,
                clock_stands: false,
            }
        } else {
            Move::Escalate("what was done for the time being cannot be taken back".into())
        };
    }
    Move::Perform {
        remedy: UNDO,
        step: if begun { incident.step } else { 0 },
        attempt: if begun { attempt.max(1) } else { attempt + 1 },
    }
}

/// Enters a step: where the incident stands while it is at work.
pub fn begin(incident: &mut Incident, remedy: u16, step: u16, attempt: u16) {
    let continued = incident.state == IncidentState::Resolving
        && incident.remedy == remedy
        && incident.attempt == attempt;
    if !continued {
        incident.attempts += 1;
    }
    incident.state = IncidentState::Resolving;
    incident.remedy = remedy;
    incident.step = step;
    incident.attempt = attempt;
    incident.wait_until = None;
    incident.resting = None;
}

/// Where the incident stands after a step, and when its next turn is.
pub fn after(
    incident: &mut Incident,
    remedy: &Remedy,
    ended: &Ended,
    now: DateTime<Utc>,
) -> Duration {
    match ended {
        Ended::Again(after) => *after,
        Ended::Done if usize::from(incident.step) + 1 < remedy.steps.len() => {
            incident.step += 1;
            Duration::ZERO
        }
        Ended::Done => {
            incident.state = IncidentState::Waiting;
            incident.step = 0;
            incident.acted_at = Some(now);
            incident.wait_until = Some(now + remedy.settle);
            LOOK_SOON
        }
        Ended::PassedOver(_) => {
            // Nothing was done, so nothing is counted and nothing waited for.
            incident.state = IncidentState::Waiting;
            incident.attempts = incident.attempts.saturating_sub(1);
            incident.step = 0;
            if incident.remedy == UNDO {
                // There is no other way to take it back.
                incident.attempt = NEVER_AGAIN;
            } else {
                incident.remedy += 1;
                incident.attempt = 0;
            }
            incident.wait_until = Some(now);
            Duration::ZERO
        }
        Ended::Failed(_) => {
            incident.state = IncidentState::Waiting;
            incident.step = 0;
            incident.wait_until = Some(now + AFTER_FAILURE);
            LOOK_SOON * 3
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
