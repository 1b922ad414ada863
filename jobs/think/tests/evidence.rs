//! How much has to be seen, row by row.

use std::time::Duration;

use drover::model::{Cause, IncidentKind, State};

use super::{BOTH, Play, bad, down, good, play, silent, up, witnessed};

#[test]
fn one_witness_alone_needs_three_in_a_row_over_five_seconds_from_two_workers() {
    for kind in BOTH {
        let uncertain = || play(kind, State::Uncertain);
        let refused = || bad(Cause::Refused);
        let two = uncertain()
            .seen(0.0, "a", refused())
            .seen(6.0, "b", refused());
        assert_eq!(two.turns(), None, "{kind}: two are too few");
        let quick = uncertain()
            .seen(0.0, "a", refused())
            .seen(2.0, "b", refused())
            .seen(4.0, "a", refused());
        assert_eq!(quick.turns(), None, "{kind}: four seconds are too short");
        let three = uncertain()
            .seen(0.0, "a", refused())
            .seen(2.5, "b", refused())
            .seen(5.0, "a", refused());
        assert_eq!(three.turns(), Some(State::Unavailable), "{kind}");
        let broken = uncertain()
            .seen(0.0, "a", refused())
            .seen(2.5, "b", good())
            .seen(5.0, "a", refused())
            .seen(7.5, "b", refused());
        assert_eq!(broken.turns(), None, "{kind}: not in a row");
    }
}

#[test]
fn one_worker_suffices_if_it_is_the_only_one_or_after_a_while() {
    let by_one = |feelers, last| {
        Play::resource(State::Uncertain)
            .feelers(feelers)
            .seen(0.0, "a", bad(Cause::Refused))
            .seen(2.5, "a", bad(Cause::Refused))
            .seen(last, "a", bad(Cause::Refused))
            .turns()
    };
    assert_eq!(by_one(1, 5.0), Some(State::Unavailable));
    assert_eq!(by_one(2, 5.0), None);
    assert_eq!(by_one(2, 15.0), Some(State::Unavailable));
}

#[test]
fn two_witnesses_that_agree_need_no_waiting() {
    for kind in BOTH {
        let play = play(kind, State::Uncertain).seen(0.1, "a", witnessed(Cause::Refused, down()));
        let verdict = play.think().change.expect("a change");
        assert_eq!(verdict.to, State::Unavailable);
        assert!(
            verdict.reason.contains("cluster is down"),
            "{}",
            verdict.reason
        );
    }
}

#[test]
fn a_first_failure_that_a_witness_confirms_is_looked_at_again_at_once() {
    for kind in BOTH {
        let after = |what| {
            play(kind, State::Available)
                .seen(0.0, "a", what)
                .think()
                .after
        };
        let agreed = after(witnessed(Cause::Refused, down()));
        assert_eq!(agreed, Duration::from_millis(100), "{kind}");
        for other in [
            bad(Cause::Refused),
            witnessed(Cause::Refused, up()),
            witnessed(Cause::Refused, silent()),
            witnessed(Cause::StartingUp, down()),
        ] {
            assert_eq!(after(other), Duration::from_secs(2), "{kind}");
        }
    }
    let covered = Play::resource(State::Available)
        .host(State::Unavailable)
        .seen(0.0, "a", witnessed(Cause::Refused, down()));
    assert_eq!(covered.think().after, Duration::from_secs(2));
}

#[test]
fn what_stays_unavailable_is_named_at_every_thought() {
    let opens = |play: Play| -> Vec<IncidentKind> {
        play.think().opens.into_iter().map(|o| o.kind).collect()
    };
    let resource = |cause| Play::resource(State::Unavailable).seen(0.0, "a", bad(cause));
    assert_eq!(
        opens(resource(Cause::Refused)),
        [IncidentKind::ResourceDown]
    );
    assert_eq!(
        opens(resource(Cause::Authentication)),
        [IncidentKind::CredentialsRefused]
    );
    assert_eq!(
        opens(resource(Cause::Refused).host(State::Unavailable)),
        [],
        "the server's incident stands for it"
    );
    let server = |cause| Play::server(State::Unavailable).seen(0.0, "a", bad(cause));
    assert_eq!(opens(server(Cause::Timeout)), [IncidentKind::ServerDown]);
    assert_eq!(
        opens(server(Cause::HostKeyChanged)),
        [IncidentKind::HostKeyChanged]
    );
    assert_eq!(opens(resource(Cause::Refused).seen(1.0, "a", good())), []);
}

#[test]
fn two_witnesses_that_disagree_are_given_time() {
    for kind in BOTH {
        let until = |last: f64| {
            let mut play = play(kind, State::Uncertain);
            let mut second = 0.0;
            while second <= last {
                play = play.seen(second, "a", witnessed(Cause::Timeout, up()));
                second += 2.0;
            }
            play.turns()
        };
        assert_eq!(until(28.0), None, "{kind}");
        assert_eq!(until(30.0), Some(State::Unavailable), "{kind}");
    }
}

