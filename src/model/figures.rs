//! What feelers read of a subject beyond whether it does its service.
//!
//! A figure is what a stranger said, or what another version of drover wrote: it is
//! there with its right type, or it is unknown. One that is odd is lost by itself,
//! never with the observation.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::subject::named;

/// Reads a value, or nothing where it is not what it should be.
pub(super) fn lenient<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(T::deserialize(Value::deserialize(from)?).ok())
}

/// A list without those of its members that are not what they should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Each<T>(pub Vec<T>);

impl<T> Deref for Each<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Vec::<Value>::deserialize(from)?.into_iter();
        Ok(Self(
            all.filter_map(|one| T::deserialize(one).ok()).collect(),
        ))
    }
}

/// A struct of figures, each of which may be unknown.
macro_rules! figures {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),+ $(,)? }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {$(
            $(#[$fdoc])*
            #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,
        )+}
    )+};
}

figures! {
    /// What is seen of a server.
    ServerFigures {
        /// Whether it answered.
        reachable: bool,
        /// How far its clock is ahead of the worker's, in milliseconds.
        clock_skew_ms: f64,
        /// The id that the kernel made for this boot.
        boot_id: String,
        /// Seconds since boot.
        uptime_s: f64,
        /// Averages over 1, 5 and 15 minutes.
        load: [f64; 3],
        /// Its memory.
        memory: Memory,
        /// The clusters that it knows of; unknown if `pg_lsclusters` does not say.
        clusters: Each<Cluster>,
        /// `/`, and what holds data; unknown if a filesystem hangs.
        volumes: Each<Volume>,
        /// What could not be read, and why.
        notes: Vec<String>,
        /// What its cloud says of its instance.
        cloud: CloudFigures,
        /// The host key that it showed, where another is pinned or none.
        host_key: String,
        /// Its drover-root.
        drover_root: DroverRoot,
        /// The words that it has obeyed last; unknown where drover may not read them.
        words: Each<ObeyedWord>,
    }

    /// The last word that a server has obeyed about a cluster, or about itself.
    ObeyedWord {
        /// What it keeps it under: `machine`, or a cluster's system identifier, version and
        /// name.
        key: String,
        /// Whose word it was.
        deployment: String,
        /// The epoch of the leader and its followers; 0 for a machine.
        epoch: i64,
        /// The operation that raised it; `-`: it is as it began.
        raised_by: String,
        /// The leases that it was said under, of the cluster and its server, or of the
        /// machine: `NUMBER:NONCE`, or `-`.
        leases: Vec<String>,
    }

    /// The program that does as root what drover has to do as root.
    DroverRoot {
        /// The one that drover's login may use there; unknown if there is none.
        version: u32,
        /// The one that the worker's release brings.
        newest: u32,
    }

    /// Memory, in bytes.
    Memory {
        /// All of it.
        total: u64,
        /// What new work could get without swapping.
        available: u64,
        /// Swap there is.
        swap_total: u64,
        /// Swap that is free.
        swap_free: u64,
    }

    /// One mounted filesystem.
    Volume {
        /// Where it is mounted.
        mount: String,
        /// What is mounted there.
        device: String,
        /// Type of the filesystem.
        fs: String,
        /// All of it.
        size_bytes: u64,
        /// What is in use.
        used_bytes: u64,
        /// What an ordinary user may still write.
        available_bytes: u64,
        /// Used, of what an ordinary user can ever use: `df`'s per cent.
        used_ratio: f64,
        /// Inodes in use; filesystems without a fixed number have none.
        inodes_used_ratio: f64,
        /// Whether it is mounted for writing; unknown if `/proc/mounts` hides it.
        writable: bool,
        /// Whether it holds the data directory of a cluster.
        data: bool,
        /// Of these: `15/app`.
        clusters: Vec<String>,
        /// How a small write with fsync went; only tried where data is.
        fsync: Fsync,
        /// How long it took, in milliseconds.
        fsync_ms: f64,
    }

    /// What a cloud says of an instance: see its `Status`.
    CloudFigures {
        /// `running`, `stopped` …
        state: String,
        /// The cloud's check of the instance.
        instance_check: String,
        /// Of the hardware under it.
        system_check: String,
        /// Of its volumes.
        volume_check: String,
        /// What it will do to it.
        events: Each<CloudEvent>,
        /// When it said so.
        asked_at: String,
        /// Why it said nothing, or nothing newer.
        problem: String,
    }

    /// Something that a cloud will do to an instance.
    CloudEvent {
        /// The cloud's word: `instance-retirement`, `system-reboot` …
        code: String,
        /// For people.
        description: String,
        /// Not before.
        not_before: DateTime<Utc>,
        /// Not after.
        not_after: DateTime<Utc>,
    }

    /// What is seen of a resource. Sizes in bytes, ages of transaction ids in
    /// transactions.
    ResourceFigures {
        /// Whether it follows another, or is being recovered.
        in_recovery: bool,
        /// Whether transactions are read-only by default.
        read_only: bool,
        /// PostgreSQL's version.
        server_version: String,
        /// Its cluster's system identifier, where another cluster is pinned or none.
        system_identifier: String,
        /// Its data directory, likewise.
        data_directory: String,
        /// When its postmaster started.
        started_at: DateTime<Utc>,
        /// Where its WAL ends: written by a leader, replayed by a follower.
        lsn: String,
        /// Its sessions.
        connections: Connections,
        /// Age in seconds of the oldest transaction other than ours.
        oldest_transaction_s: f64,
        /// For how long, in seconds, the one that waits longest has waited for a follower.
        commits_wait_s: f64,
        /// Whom its commits wait for, as its setting of that name says; of a leader only.
        synchronous_standby_names: String,
        /// Age of the oldest transaction id.
        xid_age: u64,
        /// Age of the oldest multixact id, by which several transactions lock one row.
        mxid_age: u64,
        /// Size of the database; of the customer's, where drover made it.
        database_bytes: u64,
        /// Whether that one is not there; told only of one that is not in service.
        database_gone: bool,
        /// The timeline of its last checkpoint.
        timeline: u64,
        /// Whoever streams from it; of a leader only.
        followers: Each<Follower>,
        /// How it receives WAL; of a follower only.
        receiver: Receiver,
        /// How it archives WAL.
        archiver: Archiver,
        /// Its replication slots.
        replication_slots: Each<Slot>,
        /// What could not be read, and why.
        details_missing: String,
    }

    /// Sessions of a resource.
    Connections {
        /// There are so many.
        used: u64,
        /// Ordinary sessions may have so many.
        allowed: u64,
        /// So many with those that are kept back.
        max: u64,
    }

    /// One who streams from a leader.
    Follower {
        /// The name of its connection.
        name: String,
        /// `streaming`, `catchup` …
        state: String,
        /// `sync`, `async` …
        sync_state: String,
        /// Sent to it.
        sent_lsn: String,
        /// On its disk.
        flush_lsn: String,
        /// Replayed there.
        replay_lsn: String,
        /// What it has not replayed yet.
        lag_bytes: i64,
        /// Seconds since its last word, by its own clock.
        silent_s: f64,
    }

    /// How a follower receives WAL.
    Receiver {
        /// `streaming`, `connecting`, `not running` …
        status: String,
        /// The slot that it uses.
        slot: String,
        /// Whom it receives from.
        sender: String,
        /// On which timeline.
        timeline: u64,
        /// On its disk.
        flushed_lsn: String,
        /// What its sender has told it of.
        latest_end_lsn: String,
        /// What of that it has not replayed.
        lag_bytes: i64,
        /// Seconds since its sender's last word.
        silent_s: f64,
        /// Replayed.
        replay_lsn: String,
        /// Age in seconds of the last transaction that was replayed.
        last_replay_s: f64,
    }

    /// How a resource archives WAL.
    Archiver {
        /// `archive_mode`: `off`, `on`, `always`.
        mode: String,
        /// Segments archived.
        archived: u64,
        /// Attempts that failed.
        failed: u64,
        /// When it last archived one; null: never.
        last_archived_at: Option<DateTime<Utc>>,
        /// When it last failed to; null: never.
        last_failed_at: Option<DateTime<Utc>>,
        /// Segments that wait; unknown if the role may not count them.
        ready: u64,
        /// Why that is unknown.
        ready_missing: String,
    }

    /// A replication slot.
    Slot {
        /// Its name.
        name: String,
        /// `physical`, `logical`.
        r#type: String,
        /// Whether it is in use.
        active: bool,
        /// `reserved`, `lost` …
        wal_status: String,
        /// From where on it keeps WAL.
        restart_lsn: String,
        /// How much that is.
        retained_bytes: i64,
    }
}

