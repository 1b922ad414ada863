//! Conditions of a subject in service, and the sight of an open incident, row by
//! row.

use drover::model::{Attributes, Cause, IncidentKind, Kind, Rules, State};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{Sight, sight, think};
use super::{Play, at, bad, down, good, play, witnessed};

const GIB: u64 = 1 << 30;

fn with(details: Value) -> Attributes {
    let Value::Object(details) = details else {
        panic!("an object is wanted");
    };
    Attributes::available(1.0, details)
}

/// A server whose only data volume is as told.
fn volume(change: Value) -> Attributes {
    let mut volume = json!({
        "mount": "/data", "data": true, "clusters": ["15/app"], "used_ratio": 0.5,
        "available_bytes": 50 * GIB, "writable": true, "fsync": "ok", "fsync_ms": 2.0,
    });
    for (name, value) in change.as_object().unwrap() {
        volume[name] = value.clone();
    }
    let system = json!({"mount": "/", "data": false, "used_ratio": 1.0, "available_bytes": 0,
        "writable": false});
    with(json!({"volumes": [system, volume]}))
}

fn connections(used: u64) -> Attributes {
    with(json!({"connections": {"used": used, "allowed": 100}}))
}

fn xid(age: u64) -> Attributes {
    with(json!({"xid_age": age}))
}

fn archiver(change: Value) -> Attributes {
    let mut archiver = json!({"mode": "on", "ready": 0, "last_failed_at": null,
        "last_archived_at": "2026-01-01T00:00:00+00:00"});
    for (name, value) in change.as_object().unwrap() {
        archiver[name] = value.clone();
    }
    with(json!({"archiver": archiver}))
}

const FAILED: &str = "2026-01-01T01:00:00+00:00";

/// What is opened after these observations, oldest first.
fn opens(kind: Kind, seen: &[Attributes]) -> Vec<IncidentKind> {
    let mut play = play(kind, State::Available);
    for (second, seen) in seen.iter().enumerate() {
        play = play.seen(second as f64, "a", seen.clone());
    }
    play.think().opens.into_iter().map(|o| o.kind).collect()
}

fn server(seen: &[Attributes]) -> Vec<IncidentKind> {
    opens(Kind::Server, seen)
}

fn resource(seen: &[Attributes]) -> Vec<IncidentKind> {
    opens(Kind::Resource, seen)
}

/// What an open incident looks like after one observation.
fn seen(kind: IncidentKind, of: Kind, state: State, seen: Attributes) -> Sight {
    let scene = play(of, state).seen(10.0, "a", seen).scene();
    sight(kind, &scene, &Rules::default(), Some(at(5.0)))
}

fn holds(sight: &Sight) -> bool {
    matches!(sight, Sight::Holds(_))
}

fn cleared(sight: &Sight) -> bool {
    matches!(sight, Sight::Cleared(_))
}

#[test]
fn a_full_data_volume_is_critical_and_a_full_system_volume_is_not() {
    let critical = [IncidentKind::DiskCritical];
    assert_eq!(server(&[volume(json!({}))]), []);
    assert_eq!(server(&[volume(json!({"used_ratio": 0.8999}))]), []);
    assert_eq!(server(&[volume(json!({"used_ratio": 0.9}))]), critical);
    assert_eq!(server(&[volume(json!({"available_bytes": GIB}))]), []);
    assert_eq!(
        server(&[volume(json!({"available_bytes": GIB - 1}))]),
        critical
    );
    assert_eq!(server(&[volume(json!({"fsync": "no_space"}))]), critical);
    let decision = Play::server(State::Available)
        .seen(0.0, "a", volume(json!({"used_ratio": 0.931})))
        .think();
    assert_eq!(
        decision.opens[0].reason,
        "volume /data: 93.1 % used, 50.00 GiB free"
    );
}

