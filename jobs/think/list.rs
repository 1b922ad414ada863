//! Whether the followers that a leader's commits may wait for are those that stream. One that
//! does not has to be asked all the same before another leads, and nobody leads where it cannot
//! be. The table is in docs/deciding.md.

use chrono::TimeDelta;
use drover::model::{Follower, Limits, Observation};

use drover::store::scenes::MEMORY;

use super::Scene;

/// Who streams speaks this often, unless somebody has set `wal_receiver_status_interval` higher.
const SPEAKS_WITHIN_S: f64 = 12.0;

/// Why another list is needed, once that has lasted.
pub(super) fn outdated(scene: &Scene, newest: &Observation, limits: &Limits) -> Option<String> {
    let listed = listed(newest)?;
    let at = scene.recent.iter().position(|seen| seen.id == newest.id)?;
    let seen = &scene.recent[at..];
    let streams = |n: usize, name: &str| streams(&seen[n], seen.get(n + 1), name);
    if scene.leader.is_some() {
        return None;
    }
    let lasts = |is: &dyn Fn(usize) -> bool| {
        let run = (0..seen.len()).take_while(|n| seen[*n].attributes.service_available && is(*n));
        let run = run.count();
        let first = seen.get(run.checked_sub(1)?)?;
        let lasted = newest.created_at - first.created_at;
        // Where all that is remembered is so, it is so for long enough.
        let long = lasted.to_std().unwrap_or_default() >= limits.stalled_for;
        (run >= 2 && (long || run as i64 == MEMORY)).then_some(lasted)
    };
    let is_listed =
        |n: usize, name: &str| self::listed(&seen[n]).is_some_and(|listed| listed.contains(&name));
    // Where none of them streams, no commit is acknowledged: that is told otherwise.
    let some = listed.iter().any(|name| streams(0, name));
    for name in listed.iter().filter(|_| some) {
        if let Some(lasted) = lasts(&|n| is_listed(n, name) && !streams(n, name)) {
            let seconds = lasted.num_seconds();
            return Some(format!(
                "its commits may wait for {name}, which has not streamed for {seconds} s"
            ));
        }
    }
    let others = newest.attributes.resource.followers.as_deref()?;
    let others = others.iter().filter_map(|one| one.name.as_deref());
    for name in others.filter(|name| is_ours(name) && !listed.contains(name)) {
        if lasts(&|n| !is_listed(n, name) && streams(n, name)).is_some() {
            return Some(format!(
                "{name} streams, and its commits do not wait for it"
            ));
        }
    }
    None
}

fn is_ours(name: &str) -> bool {
    name.starts_with("f_")
}

/// The followers in a leader's list; `None`: its commits wait for none of drover's.
fn listed(seen: &Observation) -> Option<Vec<&str>> {
    let names = seen
        .attributes
        .resource
        .synchronous_standby_names
        .as_deref()?;
    let quoted = names.split('"').skip(1).step_by(2);
    let ours: Vec<&str> = quoted.filter(|name| is_ours(name)).collect();
    (!ours.is_empty()).then_some(ours)
}

/// Whether it streams by its leader's word. That names one who is cut off, or hangs, for a minute
/// more, with the time of its last word by its own clock, which may be wrong: what counts then is
/// whether there was another one since the observation before.
fn streams(seen: &Observation, before: Option<&Observation>, name: &str) -> bool {
    let Some(one) = follower(seen, name) else {
        return false;
    };
    if one.state.as_deref() != Some("streaming") {
        return false;
    }
    let Some(silent) = one.silent_s else {
        return true;
    };
    let spoke = |seen: &Observation, silent: f64| {
        seen.created_at - TimeDelta::milliseconds((silent * 1000.0) as i64)
    };
    let earlier = before.and_then(|before| {
        let silent = follower(before, name)?.silent_s?;
        Some(spoke(before, silent))
    });
    let again = earlier
        .is_some_and(|earlier| (spoke(seen, silent) - earlier).abs() > TimeDelta::seconds(1));
    silent.abs() <= SPEAKS_WITHIN_S || again
}