#[test]
fn a_resource_whose_witness_is_silent_asks_for_its_server_and_waits() {
    let until = |last: f64| {
        let mut play = Play::resource(State::Uncertain);
        let mut second = 0.0;
        while second <= last {
            play = play.seen(second, "a", witnessed(Cause::Refused, silent()));
            second += 2.0;
        }
        play.think()
    };
    assert!(until(4.0).wake.is_some());
    assert_eq!(until(58.0).change, None);
    assert_eq!(until(60.0).change.map(|v| v.to), Some(State::Unavailable));
    let first = Play::resource(State::Available)
        .seen(0.0, "a", witnessed(Cause::Refused, silent()))
        .think();
    assert_eq!(first.change.map(|v| v.to), Some(State::Uncertain));
    assert!(
        first.wake.is_some(),
        "the server is asked at the first doubt"
    );
}

#[test]
fn a_servers_incident_stands_for_its_resources() {
    for host in [State::Uncertain, State::Unavailable] {
        for what in [bad(Cause::Refused), witnessed(Cause::Refused, down())] {
            let mut play = Play::resource(State::Uncertain).host(host);
            for second in 0..600 {
                play = play.seen(f64::from(second), "a", what.clone());
            }
            let decision = play.think();
            assert_eq!(decision.change, None, "{host}");
            assert_eq!(decision.after, Duration::from_secs(5));
        }
        let back = Play::resource(State::Uncertain)
            .host(host)
            .seen(1.0, "a", good());
        assert_eq!(
            back.turns(),
            Some(State::Available),
            "its own word still counts"
        );
    }
}

#[test]
fn what_was_seen_while_the_server_was_down_is_not_held_against_a_resource() {
    let mut play = Play::resource(State::Uncertain);
    play.host_since = 400.0;
    for second in (0..400).step_by(5) {
        play = play.seen(f64::from(second), "a", bad(Cause::Timeout));
    }
    let back = play.seen(401.0, "a", bad(Cause::StartingUp));
    assert_eq!(back.turns(), None, "it has had no time to start");
}

#[test]
fn one_failure_is_one_failure_however_long_nobody_looked() {
    for kind in BOTH {
        let first = play(kind, State::Uncertain).seen(3000.0, "a", bad(Cause::Refused));
        assert_eq!(first.turns(), None, "{kind}");
    }
}

#[test]
fn what_answers_is_not_down_until_its_own_patience_ends() {
    for (cause, opens) in [
        (Cause::StartingUp, IncidentKind::ResourceDown),
        (Cause::Recovery, IncidentKind::ResourceDown),
        (
            Cause::TooManyConnections,
            IncidentKind::ConnectionsExhausted,
        ),
        (Cause::Authentication, IncidentKind::CredentialsRefused),
    ] {
        let until = |last: u32| {
            let mut play = Play::resource(State::Uncertain);
            for second in (0..=last).step_by(2) {
                play = play.seen(f64::from(second), "a", bad(cause));
            }
            play.think().change
        };
        assert_eq!(until(298), None, "{cause}");
        let verdict = until(300).expect("a change");
        assert_eq!(
            (verdict.to, verdict.opens),
            (State::Unavailable, Some(opens)),
            "{cause}"
        );
    }
}

#[test]
fn refused_twice_for_want_of_connections_calls_for_help_while_still_in_doubt() {
    let full = || bad(Cause::TooManyConnections);
    let uncertain = || Play::resource(State::Uncertain).seen(0.0, "a", full());
    let opens = |play: Play| -> Vec<IncidentKind> {
        let decision = play.think();
        assert_eq!(decision.change, None);
        decision.opens.into_iter().map(|o| o.kind).collect()
    };
    let exhausted = [IncidentKind::ConnectionsExhausted];
    assert_eq!(opens(uncertain()), [], "one moment's peak");
    assert_eq!(opens(uncertain().seen(2.0, "a", full())), exhausted);
    let in_turns = uncertain()
        .seen(2.0, "a", bad(Cause::Refused))
        .seen(4.0, "a", full());
    assert_eq!(opens(in_turns), []);
    let peaks = uncertain().seen(2.0, "a", good()).seen(4.0, "a", full());
    assert_eq!(opens(peaks), []);
    for host in [State::Uncertain, State::Unavailable] {
        let covered = uncertain().host(host).seen(2.0, "a", full());
        assert_eq!(opens(covered), [], "the server's trouble stands for it");
    }
    let mut before = uncertain().seen(2.0, "a", full());
    before.host_since = 1.0;
    assert_eq!(opens(before), [], "one of them speaks of the server");
    let mut long = uncertain();
    for second in (2..=300).step_by(2) {
        long = long.seen(f64::from(second), "a", full());
    }
    let kinds: Vec<_> = long.think().opens.into_iter().map(|o| o.kind).collect();
    assert_eq!(kinds, exhausted, "named once, also when it turns");
}

#[test]
fn kinds_of_failure_that_take_turns_do_not_wait_for_ever() {
    let mut play = Play::resource(State::Uncertain);
    for second in (0..=300).step_by(2) {
        let what = match second % 3 {
            0 => witnessed(Cause::Timeout, up()),
            1 => witnessed(Cause::Timeout, silent()),
            _ => bad(Cause::StartingUp),
        };
        play = play.seen(f64::from(second), "a", what);
    }
    assert_eq!(play.turns(), Some(State::Unavailable));
}
