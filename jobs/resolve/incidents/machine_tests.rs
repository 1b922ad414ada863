//! Every state that can be reached, and every event in each.

#[path = "machine_tests/guard.rs"]
mod guard;
#[path = "machine_tests/human.rs"]
mod human;
#[path = "machine_tests/lead.rs"]
mod lead;
#[path = "machine_tests/walk.rs"]
mod walk;

use std::collections::{HashMap, HashSet};

use drover::model::Action;
use serde_json::json;

use self::walk::*;
use super::*;

fn plain(seen: Assessment) -> View {
    View {
        seen,
        blocker: None,
        mode: Mode::Act,
        asked: None,
        fails_over: false,
        proved: false,
        urgent: None,
        worsens: false,
        now: at(0),
    }
}

fn holds() -> View {
    plain(Assessment::Holds(String::new()))
}

fn hears(asked: Asked) -> View {
    View {
        asked: Some(asked),
        ..holds()
    }
}

fn asks(remedy: &'static str, attempt: u16) -> NextAction {
    NextAction::Ask { remedy, attempt }
}

fn begun(remedy: &str, attempt: u16) -> Incident {
    let mut incident = fresh(0);
    begin(&mut incident, remedy, attempt);
    incident
}

fn ended(state: IncidentState) -> bool {
    matches!(state, IncidentState::Resolved | IncidentState::NeedsHuman)
}

/// Whether what was asked for has to be waited for, whatever else is seen.
fn has_to_finish(incident: &Incident, view: &View) -> bool {
    view.asked == Some(Asked::AtWork(AtWork::HalfDone))
        && (view.blocker == Some(Blocker::Held) || may_finish(incident))
}

/// However that ends which is asked for, but for what has time of its own.
fn comes_to_an_end(incident: &Incident, book: &Playbook, view: &View, turns: u8) {
    if ended(incident.state) {
        return;
    }
    assert!(turns > 0, "{:?} {view:?}", place(incident));
    for asked in stands(incident) {
        if asked != Some(Asked::AtWork(AtWork::OnItsOwn)) {
            let view = View {
                asked,
                ..view.clone()
            };
            let found = next(incident, book, &view);
            let then = turn(incident, book, &found, Luck::Plain);
            comes_to_an_end(&then, book, &view, turns - 1);
        }
    }
}

#[test]
fn every_path_ends_in_resolved_or_needs_human_when_its_time_is_up() {
    for book in [BOOK, IN_FRONT, LOUD, NOTHING, GUARDED] {
        let all = reachable(&book);
        let least = if book.undo.is_some() { 500 } else { 5 };
        assert!(all.len() > least, "{}", all.len());
        let found: HashSet<IncidentState> = all.iter().map(|incident| incident.state).collect();
        for state in IncidentState::ALL.iter().copied() {
            let asks = matches!(state, IncidentState::Resolving | IncidentState::Waiting);
            assert_eq!(found.contains(&state), !asks || book.undo.is_some());
        }
        for incident in &all {
            let late = later(incident, 1000);
            for seen in [
                Assessment::Holds(String::new()),
                Assessment::Unknown,
                Assessment::Recovering,
            ] {
                for mode in Mode::ALL.iter().copied() {
                    for fails_over in [false, true] {
                        let view = View {
                            mode,
                            fails_over,
                            ..plain(seen.clone())
                        };
                        comes_to_an_end(&late, &book, &view, 8);
                    }
                }
            }
        }
    }
}

#[test]
fn without_luck_the_remedies_run_out_even_if_no_time_passes() {
    // Whatever comes of what is asked for: no place is met twice.
    fn walk(
        incident: &Incident,
        view: &View,
        path: &mut Vec<Place>,
        known: &mut HashMap<Place, usize>,
    ) -> usize {
        let here = place(incident);
        if ended(incident.state) {
            return 0;
        }
        if let Some(longest) = known.get(&here) {
            return *longest;
        }
        assert!(!path.contains(&here), "round and round: {here:?}");
        path.push(here.clone());
        let mut longest = 0;
        for asked in stands(incident) {
            if matches!(asked, Some(Asked::AtWork(_))) {
                continue;
            }
            let view = View {
                asked,
                ..view.clone()
            };
            let found = next(incident, &BOOK, &view);
            for luck in [Luck::Plain, Luck::Owing, Luck::Refused] {
                let mut then = later(&turn(incident, &BOOK, &found, luck), 11);
                then.deadline = Some(at(100));
                longest = longest.max(1 + walk(&then, &view, path, known));
                if !matches!(found, NextAction::Ask { .. } | NextAction::Conclude(_)) {
                    break;
                }
            }
        }
        path.pop();
        known.insert(here, longest);
        longest
    }
    for fails_over in [false, true] {
        let view = View {
            fails_over,
            ..holds()
        };
        let longest = walk(&fresh(0), &view, &mut Vec::new(), &mut HashMap::new());
        // A lead that stays due is asked for before each of the others.
        let asked_for = if fails_over { 7 } else { 3 };
        assert_eq!(longest, 2 * asked_for + 1, "each was asked for and ended");
    }
}

