//! The world that the machine is walked through: playbooks, all that a turn may have before
//! its eyes, and what the handler makes of what is decided.

use std::collections::{HashSet, VecDeque};
use std::sync::LazyLock;

use drover::model::{Action, IncidentKind, OperationKind, Severity, SubjectId};
use serde_json::json;

use super::super::*;
use crate::resolve::incidents::playbook::{Blast, Budget};

pub(super) const FIRST: &str = "first";
pub(super) const SECOND: &str = "second";
pub(super) const LEADS: &str = "leads";
pub(super) const GUARD: &str = "guard";
pub(super) const UNDO: &str = "undo";

/// Two remedies, one by which a follower takes the lead, and something to take back.
pub(super) const BOOK: Playbook = Playbook {
    kind: IncidentKind::ResourceDown,
    title: "",
    opened_when: "",
    severity: Severity::Critical,
    budget: Budget {
        attempts: 4,
        deadline: Duration::from_secs(100),
    },
    blast_radius: Blast::Resource,
    looks_round: true,
    comes_and_goes: false,
    remedies: &[remedy(FIRST, 2), remedy(SECOND, 1), FAILS_OVER],
    guard: None,
    undo: Some(remedy(UNDO, 2)),
    escalation: Escalation::Page,
};

/// The same with what guards others.
pub(super) const GUARDED: Playbook = Playbook {
    guard: Some(remedy(GUARD, 1)),
    ..BOOK
};

/// The same with the lead's in front, as a server's playbook has it.
pub(super) const IN_FRONT: Playbook = Playbook {
    remedies: &[FAILS_OVER, remedy(FIRST, 2), remedy(SECOND, 1)],
    ..BOOK
};

/// The same without anything that drover may do.
pub(super) const NOTHING: Playbook = Playbook {
    remedies: &[],
    undo: None,
    ..BOOK
};

/// Whose page does not wait for the remedies.
pub(super) const LOUD: Playbook = Playbook {
    escalation: Escalation::PageAtOnce,
    ..BOOK
};

const FAILS_OVER: Remedy = Remedy {
    on: On::Leaders,
    ..remedy(LEADS, 1)
};

const fn remedy(name: &'static str, attempts: u16) -> Remedy {
    Remedy::new(name, "", OperationKind::Restart)
        .tried(attempts)
        .settling(Duration::from_secs(10))
}

/// Every place of [`BOOK`], with one incident that is there.
pub(super) static EVERYWHERE: LazyLock<Vec<Incident>> = LazyLock::new(|| reachable(&BOOK));

pub(super) fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

pub(super) fn fresh(reopened: u16) -> Incident {
    Incident {
        id: "01J8ZC0T3YQ5V7N2M4K6H9D1XB".parse().unwrap(),
        subject: Some(SubjectId::generate()),
        zone: None,
        kind: IncidentKind::ResourceDown,
        state: IncidentState::Triggered,
        state_since: at(0),
        revision: 0,
        reason: String::new(),
        opened_at: at(0),
        deadline: Some(at(100)),
        remedy: None,
        attempt: 0,
        attempts: 0,
        wait_until: None,
        acted_at: None,
        memo: json!({}),
        resting: None,
        reopened,
        acknowledged_at: None,
        acknowledged_by: None,
        held_at: None,
        paged_at: None,
        ticketed_at: None,
        resolved_at: None,
        resolved_by: None,
    }
}

/// What tells one place of the machine from another: the columns, and which of its times
/// are over. More attempts than are allowed are as many as one more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub(super) state: IncidentState,
    remedy: Option<String>,
    attempt: u16,
    attempts: u32,
    reopened: u16,
    owes: bool,
    settles: bool,
    in_time: bool,
    may_finish: bool,
    paged: bool,
}

pub(super) fn place(i: &Incident) -> Place {
    let ahead = |time: DateTime<Utc>| at(0) < time;
    Place {
        state: i.state,
        remedy: i.remedy.clone(),
        attempt: i.attempt,
        attempts: i.attempts.min(BOOK.budget.attempts + 1),
        reopened: i.reopened,
        owes: owes(i),
        settles: i.wait_until.is_some_and(ahead),
        in_time: i.deadline.is_some_and(ahead),
        may_finish: may_finish(i),
        paged: i.paged_at.is_some(),
    }
}

pub(super) fn owes(incident: &Incident) -> bool {
    incident.memo["undo"] == true
}

/// Whether there is still time for what is half done.
pub(super) fn may_finish(incident: &Incident) -> bool {
    incident.deadline.is_some_and(|time| at(0) < time + FINISH)
}

pub(super) fn ends() -> [Ended; 4] {
    [
        Ended::Done(at(0)),
        Ended::Skipped(String::new()),
        Ended::Failed(String::new()),
        Ended::Stuck(String::new()),
    ]
}

/// How what it has asked for may stand; what changes the lead goes on by itself.
pub(super) fn stands(incident: &Incident) -> Vec<Option<Asked>> {
    if incident.state != IncidentState::Resolving {
        return vec![None];
    }
    let at_work: &[AtWork] = match incident.remedy.as_deref() == Some(LEADS) {
        true => &[AtWork::OnItsOwn],
        false => &[AtWork::MayEnd, AtWork::HalfDone, AtWork::OnItsOwn],
    };
    let at_work = at_work.iter().copied().map(Asked::AtWork);
    let ended = ends().into_iter().map(Asked::Ended);
    let all = at_work.chain(ended).map(Some);
    std::iter::once(None).chain(all).collect()
}

