//! The incident's machine: what is to be done next with an incident, and where it stands
//! when what it has asked for has ended.
//!
//! ```text
//!              ┌──────────── retry (operator) ──────────────┐
//!              ▼                                            │
//!  triggered ──▶ resolving ⇄ waiting ──▶ needs_human ───────┤
//!      │             │          │             │             │
//!      └─────────────┴──────────┴─────────────┴──▶ resolved ┘ back within 10 min
//! ```
//!
//! An incident decides, and operations do: in `resolving` one that it has asked for is
//! open, and in `waiting` a fresh observation has to tell whether it helped.
//!
//! Architecture Invariant: everything here is a pure function of the incident, its
//! playbook and the [`View`]. A test walks every state and every event.

mod extra;

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{Evidence, Incident, IncidentId, IncidentState, Mode};
use std::time::Duration;

use super::fail_over;
use super::playbook::{Escalation, On, Playbook, Remedy};
use crate::think::Assessment;
use extra::{guard, owes_undo, undo};

/// Times that an incident may come back before a human has to look: the third
/// time it is there, no remedy is believed any more.
const RETURNS: u16 = 2;
/// When an incident that nothing is done about is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The same while it waits for a human. What changes for the better wakes it.
const LOOK_SELDOM: Duration = Duration::from_secs(60);
/// The same while a remedy is at work, its effect is waited for, or other servers are
/// felt. An operation that ends wakes its incident.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Attempts made at what cannot be done: more than any playbook allows.
const NEVER_AGAIN: u16 = 10_000;
/// How long what must not be left half done may go on after the incident's time.
const FINISH: TimeDelta = TimeDelta::seconds(300);
/// Behind a remedy that failed.
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(3);

/// What a turn of an incident has before its eyes.
#[derive(Clone, Debug)]
pub struct View {
    /// What the newest observation says.
    pub seen: Assessment,
    /// Why nothing may be done now, if so.
    pub blocker: Option<Blocker>,
    /// What resolvers may do here.
    pub mode: Mode,
    /// How what was asked for last stands; `None`: it is not there.
    pub asked: Option<Asked>,
    /// Whether a follower should take a lead by now, whatever is tried.
    pub fails_over: bool,
    /// Whether its subject is dead by a second witness's word: then it is no observer that is
    /// blind, and the brake keeps nobody from taking the lead.
    pub proved: bool,
    /// Why a human is needed before the remedies run out, if so.
    pub urgent: Option<String>,
    /// Whether it gets worse while a human is needed.
    pub worsens: bool,
    /// The control database's clock.
    pub now: DateTime<Utc>,
}

/// Why an incident rests. All of them end by themselves or by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// An operator holds this incident.
    Held,
    /// The incident of its server stands for it.
    Covered(IncidentId),
    /// What disturbs it is being done, and whether that is more pressing.
    Operating(String, Pressing),
    /// Too much fails at once.
    Blind(IncidentId),
    /// Servers know more than the record.
    OldRecord(IncidentId),
    /// Other servers are being felt.
    LookingRound,
}

/// How pressing what is at work is, beside the incident that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pressing {
    /// More so: the playbook's clock stands meanwhile.
    More,
    /// No more than the incident: its clock runs on.
    NoMore,
}

/// How what an incident has asked for stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// It is open.
    AtWork(AtWork),
    /// It has ended, or nothing more is expected of it.
    Ended(Ended),
}

/// What becomes of an open operation if its incident is over, or goes on without it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AtWork {
    /// It ends before its next step.
    MayEnd,
    /// It comes to its end: something is half done.
    HalfDone,
    /// It goes on by itself, with time of its own.
    OnItsOwn,
}