#[test]
fn a_read_only_mount_opens_at_once_and_a_slow_write_when_it_is_slow_twice() {
    let stuck = [IncidentKind::VolumeStuck];
    assert_eq!(server(&[volume(json!({"writable": false}))]), stuck);
    assert_eq!(server(&[volume(json!({"fsync": "read_only"}))]), stuck);
    for slow in [
        volume(json!({"fsync": "stuck", "fsync_ms": 5500})),
        volume(json!({"fsync": "stuck", "fsync_ms": null})),
        volume(json!({"fsync_ms": 5000.0})),
        volume(json!({"fsync": "failed"})),
    ] {
        assert_eq!(server(std::slice::from_ref(&slow)), []);
        assert_eq!(server(&[slow.clone(), slow.clone()]), stuck);
        assert_eq!(server(&[slow.clone(), volume(json!({})), slow.clone()]), []);
        assert_eq!(server(&[slow.clone(), bad(Cause::Timeout), slow]), []);
    }
    let quick = volume(json!({"fsync_ms": 4999.0}));
    assert_eq!(server(&[quick.clone(), quick]), []);
}

#[test]
fn the_figures_of_a_resource_open_what_they_say() {
    assert_eq!(resource(&[connections(95)]), []);
    assert_eq!(
        resource(&[connections(96)]),
        [IncidentKind::ConnectionsExhausted]
    );
    assert_eq!(resource(&[xid(1_200_000_000)]), []);
    assert_eq!(
        resource(&[xid(1_200_000_001)]),
        [IncidentKind::XidWraparound]
    );
    let stalled = [IncidentKind::ArchivingStalled];
    assert_eq!(resource(&[archiver(json!({"ready": 100}))]), []);
    assert_eq!(resource(&[archiver(json!({"ready": 101}))]), stalled);
    let off = json!({"ready": 101, "mode": "off", "last_failed_at": FAILED});
    assert_eq!(resource(&[archiver(off.clone()), archiver(off)]), []);
}

#[test]
fn archiving_that_fails_is_seen_twice_before_it_counts() {
    let stalled = [IncidentKind::ArchivingStalled];
    let failing = archiver(json!({"last_failed_at": FAILED}));
    assert_eq!(resource(std::slice::from_ref(&failing)), []);
    assert_eq!(resource(&[failing.clone(), failing.clone()]), stalled);
    let never = archiver(json!({"last_failed_at": FAILED, "last_archived_at": null}));
    assert_eq!(resource(&[never.clone(), never]), stalled);
    // In between it archived something.
    let again = archiver(json!({"last_failed_at": "2026-01-01T03:00:00+00:00",
        "last_archived_at": "2026-01-01T02:00:00+00:00"}));
    assert_eq!(resource(&[failing, again]), []);
    let mended = archiver(json!({"last_failed_at": "2025-12-31T00:00:00+00:00"}));
    assert_eq!(resource(&[mended.clone(), mended]), []);
}

#[test]
fn nothing_is_opened_for_what_is_not_known_or_comes_and_goes() {
    assert_eq!(server(&[with(json!({"volumes": null}))]), []);
    assert_eq!(server(&[with(json!({"volumes": [{"data": true}]}))]), []);
    assert_eq!(resource(&[with(json!({"details_missing": "?"}))]), []);
    for state in [State::Creating, State::Destroying, State::Destroyed] {
        let play = Play::server(state).seen(0.0, "a", volume(json!({"used_ratio": 1.0})));
        assert_eq!(play.think().opens, [], "{state}");
    }
}

#[test]
fn service_is_back_only_when_the_state_says_so() {
    for (kind, of) in [
        (IncidentKind::ResourceDown, Kind::Resource),
        (IncidentKind::CredentialsRefused, Kind::Resource),
        (IncidentKind::ServerDown, Kind::Server),
        (IncidentKind::HostKeyChanged, Kind::Server),
    ] {
        assert!(cleared(&seen(kind, of, State::Available, good())), "{kind}");
        for state in [State::Uncertain, State::Unavailable] {
            assert!(holds(&seen(kind, of, state, good())), "{kind} {state}");
        }
        for state in [State::Creating, State::Destroying, State::Destroyed] {
            assert_eq!(
                seen(kind, of, state, good()),
                Sight::Unknown,
                "{kind} {state}"
            );
        }
    }
    let refused = || bad(Cause::Refused);
    let down = |state| seen(IncidentKind::ResourceDown, Kind::Resource, state, refused());
    assert!(holds(&down(State::Available)));
    assert!(holds(&down(State::Uncertain)));
    assert!(holds(&down(State::Unavailable)));
}