fn follower<'a>(seen: &'a Observation, name: &str) -> Option<&'a Follower> {
    let all = seen.attributes.resource.followers.as_deref()?;
    all.iter().find(|one| one.name.as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use drover::model::{Attributes, Kind, ObservationId, Origin, State, Subject, SubjectId};
    use serde_json::{Value, json};

    use super::*;

    fn seen(second: i64, names: &str, followers: Value) -> Observation {
        let figures = json!({"synchronous_standby_names": names, "followers": followers});
        Observation {
            id: ObservationId::generate(),
            created_at: at(second),
            worker: "w".into(),
            feelers: 1,
            attributes: Attributes {
                resource: serde_json::from_value(figures).unwrap(),
                ..Attributes::available(1.0)
            },
        }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn one(name: &str, silent: f64) -> Value {
        json!({"name": name, "state": "streaming", "silent_s": silent})
    }

    /// What is said of these, oldest first.
    fn said(mut all: Vec<Observation>) -> Option<String> {
        all.reverse();
        let newest = all[0].clone();
        let scene = Scene {
            subject: Subject {
                id: SubjectId::generate(),
                kind: Kind::Resource,
                name: "orders".into(),
                state: State::Available,
                state_since: at(0),
                origin: Origin::Created,
                tier: "standard".into(),
                created_at: at(0),
            },
            server: None,
            recent: all,
            leader: None,
            positions: vec![],
            words: vec![],
            now: newest.created_at,
        };
        outdated(&scene, &newest, &Limits::default())
    }

    const BOTH: &str = r#"ANY 1 ("f_a", "f_b")"#;

    #[test]
    fn one_that_has_not_streamed_for_half_a_minute_has_to_go_while_another_streams() {
        let alone = |second| seen(second, BOTH, json!([one("f_a", 0.4)]));
        let both = |second| seen(second, BOTH, json!([one("f_a", 0.4), one("f_b", 0.4)]));
        assert_eq!(said(vec![both(0), alone(1), alone(30)]), None, "29 s");
        let told = said(vec![both(0), alone(1), alone(31)]).unwrap();
        assert!(
            told.contains("f_b, which has not streamed for 30 s"),
            "{told}"
        );
        assert_eq!(
            said(vec![alone(0), both(15), alone(31)]),
            None,
            "it came by"
        );
        assert_eq!(said(vec![alone(31)]), None, "once is no more than once");
        let none = |second| seen(second, BOTH, json!([]));
        assert_eq!(
            said(vec![none(0), none(40)]),
            None,
            "no commit is acknowledged"
        );
        let nobodys = |second| seen(second, "other", json!([one("f_a", 0.4)]));
        assert_eq!(
            said(vec![nobodys(0), nobodys(40)]),
            None,
            "a list of its owner's"
        );
        let failed = Observation {
            attributes: Attributes::failed(drover::model::Cause::Timeout, "silent"),
            ..alone(20)
        };
        assert_eq!(
            said(vec![alone(0), failed, alone(31)]),
            None,
            "not known for as long"
        );
    }

    #[test]
    fn one_that_is_connected_and_says_nothing_does_not_stream_whatever_its_clock_says() {
        let hangs =
            |second, silent| seen(second, BOTH, json!([one("f_a", 0.4), one("f_b", silent)]));
        assert!(said(vec![hangs(0, 20.0), hangs(20, 40.0), hangs(40, 60.0)]).is_some());
        // An hour off, and speaking all the time.
        let speaks = |second| hangs(second, -3600.2);
        assert_eq!(said(vec![speaks(0), speaks(20), speaks(40)]), None);
        assert!(
            said(vec![
                hangs(0, -3600.0),
                hangs(20, -3580.0),
                hangs(40, -3560.0)
            ])
            .is_some()
        );
    }

    #[test]
    fn one_that_streams_again_is_waited_for_again() {
        let one_of = |second| {
            let followers = json!([one("f_a", 0.4), one("f_b", 0.1), one("theirs", 0.1)]);
            seen(second, r#"ANY 1 ("f_a")"#, followers)
        };
        assert_eq!(said(vec![one_of(0), one_of(29)]), None);
        let told = said(vec![one_of(0), one_of(30)]).unwrap();
        assert!(told.starts_with("f_b streams"), "{told}");
        // All the more where commits wait for nobody who is there.
        let nobody = |second| seen(second, r#"ANY 1 ("f_nobody")"#, json!([one("f_b", 0.1)]));
        let told = said(vec![nobody(0), nobody(30)]).unwrap();
        assert!(told.starts_with("f_b streams"), "{told}");
    }
}
