//! The sight of an open incident, row by row.

use drover::model::{Attributes, Cause, Evidence, IncidentKind, Kind, Rules, State};
use serde_json::json;

use super::super::{Assessment, assess};
use super::found::{
    FAILED, GIB, archiver, connections, events, following, mxid, volume, with, xid,
};
use super::{Play, at, bad, down, good, play, witnessed};

/// What an open incident looks like after one observation.
fn seen(kind: IncidentKind, of: Kind, state: State, seen: Attributes) -> Assessment {
    let scene = play(of, state).seen(10.0, "a", seen).scene();
    assess(kind, &scene, &Rules::default(), Some(at(5.0)))
}

fn holds(sight: &Assessment) -> bool {
    matches!(sight, Assessment::Holds(_))
}

fn cleared(sight: &Assessment) -> bool {
    matches!(sight, Assessment::Cleared(_))
}

#[test]
fn a_volume_fills_if_next_to_nothing_is_free_and_less_than_at_first() {
    let limits = Rules::default().limits;
    let has =
        |ratio: f64, bytes: u64| volume(json!({"used_ratio": ratio, "available_bytes": bytes}));
    let fills = |seen: [Attributes; 3], since| {
        let [first, second, third] = seen;
        let play = play(Kind::Server, State::Available);
        let play = play.seen(1.0, "a", first).seen(2.0, "a", second);
        let scene = play.seen(3.0, "a", third).scene();
        super::super::fills(&scene.recent, at(since), &limits)
    };
    let all = |last| [has(0.96, 4 * GIB), has(0.98, 2 * GIB), last];
    assert!(fills(all(has(0.99, GIB)), 0.0));
    assert!(fills(all(has(0.99, GIB)), 2.0), "since a human was called");
    assert!(!fills(all(has(0.98, 2 * GIB)), 2.0), "no less since then");
    assert!(
        !fills(all(has(0.98, 2 * GIB - 1)), 2.0),
        "by a line of a log"
    );
    assert!(!fills(all(has(0.96, GIB)), 0.0), "there is room");
    assert!(!fills(all(has(0.99, GIB)), 4.0), "nothing is seen yet");
}