/// How long a follower may have been silent that its leader calls a streaming one. It
/// speaks once a second (`wal_receiver_status_interval`), and its leader keeps the
/// connection of one that is cut off for a minute (`wal_sender_timeout`).
const SILENT_S: f64 = 5.0;

impl ResourceFigures {
    /// The age of the oldest id that has to be frozen before PostgreSQL stops taking writes.
    #[must_use]
    pub fn oldest_id(&self) -> Option<u64> {
        self.xid_age.max(self.mxid_age)
    }
}

impl Follower {
    /// Whether it streams, under this name. Its word bears its own server's time: one that is far
    /// ahead says as little as one that is far behind.
    pub fn streams_as(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) && self.streams()
    }

    /// Whether it streams.
    pub fn streams(&self) -> bool {
        self.state.as_deref() == Some("streaming")
            && self.silent_s.is_some_and(|s| s.abs() < SILENT_S)
    }
}

impl Receiver {
    /// A leader that a follower has heard from within so many seconds lives: its receiver asks
    /// for a word every 2.5 s where there is nothing to send (half of `wal_receiver_timeout`).
    pub const LATELY_S: f64 = 3.5;

    /// Whether it hears from its leader; `None`: it does not say, was told to follow nobody, or its
    /// connection was ended or is refused: there is a machine that does so.
    pub fn hears(&self) -> Option<bool> {
        match self.status.as_deref()? {
            "follows nobody" | "not running" => None,
            "streaming" => Some(self.silent_s? < Self::LATELY_S),
            _ => Some(false),
        }
    }
}

