//! What guards others comes before a human is called, whatever calls them.

use drover::model::IncidentKind;

use super::super::*;
use super::walk::*;
use super::{asks, hears, holds, plain};
use crate::resolve::incidents::playbook;

/// The guard has been asked for, and has ended like this.
fn guarded(incident: &Incident, ended: Ended) -> Incident {
    let found = next(incident, &GUARDED, &holds());
    assert_eq!(found, asks(GUARD, 1));
    let asked = turn(incident, &GUARDED, &found, Luck::Plain);
    let found = next(&asked, &GUARDED, &hears(Asked::Ended(ended)));
    turn(&asked, &GUARDED, &found, Luck::Plain)
}

#[test]
fn the_third_time_it_guards_and_then_a_human_looks() {
    for ended in ends() {
        let incident = guarded(&fresh(2), ended);
        let found = next(&incident, &GUARDED, &holds());
        assert!(matches!(found, NextAction::Escalate(_)), "{found:?}");
    }
    // Not where drover may do nothing, nor where nobody knows whether it is needed.
    let advises = View {
        mode: Mode::Advise,
        ..holds()
    };
    for view in [advises, plain(Assessment::Unknown)] {
        let found = next(&fresh(2), &GUARDED, &view);
        assert!(matches!(found, NextAction::Escalate(_)), "{found:?}");
    }
}

#[test]
fn whatever_calls_a_human_it_guards_first() {
    let urgent = View {
        urgent: Some(String::new()),
        ..holds()
    };
    assert_eq!(next(&fresh(0), &GUARDED, &urgent), asks(GUARD, 1));
    let late = later(&fresh(0), 1000);
    let late = guarded(&late, Ended::Done(at(0)));
    let found = next(&later(&late, 11), &GUARDED, &holds());
    assert!(matches!(found, NextAction::Escalate(_)), "{found:?}");
    // Behind the last remedy, and the list does not begin anew.
    let mut tried = fresh(0);
    begin(&mut tried, SECOND, 1);
    conclude(&mut tried, None, &Ended::Done(at(0)), at(0));
    let tried = guarded(&later(&tried, 11), Ended::Done(at(0)));
    let found = next(&later(&tried, 11), &GUARDED, &holds());
    assert!(matches!(found, NextAction::Escalate(_)), "{found:?}");
}

#[test]
fn while_a_human_is_needed_it_guards_once_and_when_it_gets_worse() {
    let mut incident = fresh(0);
    incident.state = IncidentState::NeedsHuman;
    incident.remedy = Some(GUARD.to_owned());
    let rests = |incident: &Incident, view: &View| {
        let found = next(incident, &GUARDED, view);
        matches!(found, NextAction::Rest { .. })
    };
    assert!(rests(&incident, &holds()));
    let worse = View {
        worsens: true,
        ..holds()
    };
    assert_eq!(next(&incident, &GUARDED, &worse), asks(GUARD, 1));
    for view in [
        View {
            mode: Mode::Advise,
            ..worse.clone()
        },
        View {
            blocker: Some(Blocker::Held),
            ..worse
        },
    ] {
        assert!(rests(&incident, &view), "{view:?}");
    }
    // Whoever was called while something was at work has not seen it tried.
    incident.remedy = Some(SECOND.to_owned());
    assert_eq!(next(&incident, &GUARDED, &holds()), asks(GUARD, 1));
}

#[test]
fn a_full_disk_and_a_second_leader_are_guarded() {
    let guards = |kind| playbook(kind).guard.map(|guard| guard.name);
    for kind in IncidentKind::ALL.iter().copied() {
        let guard = [
            (IncidentKind::DiskCritical, "read_only_at_last"),
            (IncidentKind::SplitBrain, "fence_at_last"),
        ];
        let guard = guard.iter().find(|(of, _)| *of == kind);
        assert_eq!(guards(kind), guard.map(|(_, name)| *name), "{kind}");
    }
}
