//! When a human is called.

use serde_json::json;

use super::super::*;
use super::walk::*;
use super::{asks, ended, holds, plain};

#[test]
fn a_page_at_once_comes_before_all_else_and_once() {
    for incident in &reachable(&LOUD) {
        for view in views(incident) {
            match next(incident, &LOUD, &view) {
                NextAction::Page => assert!(incident.paged_at.is_none()),
                NextAction::Ask { remedy: UNDO, .. } => {}
                NextAction::Ask { .. } => assert!(incident.paged_at.is_some(), "{view:?}"),
                NextAction::Gone
                | NextAction::Close(_)
                | NextAction::Rest { .. }
                | NextAction::Conclude(_)
                | NextAction::Advise
                | NextAction::Escalate(_) => {}
            }
        }
    }
    for view in views(&fresh(0)) {
        let found = next(&fresh(0), &LOUD, &view);
        let heard = matches!(view.seen, Assessment::Holds(_)) && view.blocker.is_none();
        assert_eq!(found == NextAction::Page, heard, "{view:?}");
        assert!(!matches!(found, NextAction::Ask { .. }), "{view:?}");
    }
    let paged = turn(&fresh(0), &LOUD, &NextAction::Page, Luck::Plain);
    assert_eq!(next(&paged, &LOUD, &holds()), asks(FIRST, 1));
    // Its time is up, and it was never seen to last: a human looks.
    let late = later(&fresh(0), 1000);
    let found = next(&late, &LOUD, &plain(Assessment::Unknown));
    assert!(matches!(found, NextAction::Escalate(_)), "{found:?}");
}

#[test]
fn the_third_time_a_human_looks() {
    for times in 0..5 {
        let found = next(&fresh(times), &BOOK, &holds());
        let escalates = matches!(found, NextAction::Escalate(_));
        assert_eq!(escalates, times >= 2, "{times}");
        let tide = Playbook {
            comes_and_goes: true,
            ..BOOK
        };
        assert_eq!(next(&fresh(times), &tide, &holds()), asks(FIRST, 1));
    }
}

#[test]
fn what_cannot_be_taken_back_calls_a_human() {
    for why in [Ended::Failed(String::new()), Ended::Stuck(String::new())] {
        let mut incident = fresh(0);
        incident.memo = json!({ "undo": true });
        let mut asked_for = 0;
        while !ended(incident.state) {
            let resolving = incident.state == IncidentState::Resolving;
            let view = View {
                asked: resolving.then(|| Asked::Ended(why.clone())),
                ..plain(Assessment::Cleared(String::new()))
            };
            let found = next(&incident, &BOOK, &view);
            asked_for += usize::from(matches!(found, NextAction::Ask { .. }));
            incident = turn(&incident, &BOOK, &found, Luck::Plain);
        }
        assert_eq!(incident.state, IncidentState::NeedsHuman);
        let most = if matches!(why, Ended::Stuck(_)) { 1 } else { 2 };
        assert_eq!(asked_for, most);
    }
}

#[test]
fn a_deadline_calls_a_human_beside_what_is_no_more_pressing() {
    for incident in EVERYWHERE.iter() {
        let late = later(incident, 1000);
        for seen in [
            Assessment::Holds(String::new()),
            Assessment::Unknown,
            Assessment::Recovering,
        ] {
            let view = View {
                blocker: Some(Blocker::Operating(String::new(), Pressing::NoMore)),
                ..plain(seen)
            };
            if matches!(
                late.state,
                IncidentState::Triggered | IncidentState::Waiting
            ) {
                let found = next(&late, &BOOK, &view);
                assert!(matches!(found, NextAction::Escalate(_)), "{found:?}");
            }
        }
    }
}