#[test]
fn a_resource_that_fails_for_another_reason_by_now_has_another_incident() {
    let now = |kind, cause, state| seen(kind, Kind::Resource, state, bad(cause));
    let other = now(
        IncidentKind::ResourceDown,
        Cause::Authentication,
        State::Unavailable,
    );
    let Sight::Cleared(reason) = &other else {
        panic!("{other:?}");
    };
    assert!(reason.contains("credentials_refused"), "{reason}");
    assert!(cleared(&now(
        IncidentKind::CredentialsRefused,
        Cause::Refused,
        State::Unavailable
    )));
    assert!(cleared(&now(
        IncidentKind::ConnectionsExhausted,
        Cause::Refused,
        State::Unavailable
    )));
    // Nothing has opened the other one yet.
    assert!(holds(&now(
        IncidentKind::ResourceDown,
        Cause::Authentication,
        State::Uncertain
    )));
    let covered = Play::resource(State::Unavailable)
        .host(State::Unavailable)
        .seen(10.0, "a", bad(Cause::Authentication));
    let covered = sight(
        IncidentKind::ResourceDown,
        &covered.scene(),
        &Rules::default(),
        None,
    );
    assert!(holds(&covered));
}

#[test]
fn a_limit_that_was_passed_is_left_with_a_margin() {
    let disk = |change| {
        let what = volume(change);
        seen(
            IncidentKind::DiskCritical,
            Kind::Server,
            State::Available,
            what,
        )
    };
    assert!(holds(&disk(json!({"used_ratio": 0.95}))));
    assert!(holds(&disk(json!({"used_ratio": 0.89}))));
    assert!(cleared(&disk(json!({"used_ratio": 0.879}))));
    assert!(holds(&disk(json!({"available_bytes": GIB}))));
    assert_eq!(disk(json!({"used_ratio": null})), Sight::Unknown);

    let stuck = |change| {
        let what = volume(change);
        seen(
            IncidentKind::VolumeStuck,
            Kind::Server,
            State::Available,
            what,
        )
    };
    assert!(cleared(&stuck(json!({}))));
    assert!(holds(&stuck(json!({"fsync_ms": 3000.0}))));
    assert!(holds(&stuck(json!({"fsync": "stuck"}))));
    assert!(holds(&stuck(json!({"writable": false}))));
    assert!(cleared(&stuck(json!({"fsync": "denied"}))));
    assert_eq!(
        stuck(json!({"fsync": "denied", "writable": null})),
        Sight::Unknown
    );
    assert_eq!(stuck(json!({"fsync": null})), Sight::Unknown);

    let of = |kind, what| seen(kind, Kind::Resource, State::Available, what);
    let used = |n| of(IncidentKind::ConnectionsExhausted, connections(n));
    assert!(holds(&used(96)));
    assert!(holds(&used(90)));
    assert!(cleared(&used(89)));
    assert_eq!(
        of(IncidentKind::ConnectionsExhausted, good()),
        Sight::Unknown
    );

    let age = |n| of(IncidentKind::XidWraparound, xid(n));
    assert!(holds(&age(960_000_000)));
    assert!(cleared(&age(959_999_999)));

    let archive = |change| of(IncidentKind::ArchivingStalled, archiver(change));
    assert!(holds(&archive(json!({"ready": 51}))));
    assert!(cleared(&archive(json!({"ready": 50}))));
    assert!(holds(&archive(json!({"last_failed_at": FAILED}))));
    assert!(cleared(&archive(json!({"ready": null}))));
    assert!(cleared(&archive(json!({"mode": "off", "ready": 900}))));
    assert_eq!(archive(json!({"last_archived_at": 7})), Sight::Unknown);
}

