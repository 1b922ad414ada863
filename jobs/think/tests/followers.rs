//! What is wrong with a follower, row by row.

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Attributes, Cause, IncidentKind, Rules, State, SubjectId};
use serde_json::{Value, json};

use super::super::{Assessment, assess, think};
use super::found::with;
use super::{Play, at, bad, good};

/// A follower that has replayed so much, with its receiver in this status.
fn follower(status: &str, lsn: u64) -> Attributes {
    with(json!({
        "in_recovery": true, "lsn": format!("0/{lsn:X}"), "timeline": 1,
        "receiver": {"status": status, "lag_bytes": 0},
    }))
}

/// A follower that says something else as well.
fn and(seen: Attributes, change: Value) -> Attributes {
    let mut details = json!(seen);
    for (name, value) in change.as_object().unwrap() {
        details[name] = value.clone();
    }
    with(details)
}

/// A leader that has written so much, with these slots.
fn leader(lsn: u64, slots: Value) -> Attributes {
    with(json!({
        "in_recovery": false, "lsn": format!("0/{lsn:X}"), "timeline": 1,
        "replication_slots": slots,
    }))
}

/// A follower, and its leader as it was seen from the beginning on.
fn pair(leads: impl Fn(SubjectId) -> Attributes) -> Play {
    let mut play = Play::resource(State::Available);
    let seen = leads(play.id);
    play.leader = Some((SubjectId::generate(), State::Available, vec![(0.0, seen)]));
    play
}

/// One whose leader keeps its slot.
fn kept() -> Play {
    pair(|id| {
        leader(
            5000,
            json!([{"name": slot_of(id), "wal_status": "reserved"}]),
        )
    })
}

fn opens(play: &Play) -> Vec<IncidentKind> {
    let opens = think(&play.scene(), &Rules::default()).opens;
    opens.iter().map(|opening| opening.kind).collect()
}

fn seen(kind: IncidentKind, play: &Play) -> Assessment {
    assess(kind, &play.scene(), &Rules::default(), None)
}

fn holds(sight: &Assessment) -> bool {
    matches!(sight, Assessment::Holds(_))
}

fn cleared(sight: &Assessment) -> bool {
    matches!(sight, Assessment::Cleared(_))
}

#[test]
fn a_follower_that_streams_and_keeps_up_is_well() {
    let play = kept().seen(1.0, "a", follower("streaming", 5000));
    assert_eq!(opens(&play), []);
    let play = play.seen(2.0, "a", follower("streaming", 5000));
    assert_eq!(opens(&play), []);
    for kind in [
        IncidentKind::FollowerLagging,
        IncidentKind::FollowerStalled,
        IncidentKind::FollowerFailed,
        IncidentKind::SplitBrain,
    ] {
        assert!(cleared(&seen(kind, &play)), "{kind}");
    }
}

#[test]
fn one_that_takes_writes_is_a_split_brain_at_the_first_sight_of_it() {
    let kind = IncidentKind::SplitBrain;
    let play = kept().seen(1.0, "a", leader(5000, json!([])));
    assert_eq!(opens(&play), [kind]);
    let Assessment::Holds(reason) = seen(kind, &play) else {
        panic!("it holds");
    };
    assert!(reason.contains("takes them too (epoch 3)"), "{reason}");
    // What was seen before the record said that it follows speaks of another time.
    let before = kept().seen(-2.0, "a", leader(5000, json!([])));
    assert_eq!(opens(&before), []);
    assert_eq!(seen(kind, &before), Assessment::Unknown);
    // A leader takes writes, and one that does not answer says nothing of it.
    let leads = Play::resource(State::Available).seen(1.0, "a", leader(1, json!([])));
    assert_eq!(opens(&leads), []);
    assert!(cleared(&seen(kind, &leads)));
    let down = kept().seen(1.0, "a", bad(Cause::Refused));
    assert_eq!(seen(kind, &down), Assessment::Unknown);
    let silent = kept().seen(1.0, "a", good());
    assert_eq!(opens(&silent), []);
    assert_eq!(seen(kind, &silent), Assessment::Unknown);
}

#[test]
fn one_that_does_not_stream_is_stalled_after_two_looks_and_thirty_seconds() {
    let kind = IncidentKind::FollowerStalled;
    let silent = || follower("not running", 5000);
    let late = || kept().seen(1.0, "a", silent()).seen(31.0, "b", silent());
    assert_eq!(opens(&late()), [kind]);
    assert_eq!(
        opens(&kept().seen(1.0, "a", silent()).seen(30.0, "b", silent())),
        []
    );
    assert_eq!(opens(&kept().seen(40.0, "a", silent())), []);
    let between = kept()
        .seen(1.0, "a", silent())
        .seen(20.0, "a", follower("streaming", 5000))
        .seen(40.0, "a", silent());
    assert_eq!(opens(&between), []);
    assert!(holds(&seen(kind, &between)));
    // Its leader is not there: that is the leader's incident.
    let mut orphan = late();
    for state in [State::Uncertain, State::Unavailable, State::Creating] {
        if let Some((_, of, _)) = &mut orphan.leader {
            *of = state;
        }
        assert_eq!(opens(&orphan), [], "{state}");
    }
    // One that is refused streams for a moment now and then.
    let back = late().seen(32.0, "a", follower("streaming", 5000));
    assert_eq!(seen(kind, &back), Assessment::Recovering);
    assert!(holds(&seen(kind, &back.seen(33.0, "a", silent()))));
    let back = late().seen(32.0, "a", follower("streaming", 5000)).seen(
        33.0,
        "a",
        follower("streaming", 5000),
    );
    assert!(cleared(&seen(kind, &back)));
    // A role that may not see the receiver says nothing.
    let blind = || and(silent(), json!({"receiver": {"status": null}}));
    let blind = kept().seen(1.0, "a", blind()).seen(40.0, "a", blind());
    assert_eq!(opens(&blind), []);
    assert_eq!(seen(kind, &blind), Assessment::Unknown);
}

