use chrono::TimeDelta;
use drover::model::{Attributes, Cause, Observation, ObservationId, slot_of};
use serde_json::Value;

use drover::store::operations::failover::Timelines;

use super::candidates::Votes;
use super::candidates::{Candidate, Heard};
use super::last_seen::LastSeen;
use super::wanted::is_back;
use super::*;

fn candidate(name: &str, lsn: u64, fits: bool) -> Candidate {
    Candidate {
        id: SubjectId::generate(),
        name: name.into(),
        lsn: Lsn(lsn),
        timeline: 1,
        fits,
        follows: true,
        heard: None,
    }
}

fn votes(able: Vec<Candidate>, silent: &[&str]) -> Votes {
    Votes {
        able,
        silent: silent.iter().map(|one| (*one).to_owned()).collect(),
        ..Votes::default()
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

#[test]
fn a_leader_that_a_follower_has_just_heard_from_lives() {
    let heard = |millis, at| Candidate {
        heard: Some(Heard {
            ago: TimeDelta::milliseconds(millis),
            at,
        }),
        ..candidate("a", 1, true)
    };
    let lives = |one, seen_dead| votes(vec![one], &[]).witness(seen_dead).is_some();
    assert!(lives(heard(200, at(100)), None));
    assert!(!lives(heard(4000, at(100)), None));
    assert!(!lives(candidate("a", 1, true), None));
    // It died since; or it was dead, and is back.
    assert!(!lives(heard(200, at(100)), Some(at(101))));
    assert!(lives(heard(200, at(100)), Some(at(99))));
}

#[test]
fn a_place_in_the_wal_is_read_and_written_as_postgresql_does() {
    let lsn: Lsn = "16/B374D848".parse().unwrap();
    assert_eq!(lsn, Lsn(0x16_B374_D848));
    assert_eq!(lsn.to_string(), "16/B374D848");
    assert!("16".parse::<Lsn>().is_err());
    assert!("x/1".parse::<Lsn>().is_err());
}

#[test]
fn the_one_with_most_leads_and_of_equals_one_of_the_intended_size() {
    let all = votes(vec![candidate("a", 5, true), candidate("b", 9, false)], &[]);
    assert_eq!(all.best().unwrap().name, "b");
    let all = votes(vec![candidate("a", 9, true), candidate("b", 9, false)], &[]);
    assert_eq!(all.best().unwrap().name, "a");
    let mut newer = candidate("c", 2, true);
    newer.timeline = 2;
    let all = votes(vec![candidate("a", 9, true), newer], &[]);
    assert_eq!(all.best().unwrap().name, "c", "the newest timeline first");
}

#[test]
fn of_equals_the_oldest_leads_whoever_answers_first() {
    let mut all = vec![candidate("a", 9, true), candidate("b", 9, true)];
    all.push(candidate("c", 9, true));
    let oldest = all.iter().min_by_key(|one| one.id).unwrap().id;
    for _ in 0..3 {
        all.rotate_left(1);
        assert_eq!(votes(all.clone(), &[]).best().unwrap().id, oldest);
        let mut back = all.clone();
        back.reverse();
        assert_eq!(votes(back, &[]).best().unwrap().id, oldest);
    }
}

fn last(lsn: u64, streaming: &[&Candidate]) -> LastSeen {
    LastSeen {
        lsn: Lsn(lsn),
        timeline: 1,
        streaming: streaming.iter().map(|one| slot_of(one.id)).collect(),
    }
}

#[test]
fn what_is_missing_is_counted_from_the_furthest_that_anybody_knows() {
    let all = votes(vec![candidate("a", 5, true), candidate("b", 9, true)], &[]);
    let best = all.best().unwrap();
    assert_eq!(all.behind(best, None), 0);
    assert_eq!(all.behind(best, Some(&last(20, &[]))), 11);
    assert_eq!(all.behind(best, Some(&last(3, &[]))), 0);
    assert_eq!(all.behind(&all.able[0], None), 4);
}

#[test]
fn who_streamed_was_named_by_its_leader_or_has_what_was_written_since() {
    let one = candidate("a", 9, true);
    let streamed = |one: &Candidate, last: &LastSeen| {
        let all = votes(vec![one.clone()], &[]);
        all.streamed(all.best().unwrap(), last)
    };
    assert!(
        streamed(&one, &last(8, &[])),
        "it went on after the last look"
    );
    // All that was there then: nobody knows what was written afterwards.
    assert!(!streamed(&one, &last(9, &[])));
    assert!(!streamed(&one, &last(20, &[])));
    assert!(streamed(&one, &last(9, &[&one])));
    assert!(streamed(&one, &last(20, &[&one])));
    assert!(!streamed(&one, &last(20, &[&candidate("b", 9, true)])));
    // Whom it follows by its own word goes before whatever was seen.
    let astray = Candidate {
        follows: false,
        ..one.clone()
    };
    assert!(!streamed(&astray, &last(8, &[&astray])));
    // WAL of its own is none of the leader's.
    let other = Candidate { timeline: 2, ..one };
    assert!(!streamed(&other, &last(8, &[&other])));
}

#[test]
fn who_has_more_than_one_that_streamed_lacks_no_more_than_that_one() {
    let (most, streams) = (candidate("a", 9, true), candidate("b", 7, true));
    let seen = last(9, &[&streams]);
    let all = votes(vec![streams.clone(), most.clone()], &[]);
    assert_eq!(all.best().unwrap().name, "a");
    assert!(all.streamed(all.best().unwrap(), &seen));
    let elsewhere = Candidate {
        timeline: 2,
        ..most
    };
    let all = votes(vec![streams, elsewhere], &[]);
    assert!(!all.streamed(all.best().unwrap(), &seen));
}

fn observed(seconds: i64, attributes: Attributes) -> Observation {
    Observation {
        id: ObservationId::generate(),
        created_at: at(seconds),
        worker: "w".into(),
        feelers: 1,
        attributes,
    }
}

fn well(details: Value) -> Attributes {
    Attributes {
        resource: serde_json::from_value(details).unwrap(),
        ..Attributes::available(1.0)
    }
}

#[test]
fn who_is_connected_and_silent_does_not_stream() {
    let follower = |name: &str, state: &str, silent: Value| json!({"name": name, "state": state, "silent_s": silent});
    let seen = well(json!({
        "lsn": "0/9", "timeline": 3,
        "followers": [
            follower("f_well", "streaming", json!(0.4)),
            follower("f_cut_off", "streaming", json!(31.0)),
            follower("f_from_the_future", "streaming", json!(-31.0)),
            follower("f_behind", "catchup", json!(0.4)),
            {"name": "f_untold", "state": "streaming"},
            {"state": "streaming", "silent_s": 0.1},
            7,
        ],
    }));
    let expected = LastSeen {
        lsn: Lsn(9),
        timeline: 3,
        streaming: vec!["f_well".into()],
    };
    assert_eq!(LastSeen::of(&observed(0, seen)), Some(expected));
    for other in [
        json!({}),
        json!({"lsn": "9", "timeline": 1}),
        json!({"lsn": "0/9"}),
    ] {
        assert_eq!(
            LastSeen::of(&observed(0, well(other.clone()))),
            None,
            "{other}"
        );
    }
}

#[test]
fn what_was_begun_before_and_written_down_since_brings_no_leader_back() {
    let good = |seconds| observed(seconds, well(json!({})));
    let bad = |seconds| observed(seconds, Attributes::failed(Cause::Refused, "refused"));
    assert!(!is_back(&[], at(10)));
    assert!(!is_back(&[good(11)], at(10)));
    assert!(!is_back(&[good(11), good(9)], at(10)));
    assert!(!is_back(&[bad(12), good(11)], at(10)));
    assert!(is_back(&[good(12), good(11)], at(10)));
    assert!(is_back(&[good(12), bad(11)], at(10)));
}

fn standing(votes: Votes, last: Option<LastSeen>, leads_on: u32) -> Standing {
    let timelines = Timelines {
        newest: leads_on,
        leads_on,
    };
    Standing {
        votes,
        last,
        timelines,
    }
}

#[test]
fn what_was_acknowledged_may_be_at_whoever_cannot_be_asked_has_more_or_led_before() {
    let best = candidate("a", 9, true);
    let lacks = |votes: Votes, leads_on| {
        let stand = standing(votes, None, leads_on);
        stand.may_lack_acknowledged(&best).is_some()
    };
    let all = votes(vec![best.clone()], &["b: silent"]);
    assert!(!lacks(all.clone(), 1), "one that nobody waited for");
    assert!(lacks(all.clone(), 2), "it is not on its leader's timeline");
    let unknown = Votes {
        unknown: vec!["b: silent".into()],
        ..all.clone()
    };
    assert!(lacks(unknown, 1));
    let with = |lsn| Votes {
        others: vec![candidate("b", lsn, true)],
        ..all.clone()
    };
    assert!(!lacks(with(9), 1));
    assert!(lacks(with(10), 1));
}

#[test]
fn more_than_may_be_lost_is_told_in_bytes_and_what_is_not_known_is_more() {
    let best = candidate("a", 9, true);
    let seen = last(8, &[]);
    let stand = |last| standing(votes(vec![best.clone()], &[]), last, 1);
    let refused = |last, behind| {
        let found = stand(last).may_lack_too_much(&best, behind, 100);
        found.map(|(refusal, _)| refusal)
    };
    let bytes = |bytes| Some(Refusal::Lacks { bytes });
    assert_eq!(refused(Some(seen.clone()), 100), None);
    assert_eq!(refused(Some(seen), 101), bytes(Some(101)));
    assert_eq!(refused(None, 0), bytes(None));
    assert_eq!(refused(Some(last(9, &[])), 0), bytes(None));
}

#[test]
fn no_number_is_given_that_anybody_bears() {
    let mut another = candidate("b", 9, true);
    another.timeline = 4;
    let all = Votes {
        lead: vec![(SubjectId::generate(), 6)],
        ..votes(vec![candidate("a", 9, true), another], &[])
    };
    assert_eq!(standing(all, None, 5).newest_timeline(), 6);
    assert_eq!(standing(Votes::default(), None, 5).newest_timeline(), 5);
}