#[test]
fn service_is_back_only_when_the_state_says_so() {
    for (kind, of) in [
        (IncidentKind::ResourceDown, Kind::Resource),
        (IncidentKind::CredentialsRefused, Kind::Resource),
        (IncidentKind::AnotherCluster, Kind::Resource),
        (IncidentKind::DatabaseGone, Kind::Resource),
        (IncidentKind::ServerDown, Kind::Server),
        (IncidentKind::HostKeyChanged, Kind::Server),
    ] {
        assert!(cleared(&seen(kind, of, State::Available, good())), "{kind}");
        for state in [State::Uncertain, State::Unavailable] {
            let back = seen(kind, of, state, good());
            assert_eq!(back, Assessment::Recovering, "{kind} {state}");
        }
        for state in [State::Creating, State::Destroying, State::Destroyed] {
            assert_eq!(
                seen(kind, of, state, good()),
                Assessment::Unknown,
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
    let Assessment::Cleared(reason) = &other else {
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
    for state in [State::Uncertain, State::Unavailable] {
        let refused = now(
            IncidentKind::ConnectionsExhausted,
            Cause::TooManyConnections,
            state,
        );
        assert!(holds(&refused), "{state}");
    }
    // Nothing has opened the other one yet.
    assert!(holds(&now(
        IncidentKind::ResourceDown,
        Cause::Authentication,
        State::Uncertain
    )));
    let covered = Play::resource(State::Unavailable)
        .host(State::Unavailable)
        .seen(10.0, "a", bad(Cause::Authentication));
    let covered = assess(
        IncidentKind::ResourceDown,
        &covered.scene(),
        &Rules::default(),
        None,
    );
    assert!(holds(&covered));
}

#[test]
fn a_server_with_another_host_key_is_not_just_down_and_stays_distrusted() {
    let now = |kind, cause, state| seen(kind, Kind::Server, state, bad(cause));
    let other = now(
        IncidentKind::ServerDown,
        Cause::HostKeyChanged,
        State::Unavailable,
    );
    let Assessment::Cleared(reason) = &other else {
        panic!("{other:?}");
    };
    assert_eq!(
        reason,
        "now it is host_key_changed: host_key_changed: as told"
    );
    for cause in [Cause::Refused, Cause::Timeout] {
        for kind in [IncidentKind::ServerDown, IncidentKind::HostKeyChanged] {
            assert!(holds(&now(kind, cause, State::Unavailable)), "{kind}");
        }
    }
    // Nothing has opened the other one yet.
    assert!(holds(&now(
        IncidentKind::ServerDown,
        Cause::HostKeyChanged,
        State::Uncertain
    )));
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
    assert_eq!(disk(json!({"used_ratio": null})), Assessment::Unknown);

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
        Assessment::Unknown
    );
    assert_eq!(stuck(json!({"fsync": null})), Assessment::Unknown);

    let of = |kind, what| seen(kind, Kind::Resource, State::Available, what);
    let used = |n| of(IncidentKind::ConnectionsExhausted, connections(n));
    assert!(holds(&used(96)));
    assert!(holds(&used(90)));
    assert!(cleared(&used(89)));
    assert_eq!(
        of(IncidentKind::ConnectionsExhausted, good()),
        Assessment::Unknown
    );

    let age = |n| of(IncidentKind::XidWraparound, xid(n));
    assert!(holds(&age(960_000_000)));
    assert!(cleared(&age(959_999_999)));
    let age = |n| of(IncidentKind::XidWraparound, mxid(n));
    assert!(holds(&age(960_000_000)));
    assert!(cleared(&age(959_999_999)));

    let archive = |change| of(IncidentKind::ArchivingStalled, archiver(change));
    assert!(holds(&archive(json!({"ready": 51}))));
    assert!(cleared(&archive(json!({"ready": 50}))));
    assert!(holds(&archive(json!({"last_failed_at": FAILED}))));
    assert!(cleared(&archive(json!({"ready": null}))));
    assert!(cleared(&archive(json!({"mode": "off", "ready": 900}))));
    assert_eq!(archive(json!({"last_archived_at": 7})), Assessment::Unknown);

    // What became a follower is its leader's matter.
    let kind = IncidentKind::XidWraparound;
    assert!(cleared(&of(kind, following(xid(2_000_000_000)))));
    let kind = IncidentKind::ArchivingStalled;
    let failing = archiver(json!({"last_failed_at": FAILED}));
    assert!(cleared(&of(kind, following(failing))));
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
    let at_time = |acted| assess(IncidentKind::ResourceDown, &scene, &rules, acted);
    assert_eq!(at_time(Some(at(10.0))), Assessment::Unknown);
    assert_eq!(at_time(Some(at(11.0))), Assessment::Unknown);
    assert!(cleared(&at_time(Some(at(9.9)))));
    assert!(cleared(&at_time(None)));
    let unseen = Play::resource(State::Available).scene();
    assert_eq!(
        assess(IncidentKind::ResourceDown, &unseen, &rules, None),
        Assessment::Unknown
    );
}

#[test]
fn conditions_are_unknown_while_nothing_answers_and_the_herds_own_is_never_a_subjects() {
    for kind in IncidentKind::ALL.iter().copied() {
        match kind.profile().evidence {
            Evidence::Service | Evidence::Connections => continue,
            Evidence::Figures | Evidence::Followers | Evidence::Operation | Evidence::Herd => {}
        }
        for of in [Kind::Server, Kind::Resource] {
            let silent = witnessed(Cause::Timeout, down());
            assert_eq!(
                seen(kind, of, State::Unavailable, silent),
                Assessment::Unknown,
                "{kind} of a {of}"
            );
        }
    }
    let blind = seen(IncidentKind::Blind, Kind::Server, State::Available, good());
    assert_eq!(blind, Assessment::Unknown);
}

#[test]
fn maintenance_is_over_when_the_cloud_says_so_and_not_when_it_says_nothing() {
    let now = |attributes| {
        let kind = IncidentKind::MaintenanceScheduled;
        seen(kind, Kind::Server, State::Available, attributes)
    };
    assert!(holds(&now(events(json!([{"code": "instance-stop"}])))));
    assert!(cleared(&now(events(json!([])))));
    let over = json!([{"code": "instance-stop", "description": "[Completed] It was"}]);
    assert!(cleared(&now(events(over))));
    for nothing in [json!({}), json!({"cloud": null}), json!({"cloud": {}})] {
        assert_eq!(now(with(nothing)), Assessment::Unknown);
    }
    assert_eq!(now(bad(Cause::Timeout)), Assessment::Unknown);
}
