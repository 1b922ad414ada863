//! Every state that can be reached, and every event in each.

use std::collections::{HashMap, HashSet, VecDeque};

use drover::model::{Action, IncidentKind, Severity, SubjectId};
use serde_json::json;

use super::*;
use crate::resolve::incidents::playbook::{Blast, Budget, Step, Tells, Tiers};

const STEPS: [Step; 2] = [Step::new("one"), Step::new("two")];

/// Two remedies, of two steps and of one, and something to take back.
const BOOK: Playbook = Playbook {
    kind: IncidentKind::ResourceDown,
    title: "",
    opened_when: "",
    tiers: Tiers::All,
    severity: Severity::Critical,
    budget: Budget {
        attempts: 4,
        deadline: Duration::from_secs(100),
    },
    blast_radius: Blast::Resource,
    looks_round: true,
    remedies: &[remedy("first", 2, &STEPS), remedy("second", 1, &STEPS)],
    undo: Some(remedy("undo", 2, &STEPS)),
    tells: Tells::Page,
};

/// The same without anything that drover may do.
const NOTHING: Playbook = Playbook {
    remedies: &[],
    undo: None,
    ..BOOK
};

/// Whose page does not wait for the remedies.
const LOUD: Playbook = Playbook {
    tells: Tells::PageAtOnce,
    ..BOOK
};