#[test]
fn a_fresh_observation_ends_it_from_everywhere() {
    for incident in EVERYWHERE.iter() {
        for view in views(incident) {
            if !matches!(view.seen, Assessment::Cleared(_)) {
                continue;
            }
            let found = next(incident, &BOOK, &view);
            let at_work = matches!(view.asked, Some(Asked::AtWork(_)));
            if incident.state == IncidentState::Resolved {
                assert_eq!(found, NextAction::Gone);
            } else if incident.state == IncidentState::Resolving && !at_work {
                assert!(matches!(found, NextAction::Conclude(_)), "{view:?}");
            } else {
                let closes = !owes(incident) && !has_to_finish(incident, &view);
                assert_eq!(matches!(found, NextAction::Close(_)), closes, "{view:?}");
            }
        }
        // What was done for the time being is taken back first.
        let mut owing = incident.clone();
        owing.memo = json!({ "undo": true });
        let at_it = incident.remedy.as_deref() == Some(UNDO);
        let mut undone = false;
        for _ in 0..8 {
            let resolving = owing.state == IncidentState::Resolving;
            let view = View {
                asked: resolving.then_some(Asked::Ended(Ended::Done(at(0)))),
                ..plain(Assessment::Cleared(String::new()))
            };
            let found = next(&owing, &BOOK, &view);
            undone |= matches!(found, NextAction::Ask { remedy: UNDO, .. });
            assert!(!owes(&owing) || !matches!(found, NextAction::Close(_)));
            owing = later(&turn(&owing, &BOOK, &found, Luck::Plain), 11);
        }
        let here = place(incident);
        assert!(here.state == IncidentState::Resolved || undone || at_it);
        assert!(at_it || owing.state == IncidentState::Resolved, "{here:?}");
        assert!(
            ended(owing.state),
            "taken back, or a human is called: {here:?}"
        );
    }
}

#[test]
fn nothing_is_asked_for_where_nothing_may_be_done() {
    for incident in EVERYWHERE.iter() {
        for view in views(incident) {
            let found = next(incident, &BOOK, &view);
            let NextAction::Ask { remedy, attempt } = found else {
                continue;
            };
            assert_ne!(incident.state, IncidentState::Resolved);
            assert_ne!(view.seen, Assessment::Recovering, "it answers");
            assert!(!has_to_finish(incident, &view), "{view:?}");
            let at_work = incident.state == IncidentState::Resolving;
            assert!(
                match view.blocker {
                    None => true,
                    Some(Blocker::Held | Blocker::OldRecord(_)) => false,
                    Some(Blocker::Blind(_)) => view.proved && remedy == LEADS,
                    Some(Blocker::Covered(_) | Blocker::Operating(..)) => at_work,
                    Some(Blocker::LookingRound) => incident.state != IncidentState::Triggered,
                },
                "{view:?}"
            );
            let taking_back = remedy == UNDO;
            let cleared = matches!(view.seen, Assessment::Cleared(_));
            assert_eq!(taking_back, cleared, "{view:?}");
            assert!(!taking_back || owes(incident), "nothing is owed");
            assert!(view.mode == Mode::Act || taking_back, "{view:?}");
            assert!(taking_back || incident.state != IncidentState::NeedsHuman);
            let last = incident.remedy.as_deref() == Some(remedy);
            let before = if last { incident.attempt } else { 0 };
            assert_eq!(attempt, before + 1);
            assert!(BOOK.remedy(remedy).is_some_and(|r| attempt <= r.attempts));
            if taking_back || remedy == LEADS {
                continue;
            }
            // Because it is its turn.
            assert!(!at_work && view.urgent.is_none(), "{view:?}");
            assert!(incident.attempts < BOOK.budget.attempts);
            assert!(incident.reopened < RETURNS);
            assert!(incident.deadline.is_some_and(|deadline| at(0) < deadline));
            assert!(incident.wait_until.is_none_or(|until| until <= at(0)));
        }
    }
}