/// How what was asked for has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It is done, since then: what was seen later speaks of its effect.
    Done(DateTime<Utc>),
    /// It cannot be done here, or is not needed, and why.
    Skipped(String),
    /// It failed, and how.
    Failed(String),
    /// It needs a human, and goes on by itself, slowly.
    Stuck(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum NextAction {
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
    /// What was asked for has ended: see [`conclude`].
    Conclude(Ended),
    /// Ask for what a remedy is.
    Ask {
        /// The remedy's name.
        remedy: &'static str,
        /// How often it was asked for, this time included.
        attempt: u16,
    },
    /// Call a human, and go on.
    Page,
    /// Say what would be done, and call a human.
    Advise,
    /// Call a human.
    Escalate(String),
}

/// Decides. Before a human is called, what keeps worse from others has its turn: whatever
/// calls them, others must not suffer until they come.
pub fn next(incident: &Incident, book: &Playbook, view: &View) -> NextAction {
    let found = decide(incident, book, view);
    match (&found, guard(incident, book, view)) {
        (NextAction::Escalate(_), Some(guard)) => guard,
        _ => found,
    }
}

fn decide(incident: &Incident, book: &Playbook, view: &View) -> NextAction {
    let state = incident.state;
    if state == IncidentState::Resolved {
        return NextAction::Gone;
    }
    let at_work = match (state, &view.asked) {
        (IncidentState::Resolving, Some(Asked::Ended(ended))) => {
            return NextAction::Conclude(ended.clone());
        }
        (IncidentState::Resolving, None) => {
            let lost = "what was asked for is not there any more".into();
            return NextAction::Conclude(Ended::Failed(lost));
        }
        (IncidentState::Resolving, Some(Asked::AtWork(at_work))) => Some(*at_work),
        (
            IncidentState::Triggered
            | IncidentState::Waiting
            | IncidentState::NeedsHuman
            | IncidentState::Resolved,
            _,
        ) => None,
    };
    // Neither an observation nor a change of mode comes in between.
    let in_time = |deadline| view.now < deadline + FINISH;
    if at_work == Some(AtWork::HalfDone) {
        if let (Some(Blocker::Held), Some(rest)) =
            (&view.blocker, stand_still(incident, view, true))
        {
            return rest;
        }
        if incident.deadline.is_none_or(in_time) {
            return rest(LOOK_SOON);
        }
    }
    if let Assessment::Cleared(reason) = &view.seen {
        let undoing = at_work.is_some() && incident.remedy == book.undo.map(|u| u.name.to_owned());
        return if !owes_undo(incident, book) {
            NextAction::Close(reason.clone())
        } else if let Some(rest) = stand_still(incident, view, at_work.is_some()) {
            rest
        } else if undoing {
            rest(LOOK_SOON)
        } else {
            undo(incident, book)
        };
    }
    if state == IncidentState::NeedsHuman {
        return guard(incident, book, view).unwrap_or(rest(waits_for_a_human(incident, book)));
    }
    // However often it has come back, and whatever was tried.
    let holds = matches!(view.seen, Assessment::Holds(_));
    let takes_over = fail_over::of(book).filter(|fail_over| {
        view.fails_over
            && holds
            && view.mode == Mode::Act
            && at_work != Some(AtWork::OnItsOwn)
            && incident.remedy.as_deref() != Some(fail_over.name)
            && !book.guards(incident.remedy.as_deref())
    });
    let unheard = book.escalation == Escalation::PageAtOnce && incident.paged_at.is_none();
    if let (Some(fail_over), Some(Blocker::Blind(_))) = (takes_over, &view.blocker)
        && view.proved
        && !unheard
    {
        return NextAction::Ask {
            remedy: fail_over.name,
            attempt: 1,
        };
    }
    // What is no more pressing keeps nobody from calling a human in time.
    let in_its_way = match view.blocker {
        Some(Blocker::Operating(_, Pressing::NoMore)) => too_late(incident, view),
        Some(
            Blocker::Held
            | Blocker::Covered(_)
            | Blocker::Operating(_, Pressing::More)
            | Blocker::Blind(_)
            | Blocker::OldRecord(_)
            | Blocker::LookingRound,
        )
        | None => None,
    };
    if let Some(rest) = stand_still(incident, view, at_work.is_some()) {
        return in_its_way.unwrap_or(rest);
    }
    if unheard && holds {
        // Whatever the mode, and whatever comes of the remedies.
        return NextAction::Page;
    }
    if let Some(fail_over) = takes_over {
        return NextAction::Ask {
            remedy: fail_over.name,
            attempt: 1,
        };
    }
    if at_work == Some(AtWork::OnItsOwn) {
        // It has a deadline of its own.
        return NextAction::Rest {
            why: None,
            after: LOOK_SOON,
            clock_stands: true,
        };
    }
    if let Some(reason) = &view.urgent {
        return NextAction::Escalate(reason.clone());
    }
    if incident
        .deadline
        .is_some_and(|deadline| view.now >= deadline)
    {
        return NextAction::Escalate("the playbook's time is up".into());
    }
    if unheard {
        // What was seen once is not acted on before it is seen to last.
        return rest(LOOK_SOON);
    }
    if book.remedies.is_empty() && view.seen != Assessment::Recovering {
        // No mode keeps drover from calling for help; there is nothing else to do.
        return NextAction::Escalate("there is nothing that drover may do about it".into());
    }
    if view.mode == Mode::Hold {
        return NextAction::Rest {
            why: Some("mode hold: drover feels and thinks only".into()),
            after: LOOK_AGAIN,
            clock_stands: false,
        };
    }
    if incident.reopened >= RETURNS && at_work.is_none() && !book.comes_and_goes {
        let times = incident.reopened + 1;
        return NextAction::Escalate(format!("it is back for time {times} within minutes"));
    }
    if view.seen == Assessment::Recovering {
        return rest(LOOK_SOON);
    }
    if view.mode == Mode::Advise {
        return NextAction::Advise;
    }
    if at_work.is_some() || incident.wait_until.is_some_and(|until| view.now < until) {
        return rest(LOOK_SOON);
    }
    ask(incident, book)
}

/// A human is needed, whatever remedies are left.
fn too_late(incident: &Incident, view: &View) -> Option<NextAction> {
    let is_up = incident
        .deadline
        .is_some_and(|deadline| view.now >= deadline);
    let time = is_up.then(|| "the playbook's time is up".to_owned());
    view.urgent.clone().or(time).map(NextAction::Escalate)
}

/// When an incident that waits for a human is looked at again: thinking wakes those that
/// are seen by observations when they are over, and not when they get worse.
fn waits_for_a_human(incident: &Incident, book: &Playbook) -> Duration {
    if book.guard.is_some() {
        return LOOK_AGAIN;
    }
    match incident.kind.profile().evidence {
        Evidence::Service | Evidence::Connections | Evidence::Figures | Evidence::Followers => {
            LOOK_SELDOM
        }
        Evidence::Operation | Evidence::Herd => LOOK_AGAIN,
    }
}

fn rest(after: Duration) -> NextAction {
    NextAction::Rest {
        why: None,
        after,
        clock_stands: false,
    }
}

/// A remedy at work goes on, unless an operator or the brake stops it.
fn stand_still(incident: &Incident, view: &View, at_work: bool) -> Option<NextAction> {
    let rest = |why: String, after, clock_stands| {
        Some(NextAction::Rest {
            why: Some(why),
            after,
            clock_stands,
        })
    };
    let blocker = view.blocker.as_ref()?;
    let stops = |blocker: &Blocker| match blocker {
        Blocker::Held | Blocker::Blind(_) | Blocker::OldRecord(_) => true,
        Blocker::Covered(_) | Blocker::Operating(..) | Blocker::LookingRound => false,
    };
    if at_work && !stops(blocker) {
        return None;
    }
    match blocker {
        Blocker::Held => rest("held by an operator".into(), LOOK_AGAIN, true),
        Blocker::Covered(by) => {
            let why = format!("{} stands for it", by.public());
            rest(why, LOOK_SOON * 3, true)
        }
        Blocker::Operating(what, pressing) => {
            rest(what.clone(), LOOK_SOON * 2, *pressing == Pressing::More)
        }
        Blocker::Blind(by) => {
            let why = format!("{}: too much fails at once", by.public());
            rest(why, LOOK_SOON * 2, true)
        }
        Blocker::OldRecord(by) => {
            let why = format!("{}: servers know more than the record", by.public());
            rest(why, LOOK_AGAIN, true)
        }
        Blocker::LookingRound if incident.state != IncidentState::Triggered => None,
        Blocker::LookingRound => {
            let why = "other servers are looked at first";
            rest(why.into(), LOOK_SOON / 5, true)
        }
    }
}

/// The remedy whose turn it is, from the one that was asked for last on.
fn ask(incident: &Incident, book: &Playbook) -> NextAction {
    let last = |remedy: &Remedy| incident.remedy.as_deref() == Some(remedy.name);
    // All of it begins anew behind one that is not in the list, since it was to take something
    // back, which is needed; and behind a lead that was to be taken over, since that goes before
    // others have had their turn. Behind what comes last of all, nothing does.
    let turns = book.remedies.iter().filter(|it| it.on != On::Leaders);
    let from = turns.clone().position(last).unwrap_or(0);
    let guarded = book.guards(incident.remedy.as_deref());
    for remedy in turns.skip(from).filter(|_| !guarded) {
        let attempt = if last(remedy) { incident.attempt } else { 0 };
        if attempt >= remedy.attempts {
            continue;
        }
        if incident.attempts >= book.budget.attempts {
            return NextAction::Escalate(format!(
                "{} attempts were made, as many as the playbook allows",
                incident.attempts
            ));
        }
        return NextAction::Ask {
            remedy: remedy.name,
            attempt: attempt + 1,
        };
    }
    let why = match incident.attempts {
        0 => "each of its remedies was passed over",
        _ => "every remedy was tried",
    };
    NextAction::Escalate(why.into())
}

/// A remedy is asked for: where the incident stands from then on.
pub fn begin(incident: &mut Incident, remedy: &str, attempt: u16) {
    incident.attempts += 1;
    incident.state = IncidentState::Resolving;
    incident.remedy = Some(remedy.to_owned());
    incident.attempt = attempt;
    incident.wait_until = None;
    incident.resting = None;
}

/// What was asked for has ended: where the incident stands, and when its next turn is.
pub fn conclude(
    incident: &mut Incident,
    remedy: Option<&Remedy>,
    ended: &Ended,
    now: DateTime<Utc>,
) -> Duration {
    incident.state = IncidentState::Waiting;
    match ended {
        Ended::Done(at) => {
            incident.acted_at = Some(*at);
            let settle = remedy.map_or(Duration::ZERO, |remedy| remedy.settle);
            incident.wait_until = Some(*at + settle);
            LOOK_SOON
        }
        Ended::Skipped(_) => {
            // Nothing was done, so nothing is counted and nothing waited for. A failover counts
            // all the same: it is asked for again between the others, and that has to end.
            if remedy.is_none_or(|remedy| remedy.on == On::Subject) {
                incident.attempts = incident.attempts.saturating_sub(1);
            }
            incident.attempt = NEVER_AGAIN;
            incident.wait_until = Some(now);
            Duration::ZERO
        }
        Ended::Failed(_) => {
            incident.wait_until = Some(now + AFTER_FAILURE);
            LOOK_SOON * 3
        }
        Ended::Stuck(_) => {
            // It is at it already, and another one would do the same.
            incident.attempt = NEVER_AGAIN;
            incident.wait_until = Some(now + AFTER_FAILURE);
            LOOK_SOON * 3
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
