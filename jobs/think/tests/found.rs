//! Conditions of a subject in service, row by row.

use drover::model::{Attributes, Cause, IncidentKind, Kind, State};
use serde_json::{Value, json};

use super::{Play, bad, play};

pub(super) const GIB: u64 = 1 << 30;

/// A good observation with these figures beside.
pub(super) fn with(details: Value) -> Attributes {
    let mut seen = json!(Attributes::available(1.0));
    for (name, value) in details.as_object().expect("an object") {
        seen[name] = value.clone();
    }
    serde_json::from_value(seen).expect("attributes")
}

/// A server whose only data volume is as told.
pub(super) fn volume(change: Value) -> Attributes {
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

pub(super) fn connections(used: u64) -> Attributes {
    with(json!({"connections": {"used": used, "allowed": 100}}))
}

pub(super) fn xid(age: u64) -> Attributes {
    with(json!({"xid_age": age, "mxid_age": 7}))
}

pub(super) fn mxid(age: u64) -> Attributes {
    with(json!({"xid_age": 7, "mxid_age": age}))
}

pub(super) fn archiver(change: Value) -> Attributes {
    let mut archiver = json!({"mode": "on", "ready": 0, "last_failed_at": null,
        "last_archived_at": "2026-01-01T00:00:00+00:00"});
    for (name, value) in change.as_object().unwrap() {
        archiver[name] = value.clone();
    }
    with(json!({"archiver": archiver}))
}

pub(super) const FAILED: &str = "2026-01-01T01:00:00+00:00";

/// A server to whose instance the cloud will do this.
pub(super) fn events(events: Value) -> Attributes {
    with(json!({"cloud": {"state": "running", "events": events}}))
}

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
    assert_eq!(resource(&[mxid(1_200_000_000)]), []);
    assert_eq!(
        resource(&[mxid(1_200_000_001)]),
        [IncidentKind::XidWraparound]
    );
    let stalled = [IncidentKind::ArchivingStalled];
    assert_eq!(resource(&[archiver(json!({"ready": 100}))]), []);
    assert_eq!(resource(&[archiver(json!({"ready": 101}))]), stalled);
    let off = json!({"ready": 101, "mode": "off", "last_failed_at": FAILED});
    assert_eq!(resource(&[archiver(off.clone()), archiver(off)]), []);
}

#[test]
fn commits_that_wait_for_a_follower_are_told_of() {
    let waits = |seconds: f64, confirmed: &str| {
        let mut seen = connections(1);
        let follower = json!([{"sync_state": "quorum", "flush_lsn": confirmed}]);
        seen.resource.followers = serde_json::from_value(follower).unwrap();
        seen.resource.commits_wait_s = Some(seconds);
        seen
    };
    let wait = [IncidentKind::CommitsWait];
    assert_eq!(resource(&[waits(1.0, "0/9"), waits(30.0, "0/9")]), wait);
    assert_eq!(resource(&[waits(1.0, "0/9"), waits(29.9, "0/9")]), []);
    // A long statement, and a moment's wait.
    assert_eq!(resource(&[waits(1.0, "0/8"), waits(60.0, "0/9")]), []);
    assert_eq!(resource(&[connections(1), waits(60.0, "0/9")]), []);
}

/// The same of a cluster in recovery.
pub(super) fn following(mut seen: Attributes) -> Attributes {
    seen.resource.in_recovery = Some(true);
    seen
}

#[test]
fn a_leader_in_recovery_is_told_of_where_drover_has_made_it() {
    let opens = |play: Play, times: usize| {
        let seen = |play: Play, n| play.seen(n as f64, "a", following(connections(1)));
        let opened = (0..times).fold(play, seen).think().opens;
        opened.iter().map(|one| one.kind).collect::<Vec<_>>()
    };
    let one = || Play::resource(State::Available);
    assert_eq!(opens(one().made(), 1), []);
    assert_eq!(opens(one().made(), 2), [IncidentKind::LeaderInRecovery]);
    assert_eq!(opens(one(), 2), []);
}

#[test]
fn what_only_a_leader_can_mend_opens_nothing_for_a_follower() {
    assert_eq!(resource(&[following(xid(2_000_000_000))]), []);
    let failing = following(archiver(json!({"ready": 900, "last_failed_at": FAILED})));
    assert_eq!(resource(&[failing.clone(), failing]), []);
    // One that archives by itself is its own.
    let always = following(archiver(json!({"mode": "always", "ready": 101})));
    assert_eq!(resource(&[always]), [IncidentKind::ArchivingStalled]);
    // Sessions are its own too.
    let full = following(connections(96));
    assert_eq!(resource(&[full]), [IncidentKind::ConnectionsExhausted]);
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
fn what_the_cloud_will_do_to_the_hardware_is_told_and_nothing_else() {
    let scheduled = [IncidentKind::MaintenanceScheduled];
    for code in [
        "instance-retirement",
        "instance-stop",
        "instance-reboot",
        "system-reboot",
        "system-maintenance",
    ] {
        assert_eq!(
            server(&[events(json!([{"code": code}]))]),
            scheduled,
            "{code}"
        );
    }
    for nothing in [
        json!([]),
        json!([{"code": "something-else"}]),
        json!([{"code": "instance-stop", "description": "[Completed] The instance is running"}]),
        json!([{"code": "instance-stop", "description": "[Canceled] The instance is running"}]),
        json!({"code": "instance-stop"}),
        Value::Null,
    ] {
        assert_eq!(server(&[events(nothing.clone())]), [], "{nothing}");
    }
    assert_eq!(resource(&[events(json!([{"code": "instance-stop"}]))]), []);
    let two = json!([
        {"code": "system-reboot", "description": "", "not_before": null},
        {"code": "instance-retirement", "description": "The hardware fails",
         "not_before": "2026-02-01T03:00:00Z", "not_after": null},
    ]);
    let decision = Play::server(State::Available)
        .seen(0.0, "a", events(two))
        .think();
    assert_eq!(
        decision.opens[0].reason,
        "instance-retirement, not before 2026-02-01 03:00 UTC: The hardware fails; \
         system-reboot, at a time that it does not say"
    );
}