#[test]
fn what_has_ended_is_concluded_first_and_what_is_half_done_is_waited_for() {
    let waits = rest(LOOK_SOON);
    for incident in EVERYWHERE.iter() {
        for view in views(incident) {
            let found = next(incident, &BOOK, &view);
            match &view.asked {
                None if incident.state == IncidentState::Resolving => {
                    assert!(matches!(found, NextAction::Conclude(Ended::Failed(_))));
                }
                Some(Asked::Ended(how)) => {
                    assert_eq!(found, NextAction::Conclude(how.clone()), "{view:?}");
                }
                None | Some(Asked::AtWork(_)) => {
                    assert!(!matches!(found, NextAction::Conclude(_)), "{view:?}");
                }
            }
            if has_to_finish(incident, &view) {
                let held = view.blocker == Some(Blocker::Held);
                let rests = matches!(found, NextAction::Rest { .. });
                assert!(rests && (held || found == waits), "{view:?}");
            }
        }
    }
}

#[test]
fn the_clock_stands_only_while_something_more_pressing_or_on_its_own_is_at_work() {
    for incident in EVERYWHERE.iter() {
        for view in views(incident) {
            let NextAction::Rest { clock_stands, .. } = next(incident, &BOOK, &view) else {
                continue;
            };
            let alone = view.asked == Some(Asked::AtWork(AtWork::OnItsOwn));
            let may_stand = match view.blocker {
                None | Some(Blocker::Operating(_, Pressing::NoMore)) => alone,
                Some(
                    Blocker::Operating(_, Pressing::More)
                    | Blocker::Held
                    | Blocker::Covered(_)
                    | Blocker::Blind(_)
                    | Blocker::OldRecord(_)
                    | Blocker::LookingRound,
                ) => true,
            };
            assert!(may_stand || !clock_stands, "{view:?}");
            if alone && !matches!(view.seen, Assessment::Cleared(_)) {
                assert!(clock_stands, "it has time of its own: {view:?}");
            }
        }
    }
}

#[test]
fn a_skipped_remedy_costs_nothing_and_is_not_asked_for_again() {
    let all = EVERYWHERE.iter();
    for incident in all.filter(|incident| incident.state == IncidentState::Resolving) {
        for how in ends() {
            let (skipped, stuck) = (
                matches!(how, Ended::Skipped(_)),
                matches!(how, Ended::Stuck(_)),
            );
            let found = next(incident, &BOOK, &hears(Asked::Ended(how)));
            let then = turn(incident, &BOOK, &found, Luck::Plain);
            assert_eq!(then.state, IncidentState::Waiting);
            let free = skipped && incident.remedy.as_deref() != Some(LEADS);
            assert_eq!(then.attempts, incident.attempts - u32::from(free));
            let waits = then.wait_until.is_some_and(|until| at(0) < until);
            assert_eq!(waits, !skipped);
            if !skipped && !stuck {
                continue;
            }
            for (fails_over, waited) in [(false, 0), (false, 11), (true, 0), (true, 11)] {
                let view = View {
                    fails_over,
                    ..holds()
                };
                let found = next(&later(&then, waited), &BOOK, &view);
                if let NextAction::Ask { remedy, .. } = found {
                    assert_ne!(Some(remedy), incident.remedy.as_deref(), "{view:?}");
                }
            }
        }
    }
}

#[test]
fn nobodys_turn_is_lost_because_a_lead_was_to_be_taken_over() {
    for ended in ends() {
        let mut incident = begun(LEADS, 1);
        let found = next(&incident, &BOOK, &hears(Asked::Ended(ended)));
        incident = later(&turn(&incident, &BOOK, &found, Luck::Plain), 11);
        assert_eq!(next(&incident, &BOOK, &holds()), asks(FIRST, 1));
    }
}

#[test]
fn what_is_lost_counts_once_and_is_asked_for_again() {
    let lost = begun(FIRST, 1);
    let found = next(&lost, &BOOK, &holds());
    assert!(matches!(found, NextAction::Conclude(Ended::Failed(_))));
    let then = turn(&lost, &BOOK, &found, Luck::Plain);
    assert_eq!((then.attempts, then.attempt), (1, 1));
    let found = next(&later(&then, 11), &BOOK, &holds());
    assert_eq!(found, asks(FIRST, 2));
}

#[test]
fn every_state_can_be_left_by_an_operator_or_by_recovery() {
    for incident in EVERYWHERE.iter() {
        let open = incident.state != IncidentState::Resolved;
        let human = incident.state == IncidentState::NeedsHuman;
        let resolving = incident.state == IncidentState::Resolving;
        assert_eq!(Action::Retry.fits(incident), human);
        assert_eq!(Action::Resolve.fits(incident), open && !resolving);
        assert_eq!(Action::Hold.fits(incident), open);
    }
}