const fn remedy(name: &'static str, attempts: u16, steps: &'static [Step]) -> Remedy {
    Remedy {
        name,
        does: "",
        attempts,
        settle: Duration::from_secs(10),
        steps,
    }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn fresh(reopened: u16) -> Incident {
    Incident {
        id: "01J8ZC0T3YQ5V7N2M4K6H9D1XB".parse().unwrap(),
        subject: Some(SubjectId::generate()),
        kind: IncidentKind::ResourceDown,
        state: IncidentState::Triggered,
        state_since: at(0),
        revision: 0,
        reason: String::new(),
        opened_at: at(0),
        deadline: Some(at(100)),
        remedy: 0,
        step: 0,
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

/// What tells one place of the machine from another: its columns, and whether its
/// two times are over.
type Place = (IncidentState, u16, u16, u16, u32, u16, bool, bool, bool);

fn place(i: &Incident, now: DateTime<Utc>) -> Place {
    (
        i.state,
        i.remedy,
        i.step,
        i.attempt,
        i.attempts,
        i.reopened,
        i.memo.get("undo").is_some(),
        i.wait_until.is_some_and(|until| now < until),
        i.deadline.is_some_and(|deadline| now < deadline),
    )
}

/// What the world may do in a turn.
#[derive(Clone, Debug, PartialEq)]
enum Luck {
    Ended(Ended),
    /// Done, and something for the time being with it.
    Owing,
    /// The worker died before it could write down how it ended.
    CutOff,
}

fn lucks() -> [Luck; 6] {
    [
        Luck::Ended(Ended::Done),
        Luck::Ended(Ended::Again(Duration::from_secs(1))),
        Luck::Ended(Ended::PassedOver(String::new())),
        Luck::Ended(Ended::Failed(String::new())),
        Luck::Owing,
        Luck::CutOff,
    ]
}

fn views(now: DateTime<Utc>) -> Vec<View> {
    let id: IncidentId = "01J8ZC0T3YQ5V7N2M4K6H9D1XC".parse().unwrap();
    let sights = [
        Sight::Holds(String::new()),
        Sight::Unknown,
        Sight::Recovering,
        Sight::Cleared(String::new()),
    ];
    let stills = [
        None,
        Some(Still::Held),
        Some(Still::Covered(id)),
        Some(Still::Operating(String::new())),
        Some(Still::Blind(id)),
        Some(Still::LookingRound),
    ];
    let mut all = Vec::new();
    for sight in &sights {
        for still in &stills {
            for mode in Mode::ALL.iter().copied() {
                for (urgent, jump) in [(None, None), (Some(String::new()), None), (None, Some(1))] {
                    all.push(View {
                        sight: sight.clone(),
                        still: still.clone(),
                        mode,
                        jump,
                        urgent,
                        now,
                    });
                }
            }
        }
    }
    all
}

/// One turn, as the handler does it.
fn turn(incident: &Incident, book: &Playbook, view: &View, luck: &Luck) -> (Incident, Move) {
    let mut incident = incident.clone();
    let found = next(&incident, book, view);
    match &found {
        Move::Gone => {}
        Move::Close(_) => {
            incident.state = IncidentState::Resolved;
        }
        Move::Rest { clock_stands, .. } => {
            if *clock_stands {
                incident.deadline = Some(view.now + book.budget.deadline);
            }
        }
        Move::Page => incident.paged_at = Some(view.now),
        Move::Advise | Move::Escalate(_) => incident.state = IncidentState::NeedsHuman,
        Move::Perform {
            remedy,
            step,
            attempt,
        } => {
            begin(&mut incident, *remedy, *step, *attempt);
            let found = book.remedy(*remedy).expect("a remedy of the playbook");
            assert!(
                usize::from(*step) < found.steps.len(),
                "a step of the remedy"
            );
            assert!(*attempt <= found.attempts, "no more attempts than it has");
            match luck {
                Luck::CutOff => {}
                Luck::Owing => {
                    incident.memo["undo"] = json!(true);
                    after(&mut incident, found, &Ended::Done, view.now);
                }
                Luck::Ended(ended) => {
                    if *remedy == UNDO && *ended == Ended::Done {
                        incident.memo = json!({});
                    }
                    after(&mut incident, found, ended, view.now);
                }
            }
        }
    }
    (incident, found)
}

/// The incident moved in time, so that `now` is always second 0.
fn later(incident: &Incident, by: i64) -> Incident {
    let shift = |t: DateTime<Utc>| t - TimeDelta::seconds(by);
    let mut moved = incident.clone();
    moved.deadline = moved.deadline.map(shift);
    moved.wait_until = moved.wait_until.map(shift);
    moved.acted_at = moved.acted_at.map(shift);
    moved
}

/// Everything that can be reached, with one way there.
fn reachable(book: &Playbook) -> HashMap<Place, Incident> {
    let mut seen = HashMap::new();
    let mut queue: VecDeque<Incident> = (0..=3).map(fresh).collect();
    let mut queued = HashSet::new();
    while let Some(incident) = queue.pop_front() {
        if seen.contains_key(&place(&incident, at(0))) {
            continue;
        }
        seen.insert(place(&incident, at(0)), incident.clone());
        if Action::Retry.fits(&incident) {
            let mut again = fresh(0);
            again.memo = incident.memo.clone();
            queue.push_back(again);
        }
        for view in views(at(0)) {
            for luck in lucks() {
                let (then, _) = turn(&incident, book, &view, &luck);
                for wait in [0, 11, 200] {
                    let then = later(&then, wait);
                    if queued.insert(place(&then, at(0))) {
                        queue.push_back(then);
                    }
                }
            }
        }
    }
    seen
}

fn plain(sight: Sight) -> View {
    View {
        sight,
        still: None,
        mode: Mode::Act,
        jump: None,
        urgent: None,
        now: at(0),
    }
}

fn ended(state: IncidentState) -> bool {
    matches!(state, IncidentState::Resolved | IncidentState::NeedsHuman)
}

#[test]
fn every_path_ends_in_resolved_or_needs_human_when_its_time_is_up() {
    for book in [&BOOK, &NOTHING] {
        let all = reachable(book);
        assert!(
            all.len() > if book.undo.is_some() { 100 } else { 5 },
            "{}",
            all.len()
        );
        let found: HashSet<IncidentState> = all.keys().map(|place| place.0).collect();
        for state in IncidentState::ALL {
            let without_remedies =
                matches!(state, IncidentState::Resolving | IncidentState::Waiting);
            assert_eq!(
                found.contains(state),
                !(book.undo.is_none() && without_remedies)
            );
        }
        for incident in all.values() {
            let late = later(incident, 1000);
            for sight in [
                Sight::Holds(String::new()),
                Sight::Unknown,
                Sight::Recovering,
            ] {
                for mode in Mode::ALL.iter().copied() {
                    let view = View {
                        mode,
                        ..plain(sight.clone())
                    };
                    let (then, _) = turn(&late, book, &view, &Luck::CutOff);
                    assert!(ended(then.state), "{:?} in {mode}", place(&late, at(0)));
                }
            }
        }
    }
}

#[test]
fn without_luck_the_remedies_run_out_even_if_no_time_passes() {
    // Whatever a step answers but "again": no place is met twice.
    fn walk(incident: &Incident, path: &mut Vec<Place>) -> usize {
        let here = place(incident, at(0));
        if ended(incident.state) {
            return 0;
        }
        assert!(!path.contains(&here), "round and round: {here:?}");
        path.push(here);
        let mut longest = 0;
        for luck in lucks() {
            let again =
                luck == Luck::CutOff || luck == Luck::Ended(Ended::Again(Duration::from_secs(1)));
            let holds = plain(Sight::Holds(String::new()));
            let (then, found) = turn(incident, &BOOK, &holds, &luck);
            if again && matches!(found, Move::Perform { .. }) {
                // It may try the same step for ever, were it not for the deadline.
                let mut once = incident.clone();
                begin(&mut once, then.remedy, then.step, then.attempt);
                assert_eq!(place(&then, at(0)), place(&once, at(0)));
                continue;
            }
            let mut then = later(&then, 11);
            then.deadline = Some(at(100));
            longest = longest.max(1 + walk(&then, path));
        }
        path.pop();
        longest
    }
    let longest = walk(&fresh(0), &mut Vec::new());
    assert!(longest >= 6, "both remedies were tried: {longest}");
}

#[test]
fn a_fresh_observation_ends_it_from_everywhere() {
    for incident in reachable(&BOOK).into_values() {
        for mut view in views(at(0)) {
            view.sight = Sight::Cleared("answers".into());
            if incident.memo.get("undo").is_none() {
                let (then, _) = turn(&incident, &BOOK, &view, &Luck::CutOff);
                assert_eq!(then.state, IncidentState::Resolved, "{view:?}");
            }
        }
        // What was done for the time being is taken back first.
        let mut owing = incident.clone();
        owing.memo = json!({ "undo": true });
        let mut undone = false;
        for _ in 0..8 {
            let (then, found) = turn(
                &owing,
                &BOOK,
                &plain(Sight::Cleared(String::new())),
                &Luck::Ended(Ended::Done),
            );
            undone |= matches!(found, Move::Perform { remedy: UNDO, .. });
            owing = later(&then, 11);
        }
        let given_up = incident.remedy == UNDO;
        assert!(incident.state == IncidentState::Resolved || undone || given_up);
        assert!(
            given_up || owing.state == IncidentState::Resolved,
            "{:?}",
            place(&incident, at(0))
        );
    }
}

#[test]
fn nothing_is_done_where_nothing_may_be_done() {
    for incident in reachable(&BOOK).into_values() {
        for view in views(at(0)) {
            let found = next(&incident, &BOOK, &view);
            let Move::Perform { remedy, step, .. } = found else {
                continue;
            };
            assert_ne!(incident.state, IncidentState::Resolved);
            assert_ne!(view.still, Some(Still::Held), "an operator holds it");
            assert_ne!(view.sight, Sight::Recovering, "it answers");
            let at_work = incident.state == IncidentState::Resolving && incident.step > 0;
            assert!(
                match view.still {
                    None => true,
                    Some(Still::Held | Still::Blind(_)) => false,
                    Some(Still::Covered(_) | Still::Operating(_)) => at_work,
                    Some(Still::LookingRound) => incident.state != IncidentState::Triggered,
                },
                "{view:?}"
            );
            let taking_back = remedy == UNDO && matches!(view.sight, Sight::Cleared(_));
            assert!(view.mode == Mode::Act || taking_back, "{view:?}");
            assert!(taking_back || incident.state != IncidentState::NeedsHuman);
            let begun = step > 0 || at_work || incident.state == IncidentState::Resolving;
            assert!(begun || taking_back || incident.attempts < BOOK.budget.attempts);
        }
    }
}

#[test]
fn a_page_at_once_comes_before_all_else_and_once() {
    for view in views(at(0)) {
        let found = next(&fresh(0), &LOUD, &view);
        let heard = matches!(view.sight, Sight::Holds(_)) && view.still.is_none();
        assert_eq!(found == Move::Page, heard, "{view:?}");
        assert!(!matches!(found, Move::Perform { .. }), "{view:?}");
    }
    let holds = plain(Sight::Holds(String::new()));
    let (paged, _) = turn(&fresh(0), &LOUD, &holds, &Luck::CutOff);
    let found = next(&paged, &LOUD, &holds);
    assert!(
        matches!(found, Move::Perform { remedy: 0, .. }),
        "{found:?}"
    );
    // Its time is up, and it was never seen to last: a human looks.
    let late = later(&fresh(0), 1000);
    let found = next(&late, &LOUD, &plain(Sight::Unknown));
    assert!(matches!(found, Move::Escalate(_)), "{found:?}");
}

#[test]
fn the_third_time_a_human_looks() {
    for times in 0..5 {
        let found = next(&fresh(times), &BOOK, &plain(Sight::Holds(String::new())));
        assert_eq!(matches!(found, Move::Escalate(_)), times >= 2, "{times}");
    }
}

#[test]
fn a_remedy_whose_time_has_come_goes_first_once_and_only_where_drover_may_act() {
    let due = View {
        jump: Some(1),
        ..plain(Sight::Holds(String::new()))
    };
    let to_it = Move::Perform {
        remedy: 1,
        step: 0,
        attempt: 1,
    };
    // Though a human would be called, and though another remedy is at work or settles.
    for mut incident in [fresh(0), fresh(5)] {
        assert_eq!(next(&incident, &BOOK, &due), to_it);
        begin(&mut incident, 0, 0, 1);
        assert_eq!(next(&incident, &BOOK, &due), to_it);
        incident.state = IncidentState::Waiting;
        incident.wait_until = Some(at(10));
        assert_eq!(next(&incident, &BOOK, &due), to_it);
        // It was tried: the playbook goes on as without it.
        incident.remedy = 1;
        incident.attempt = 1;
        assert_eq!(
            next(&incident, &BOOK, &due),
            next(
                &incident,
                &BOOK,
                &View {
                    jump: None,
                    ..due.clone()
                }
            )
        );
    }
    for mode in [Mode::Advise, Mode::Hold] {
        let there = View {
            mode,
            ..due.clone()
        };
        assert!(!matches!(
            next(&fresh(0), &BOOK, &there),
            Move::Perform { .. }
        ));
    }
    let stale = View {
        sight: Sight::Unknown,
        ..due
    };
    assert_ne!(next(&fresh(0), &BOOK, &stale), to_it);
}

#[test]
fn a_cut_off_step_is_done_again_and_counted_once() {
    let holds = plain(Sight::Holds(String::new()));
    let (cut, _) = turn(&fresh(0), &BOOK, &holds, &Luck::CutOff);
    let (again, found) = turn(&cut, &BOOK, &holds, &Luck::CutOff);
    let first = Move::Perform {
        remedy: 0,
        step: 0,
        attempt: 1,
    };
    assert_eq!(found, first);
    assert_eq!((again.attempts, again.attempt), (1, 1));
}

#[test]
fn every_state_can_be_left_by_an_operator_or_by_recovery() {
    for incident in reachable(&BOOK).into_values() {
        let open = incident.state != IncidentState::Resolved;
        let human = incident.state == IncidentState::NeedsHuman;
        assert_eq!(Action::Retry.fits(&incident), human);
        assert_eq!(
            Action::Resolve.fits(&incident),
            open && incident.state != IncidentState::Resolving
        );
        assert_eq!(Action::Hold.fits(&incident), open);
    }
}