fn blockers() -> [Option<Blocker>; 8] {
    let id: IncidentId = "01J8ZC0T3YQ5V7N2M4K6H9D1XC".parse().unwrap();
    [
        None,
        Some(Blocker::Held),
        Some(Blocker::Covered(id)),
        Some(Blocker::Operating(String::new(), Pressing::More)),
        Some(Blocker::Operating(String::new(), Pressing::NoMore)),
        Some(Blocker::Blind(id)),
        Some(Blocker::OldRecord(id)),
        Some(Blocker::LookingRound),
    ]
}

/// All that a turn of this incident may have before its eyes.
pub(super) fn views(incident: &Incident) -> Vec<View> {
    let assessments = [
        Assessment::Holds(String::new()),
        Assessment::Unknown,
        Assessment::Recovering,
        Assessment::Cleared(String::new()),
    ];
    let mut all = Vec::new();
    for asked in stands(incident) {
        for seen in &assessments {
            for blocker in blockers() {
                for mode in Mode::ALL.iter().copied() {
                    for (urgent, fails_over) in [(false, false), (true, false), (false, true)] {
                        all.push(View {
                            seen: seen.clone(),
                            blocker: blocker.clone(),
                            mode,
                            asked: asked.clone(),
                            fails_over,
                            proved: fails_over,
                            urgent: urgent.then(String::new),
                            worsens: false,
                            now: at(0),
                        });
                    }
                }
            }
        }
    }
    all
}

/// What the world may do with what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luck {
    /// What is asked for is opened; nothing is owed for what is done.
    Plain,
    /// Done, and something for the time being with it.
    Owing,
    /// The plan forbids it, or there is nobody to do it to.
    Refused,
}

const LUCKS: [Luck; 3] = [Luck::Plain, Luck::Owing, Luck::Refused];

/// Where the incident stands after a turn, as the handler does it.
pub(super) fn turn(
    incident: &Incident,
    book: &Playbook,
    found: &NextAction,
    luck: Luck,
) -> Incident {
    let mut then = incident.clone();
    match found {
        NextAction::Gone => {}
        NextAction::Close(_) => then.state = IncidentState::Resolved,
        NextAction::Rest { clock_stands, .. } => {
            if *clock_stands {
                then.deadline = Some(at(0) + book.budget.deadline);
            }
        }
        NextAction::Conclude(ended) => {
            let name = then.remedy.clone().expect("what has ended was asked for");
            let asked = book.remedy(&name).expect("a remedy of the playbook");
            if matches!(ended, Ended::Done(_)) && name == UNDO {
                then.memo = json!({});
            } else if matches!(ended, Ended::Done(_)) && luck == Luck::Owing {
                then.memo = json!({ "undo": true });
            }
            conclude(&mut then, Some(asked), ended, at(0));
        }
        NextAction::Ask { remedy, attempt } => {
            let asked = book.remedy(remedy).expect("a remedy of the playbook");
            assert!(*attempt <= asked.attempts, "no more attempts than it has");
            begin(&mut then, asked.name, *attempt);
            if luck == Luck::Refused {
                let why = Ended::Skipped(String::new());
                conclude(&mut then, Some(asked), &why, at(0));
            }
        }
        NextAction::Page => then.paged_at = Some(at(0)),
        NextAction::Advise | NextAction::Escalate(_) => {
            then.state = IncidentState::NeedsHuman;
            then.paged_at = then.paged_at.or(Some(at(0)));
        }
    }
    then
}

/// The incident moved in time, so that now is always second 0.
pub(super) fn later(incident: &Incident, by: i64) -> Incident {
    let shift = |t: DateTime<Utc>| t - TimeDelta::seconds(by);
    let mut moved = incident.clone();
    moved.deadline = moved.deadline.map(shift);
    moved.wait_until = moved.wait_until.map(shift);
    moved.acted_at = moved.acted_at.map(shift);
    moved.paged_at = moved.paged_at.map(shift);
    moved
}

/// Everything that can be reached, by whatever way.
pub(super) fn reachable(book: &Playbook) -> Vec<Incident> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let mut queue: VecDeque<Incident> = [0, 2].map(fresh).into();
    while let Some(incident) = queue.pop_front() {
        if !seen.insert(place(&incident)) {
            continue;
        }
        for found in decisions(&incident, book) {
            for luck in LUCKS {
                let then = turn(&incident, book, &found, luck);
                for wait in [0, 11, 200] {
                    let then = later(&then, wait);
                    if !seen.contains(&place(&then)) {
                        queue.push_back(then);
                    }
                }
            }
        }
        if Action::Retry.fits(&incident) {
            let memo = incident.memo.clone();
            queue.push_back(Incident { memo, ..fresh(0) });
        }
        if incident.state == IncidentState::Resolving && book.undo.is_some() {
            // What is owed is written down by a step, before its operation has ended.
            for memo in [json!({}), json!({ "undo": true })] {
                let incident = incident.clone();
                queue.push_back(Incident { memo, ..incident });
            }
        }
        all.push(incident);
    }
    all
}

/// All that may be decided about an incident, each once.
fn decisions(incident: &Incident, book: &Playbook) -> Vec<NextAction> {
    let mut all = Vec::new();
    for view in views(incident) {
        let found = next(incident, book, &view);
        if !all.contains(&found) {
            all.push(found);
        }
    }
    all
}