#[test]
fn every_data_volume_needs_room() {
    let two = |first: f64| {
        let volume = |mount: &str, used: f64| {
            json!({"mount": mount, "data": true, "used_ratio": used,
                "available_bytes": 50 * GIB, "fsync": "ok", "fsync_ms": 1.0})
        };
        let what = with(json!({"volumes": [volume("/a", first), volume("/b", 0.1)]}));
        seen(
            IncidentKind::DiskCritical,
            Kind::Server,
            State::Available,
            what,
        )
    };
    assert!(holds(&two(0.95)));
    assert!(cleared(&two(0.5)));
}

#[test]
fn only_what_was_seen_after_the_remedy_counts() {
    let scene = Play::resource(State::Available)
        .seen(10.0, "a", good())
        .scene();
    let rules = Rules::default();
    let at_time = |acted| sight(IncidentKind::ResourceDown, &scene, &rules, acted);
    assert_eq!(at_time(Some(at(10.0))), Sight::Unknown);
    assert_eq!(at_time(Some(at(11.0))), Sight::Unknown);
    assert!(cleared(&at_time(Some(at(9.9)))));
    assert!(cleared(&at_time(None)));
    let unseen = Play::resource(State::Available).scene();
    assert_eq!(
        sight(IncidentKind::ResourceDown, &unseen, &rules, None),
        Sight::Unknown
    );
}

#[test]
fn conditions_are_unknown_while_nothing_answers_and_the_herds_own_is_never_a_subjects() {
    for kind in IncidentKind::ALL.iter().copied() {
        let of = match kind {
            IncidentKind::DiskCritical | IncidentKind::VolumeStuck => Kind::Server,
            IncidentKind::XidWraparound | IncidentKind::ArchivingStalled => Kind::Resource,
            IncidentKind::Blind => Kind::Server,
            IncidentKind::ResourceDown
            | IncidentKind::ServerDown
            | IncidentKind::ConnectionsExhausted
            | IncidentKind::CredentialsRefused
            | IncidentKind::HostKeyChanged => continue,
        };
        let silent = witnessed(Cause::Timeout, down());
        assert_eq!(
            seen(kind, of, State::Unavailable, silent),
            Sight::Unknown,
            "{kind}"
        );
    }
    let blind = seen(IncidentKind::Blind, Kind::Server, State::Available, good());
    assert_eq!(blind, Sight::Unknown);
}

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
            Just("off"),
            Just("/data"),
            Just(FAILED),
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
    );
    let shaped = figures.prop_map(|(ratio, free, writable, ms, used, age, ready, failing)| {
        let failed = if failing { json!(FAILED) } else { Value::Null };
        let Value::Object(details) = json!({
            "volumes": [{"mount": "/data", "data": true, "used_ratio": ratio,
                "available_bytes": free, "writable": writable, "fsync": "ok", "fsync_ms": ms}],
            "connections": {"used": used, "allowed": 100}, "xid_age": age,
            "archiver": {"mode": "on", "ready": ready, "last_failed_at": failed,
                "last_archived_at": "2026-01-01T00:00:00+00:00"},
        }) else {
            unreachable!("an object");
        };
        details
    });
    prop_oneof![
        shaped,
        member(&["volumes", "connections", "xid_age", "archiver"]),
    ]
}

fn any_seen() -> impl Strategy<Value = Attributes> {
    prop_oneof![
        2 => any_details().prop_map(|details| Attributes::available(1.0, details)),
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
    ) {
        let mut play = play(of, state).host(host);
        for (second, seen) in history.into_iter().enumerate() {
            play = play.seen(second as f64, "a", seen);
        }
        let scene = play.scene();
        let rules = Rules::default();
        let opens = think(&scene, &rules).opens;
        for kind in IncidentKind::ALL.iter().copied() {
            let Sight::Cleared(reason) = sight(kind, &scene, &rules, acted.map(at)) else {
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