#[test]
fn one_whose_slot_is_lost_has_failed_at_once() {
    let kind = IncidentKind::FollowerFailed;
    let lost = || pair(|id| leader(9000, json!([{"name": slot_of(id), "wal_status": "lost"}])));
    let silent = || follower("not running", 5000);
    let failed = lost().seen(1.0, "a", silent());
    assert_eq!(opens(&failed), [kind]);
    // Which is more than to be stalled.
    let later = failed.seen(60.0, "a", silent());
    assert_eq!(opens(&later), [kind]);
    assert!(cleared(&seen(IncidentKind::FollowerStalled, &later)));
    assert!(holds(&seen(kind, &later)));
    // What streams does not need it any more.
    assert_eq!(
        opens(&lost().seen(1.0, "a", follower("streaming", 9000))),
        []
    );
}

#[test]
fn all_else_that_makes_it_fail_has_to_last() {
    let kind = IncidentKind::FollowerFailed;
    let silent = || follower("not running", 5000);
    let twice = |play: fn() -> Play, what: fn() -> Attributes| {
        let early = play().seen(1.0, "a", what()).seen(30.0, "a", what());
        assert_eq!(opens(&early), []);
        opens(&play().seen(1.0, "a", what()).seen(31.0, "a", what()))
    };
    // No slot of its own, though others have theirs.
    let none = || pair(|_| leader(5000, json!([{"name": "f_other", "wal_status": "reserved"}])));
    assert_eq!(twice(none, || follower("not running", 5000)), [kind]);
    // Another timeline.
    let other = || and(follower("waiting", 5000), json!({"timeline": 2}));
    assert_eq!(twice(kept, other), [kind]);
    // More WAL than its leader has; seen before the leader was.
    let ahead = kept()
        .seen(-0.5, "a", and(silent(), json!({"lsn": "0/9000"})))
        .seen(31.0, "a", and(silent(), json!({"lsn": "0/9000"})));
    let mut scene = ahead.scene();
    scene.subject.state_since = at(-60.0);
    let opened = think(&scene, &Rules::default()).opens;
    assert_eq!(opened.len(), 1);
    assert!(
        opened[0].reason.contains("WAL that"),
        "{}",
        opened[0].reason
    );
    // Seen after the leader was, it may have been written meanwhile.
    let with_it = || and(follower("waiting", 0x9000), json!({}));
    assert_eq!(twice(kept, with_it), [IncidentKind::FollowerStalled]);
}

#[test]
fn one_that_stays_too_far_behind_is_lagging() {
    let kind = IncidentKind::FollowerLagging;
    let rules = |seconds| {
        let mut rules = Rules::default();
        rules.limits.lag_for = Duration::from_secs(seconds);
        rules
    };
    // The leader writes 100 bytes a second.
    let play = |replayed: &[(u64, u64)]| {
        let mut play = kept();
        let wrote = (0..400).map(|s| (s as f64, leader(5000 + s * 100, json!([]))));
        play.leader.as_mut().unwrap().2 = wrote.collect();
        for (second, lsn) in replayed {
            play = play.seen(*second as f64, "a", follower("streaming", *lsn));
        }
        play
    };
    let opens = |play: &Play, seconds| {
        let opens = think(&play.scene(), &rules(seconds)).opens;
        opens.iter().map(|o| o.kind).collect::<Vec<_>>()
    };
    let stopped: Vec<(u64, u64)> = (0..=40).map(|n| (n, 5000)).collect();
    // More than 1000 bytes behind from second 11 on.
    assert_eq!(opens(&play(&stopped), 29), [kind]);
    assert_eq!(opens(&play(&stopped), 30), []);
    assert_eq!(opens(&play(&stopped[..=10]), 1), []);
    // One that gains is left alone, one that keeps its distance is not.
    let gains: Vec<(u64, u64)> = (20..=40).map(|n| (n, 5000 + (n - 20) * 101)).collect();
    assert_eq!(opens(&play(&gains), 20), []);
    let keeps: Vec<(u64, u64)> = (20..=40).map(|n| (n, 5000 + (n - 20) * 100)).collect();
    assert_eq!(opens(&play(&keeps), 20), [kind]);
    // It was close once meanwhile.
    let mut close = stopped.clone();
    close[25] = (25, 7500);
    assert_eq!(opens(&play(&close), 20), []);
    // What its receiver knows of counts too.
    let told = and(
        follower("streaming", 5000),
        json!({"receiver": {
        "status": "streaming", "lag_bytes": 4000}}),
    );
    let told = kept().seen(1.0, "a", told.clone()).seen(31.0, "a", told);
    assert_eq!(opens(&told, 30), [kind]);
    // It is over at half of the limit.
    assert_eq!(seen(kind, &play(&[(10, 5499)])), Assessment::Recovering);
    assert!(holds(&seen(kind, &play(&[(20, 5000)]))));
    assert!(holds(&seen(kind, &play(&[(20, 5000), (21, 5100)]))));
    assert_eq!(
        seen(kind, &play(&[(20, 5000), (21, 5101)])),
        Assessment::Recovering
    );
    assert!(cleared(&seen(kind, &play(&[(10, 5500)]))));
}
