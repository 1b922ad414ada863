//! What must hold of conditions and sights whatever was seen.

use std::time::Duration;

use drover::model::{Attributes, IncidentKind, Kind, Rules, State, SubjectId};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{Assessment, assess, think};
use super::found::{FAILED, GIB, with};
use super::{at, play};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        (0.0..1.5_f64).prop_map(|n| json!(n)),
        prop_oneof![
            Just("ok"),
            Just("stuck"),
            Just("read_only"),
            Just("no_space"),
            Just("denied"),
            Just("failed"),
            Just("on"),
            Just("instance-stop"),
            Just("off"),
            Just("/data"),
            Just(FAILED),
            Just("streaming"),
            Just("0/5000"),
        ]
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let names = proptest::sample::select(
        &[
            "volumes",
            "data",
            "mount",
            "used_ratio",
            "available_bytes",
            "writable",
            "fsync",
            "fsync_ms",
            "connections",
            "used",
            "allowed",
            "xid_age",
            "archiver",
            "mode",
            "ready",
            "last_archived_at",
            "last_failed_at",
            "cloud",
            "events",
            "code",
            "not_before",
            "in_recovery",
            "lsn",
            "receiver",
            "status",
            "lag_bytes",
            "timeline",
            "replication_slots",
        ][..],
    );
    leaf.prop_recursive(3, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::vec((names.clone(), inner), 0..8).prop_map(|entries| {
                let named = entries.into_iter().map(|(n, v)| (n.to_owned(), v));
                Value::Object(named.collect())
            }),
        ]
    })
}

/// How a leader or a follower stands.
fn any_standing() -> impl Strategy<Value = Map<String, Value>> {
    let figures = (
        any::<bool>(),
        any::<bool>(),
        0..9000_u64,
        0..4000_u64,
        1..3_u64,
    );
    figures.prop_map(|(follows, streams, lsn, lag, timeline)| {
        let status = if streams { "streaming" } else { "not running" };
        let Value::Object(mut standing) = json!({
            "in_recovery": follows, "lsn": format!("0/{lsn:X}"), "timeline": timeline,
            "replication_slots": [],
        }) else {
            unreachable!("an object");
        };
        if follows {
            standing.insert(
                "receiver".into(),
                json!({"status": status, "lag_bytes": lag}),
            );
        }
        standing
    })
}

/// Details of the right shape with any figures, or of any shape at all.
fn any_details() -> impl Strategy<Value = Map<String, Value>> {
    let member = |names: &'static [&'static str]| {
        proptest::collection::vec((proptest::sample::select(names), any_json()), 0..6).prop_map(
            |entries| {
                let named = entries.into_iter().map(|(n, v)| (n.to_owned(), v));
                named.collect::<Map<String, Value>>()
            },
        )
    };
    let figures = (
        0.0..1.2_f64,
        0..3 * GIB,
        any::<bool>(),
        0.0..9000.0_f64,
        0..120_u64,
        0..2_100_000_000_u64,
        0..200_u64,
        any::<bool>(),
        any_standing(),
    );
    let shaped = figures.prop_map(
        |(ratio, free, writable, ms, used, age, ready, failing, own)| {
            let failed = if failing { json!(FAILED) } else { Value::Null };
            let Value::Object(details) = json!({
                "volumes": [{"mount": "/data", "data": true, "used_ratio": ratio,
                    "available_bytes": free, "writable": writable, "fsync": "ok", "fsync_ms": ms}],
                "connections": {"used": used, "allowed": 100}, "xid_age": age, "mxid_age": age,
                "archiver": {"mode": "on", "ready": ready, "last_failed_at": failed,
                    "last_archived_at": "2026-01-01T00:00:00+00:00"},
            }) else {
                unreachable!("an object");
            };
            details.into_iter().chain(own).collect()
        },
    );
    prop_oneof![
        shaped,
        member(&[
            "volumes",
            "connections",
            "xid_age",
            "mxid_age",
            "archiver",
            "in_recovery",
            "lsn",
            "receiver",
            "timeline",
            "replication_slots",
        ]),
    ]
}

fn any_seen() -> impl Strategy<Value = Attributes> {
    prop_oneof![
        2 => any_details().prop_map(|details| with(Value::Object(details))),
        1 => super::history::any_attributes(),
    ]
}

proptest! {
    #[test]
    fn whatever_was_seen_nothing_is_opened_and_cleared_at_once(
        history in proptest::collection::vec(any_seen(), 0..4),
        of in proptest::sample::select(Kind::ALL),
        state in proptest::sample::select(State::ALL),
        host in proptest::sample::select(State::ALL),
        acted in proptest::option::of(0.0..5.0_f64),
        leads in proptest::option::of(proptest::collection::vec(any_seen(), 0..3)),
    ) {
        let mut play = play(of, state).host(host);
        for (second, seen) in history.into_iter().enumerate() {
            play = play.seen(second as f64, "a", seen);
        }
        if let Some(leads) = leads {
            let seen = leads.into_iter().enumerate().map(|(n, seen)| (n as f64 - 0.5, seen));
            play.leader = Some((SubjectId::generate(), host, seen.collect()));
        }
        let scene = play.scene();
        let mut rules = Rules::default();
        rules.limits.lag_for = Duration::from_secs(1);
        rules.limits.stalled_for = Duration::from_secs(1);
        let opens = think(&scene, &rules).opens;
        for kind in IncidentKind::ALL.iter().copied() {
            let Assessment::Cleared(reason) = assess(kind, &scene, &rules, acted.map(at)) else {
                continue;
            };
            prop_assert!(opens.iter().all(|o| o.kind != kind), "{} {}", kind, reason);
            let newest = scene.recent.first().expect("an observation");
            prop_assert!(acted.is_none_or(|acted| newest.created_at > at(acted)));
            // Nothing is well again without a good observation; at most it is
            // something else that is wrong, and that is opened.
            prop_assert!(
                newest.attributes.service_available
                    || opens.iter().any(|o| reason.contains(o.kind.as_str())),
                "{} {}", kind, reason
            );
        }
    }
}