/// A cluster, as its server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Major version: `15`.
    pub version: String,
    /// Its name.
    pub cluster: String,
    /// The port in its configuration.
    pub port: u16,
    /// Whether a postmaster runs for it.
    pub running: bool,
    /// Its data directory.
    pub pgdata: Option<String>,
    /// Where its Unix socket is.
    pub socketdir: Option<String>,
    /// Who owns the data directory.
    pub owner_uid: Option<u32>,
}

named! {
    /// What became of a small write with fsync.
    Fsync {
        /// It was done, however slowly.
        Ok = "ok",
        /// It did not come back, or an earlier one still has not.
        Stuck = "stuck",
        /// The filesystem is read-only.
        ReadOnly = "read_only",
        /// No space, or none within the quota.
        NoSpace = "no_space",
        /// The login may not write there.
        Denied = "denied",
        /// Any other error, such as one of the device.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Attributes, Cause};

    fn read(attributes: Value) -> Attributes {
        serde_json::from_value(attributes).unwrap()
    }

    #[test]
    fn who_was_told_that_nobody_leads_there_is_no_witness() {
        let hears = |status: &str| {
            let seen = read(json!({"service_available": true, "receiver": {"status": status}}));
            seen.resource.receiver.unwrap().hears()
        };
        assert_eq!(hears("follows nobody"), None);
        assert_eq!(hears("not running"), None);
        assert_eq!(hears("connecting"), Some(false));
    }

    #[test]
    fn one_odd_value_loses_one_field_and_never_the_observation() {
        let seen = read(json!({
            "service_available": true, "cause": "of another version", "latency_ms": "x",
            "witness": [], "message": 5, "unheard_of": {},
            "xid_age": "old", "lsn": "0/1", "connections": {"used": -1, "allowed": 100},
            "replication_slots": [5, {"name": "f_1", "type": "physical", "active": "yes"}],
            "archiver": {"mode": "on", "last_archived_at": null, "last_failed_at": "yesterday"},
            "volumes": [{"mount": "/data", "data": true, "used_ratio": "full", "fsync": "odd"}],
            "clusters": [{"version": "15"}], "memory": [],
        }));
        assert!(seen.service_available);
        assert_eq!(
            (seen.cause, seen.latency_ms, seen.witness, seen.message),
            (None, None, None, None)
        );
        let resource = seen.resource;
        assert_eq!(
            (resource.xid_age, resource.lsn.as_deref()),
            (None, Some("0/1"))
        );
        let connections = resource.connections.unwrap();
        assert_eq!((connections.used, connections.allowed), (None, Some(100)));
        let slots = resource.replication_slots.unwrap();
        assert_eq!(slots.len(), 1);
        assert_eq!(
            (slots[0].r#type.as_deref(), slots[0].active),
            (Some("physical"), None)
        );
        let archiver = resource.archiver.unwrap();
        assert_eq!(
            (archiver.last_archived_at, archiver.last_failed_at),
            (Some(None), None)
        );
        let volumes = seen.server.volumes.unwrap();
        assert_eq!((volumes[0].data, volumes[0].used_ratio), (Some(true), None));
        assert_eq!(volumes[0].fsync, None);
        assert!(seen.server.clusters.unwrap().is_empty());
        assert!(!read(json!({"service_available": 1})).service_available);
    }

    #[test]
    fn what_was_written_is_read_back_as_it_was() {
        for stored in [
            json!({
                "service_available": true, "latency_ms": 1.5, "in_recovery": false,
                "started_at": "2026-01-01T00:00:00.500Z", "lsn": "16/B374D848", "timeline": 3,
                "archiver": {"mode": "on", "last_archived_at": null, "ready": 2},
                "replication_slots": [{"name": "f_1", "type": "physical", "retained_bytes": -8}],
                "receiver": {"status": "streaming", "lag_bytes": 70000},
            }),
            json!({
                "service_available": false, "cause": "timeout", "message": "no answer",
                "witness": {"says": "down", "detail": "instance stopped"}, "reachable": false,
                "cloud": {"state": "stopped", "events": [{"code": "instance-stop"}]},
                "volumes": [{"mount": "/", "size_bytes": 10, "data": false, "fsync": "no_space"}],
                "load": [0.5, 0.25, 0.0], "memory": {"total": 1024},
            }),
        ] {
            assert_eq!(json!(read(stored.clone())), stored);
        }
        let failed = Attributes::failed(Cause::Timeout, "no answer");
        assert_eq!(read(json!(failed)), failed);
    }
}
