//! When a follower is to take the lead.

use super::super::*;
use super::walk::*;
use super::{asks, begun, holds};

fn due() -> View {
    View {
        fails_over: true,
        ..holds()
    }
}

#[test]
fn a_lead_is_taken_over_at_once_when_it_is_due_and_never_because_it_is_its_turn() {
    for incident in EVERYWHERE.iter() {
        for view in views(incident) {
            let found = next(incident, &BOOK, &view);
            let asked_for = matches!(found, NextAction::Ask { remedy: LEADS, .. });
            let goes_on = match (incident.state, &view.asked) {
                (IncidentState::Triggered | IncidentState::Waiting, _) => true,
                (IncidentState::Resolving, Some(Asked::AtWork(AtWork::MayEnd))) => true,
                (IncidentState::Resolving, Some(Asked::AtWork(AtWork::HalfDone))) => {
                    !may_finish(incident)
                }
                (
                    IncidentState::Resolving | IncidentState::NeedsHuman | IncidentState::Resolved,
                    _,
                ) => false,
            };
            let seen = matches!(view.seen, Assessment::Holds(_)) && view.mode == Mode::Act;
            let tried = incident.remedy.as_deref() == Some(LEADS);
            let expected = view.fails_over && seen && goes_on && !tried;
            if view.blocker.is_none() {
                assert_eq!(asked_for, expected, "{:?} {view:?}", place(incident));
            } else {
                assert!(!asked_for || expected, "{:?} {view:?}", place(incident));
            }
        }
    }
    // Nor where it is the first of all.
    assert_eq!(next(&fresh(0), &IN_FRONT, &holds()), asks(FIRST, 1));
    assert_eq!(next(&fresh(0), &IN_FRONT, &due()), asks(LEADS, 1));
}

#[test]
fn the_brake_keeps_nobody_from_the_lead_of_one_that_is_proved_dead() {
    let blind = Some(Blocker::Blind(drover::model::IncidentId::generate()));
    let view = |proved, fails_over| View {
        blocker: blind.clone(),
        proved,
        fails_over,
        ..holds()
    };
    assert_eq!(next(&fresh(0), &BOOK, &view(true, true)), asks(LEADS, 1));
    for view in [view(false, true), view(true, false)] {
        let found = next(&fresh(0), &BOOK, &view);
        assert!(matches!(found, NextAction::Rest { .. }), "{found:?}");
    }
    // Somebody's hand is more than the brake.
    let held = View {
        blocker: Some(Blocker::Held),
        ..view(true, true)
    };
    let found = next(&fresh(0), &BOOK, &held);
    assert!(matches!(found, NextAction::Rest { .. }), "{found:?}");
}

#[test]
fn a_lead_that_is_due_goes_first_once_and_only_where_drover_may_act() {
    // Though a human would be called, and though another remedy is at work or settles.
    for mut incident in [fresh(0), fresh(5), later(&fresh(0), 1000)] {
        assert_eq!(next(&incident, &BOOK, &due()), asks(LEADS, 1));
        begin(&mut incident, FIRST, 1);
        let beside = |at_work| View {
            asked: Some(Asked::AtWork(at_work)),
            ..due()
        };
        let found = next(&incident, &BOOK, &beside(AtWork::MayEnd));
        assert_eq!(found, asks(LEADS, 1));
        let found = next(&incident, &BOOK, &beside(AtWork::OnItsOwn));
        assert!(matches!(found, NextAction::Rest { .. }), "{found:?}");
        let in_time = later(&begun(FIRST, 1), 200);
        assert_eq!(
            next(&in_time, &BOOK, &beside(AtWork::HalfDone)),
            rest(LOOK_SOON)
        );
        incident.state = IncidentState::Waiting;
        incident.wait_until = Some(at(10));
        assert_eq!(next(&incident, &BOOK, &due()), asks(LEADS, 1));
        // It was tried: the playbook goes on as without it.
        incident.remedy = Some(LEADS.to_owned());
        let found = next(&incident, &BOOK, &due());
        assert_eq!(found, next(&incident, &BOOK, &holds()));
    }
    for mode in [Mode::Advise, Mode::Hold] {
        let found = next(&fresh(0), &BOOK, &View { mode, ..due() });
        assert!(!matches!(found, NextAction::Ask { .. }), "{found:?}");
    }
    let stale = View {
        seen: Assessment::Unknown,
        ..due()
    };
    assert_ne!(next(&fresh(0), &BOOK, &stale), asks(LEADS, 1));
}

#[test]
fn what_is_at_work_is_not_asked_for_again() {
    for remedy in [FIRST, LEADS] {
        for at_work in [AtWork::MayEnd, AtWork::HalfDone, AtWork::OnItsOwn] {
            for by in [0, 200, 1000] {
                let incident = later(&begun(remedy, 1), by);
                let view = View {
                    asked: Some(Asked::AtWork(at_work)),
                    ..due()
                };
                let found = next(&incident, &BOOK, &view);
                assert_ne!(found, asks(remedy, 2), "{at_work:?} {by}");
            }
        }
    }
}
