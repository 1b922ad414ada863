//! What a feel saw.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::FromRow;

use super::ObservationId;
use super::subject::named;

named! {
    /// Why a feel failed.
    Cause {
        /// Nothing listens on that port.
        Refused = "refused",
        /// No answer in time.
        Timeout = "timeout",
        /// The network has no way there, or the name has no address.
        NoRoute = "no_route",
        /// The peer closed the connection in the middle.
        Disconnected = "disconnected",
        /// The credentials were not accepted.
        Authentication = "authentication",
        /// The TLS handshake failed, or the certificate is not trusted.
        Tls = "tls",
        /// PostgreSQL says that it is starting up.
        StartingUp = "starting_up",
        /// PostgreSQL says that it is shutting down.
        ShuttingDown = "shutting_down",
        /// PostgreSQL says that it is in recovery and takes no connections yet.
        Recovery = "recovery",
        /// PostgreSQL has no connection left for us.
        TooManyConnections = "too_many_connections",
        /// No space left on a volume.
        DiskFull = "disk_full",
        /// A write was refused because something is read-only.
        ReadOnly = "read_only",
        /// PostgreSQL says that data or an index is corrupt.
        Corrupt = "corrupt",
        /// The host key is not the pinned one.
        HostKeyChanged = "host_key_changed",
        /// No host key was pinned yet: it was read, and nothing else was asked.
        HostKeyUnknown = "host_key_unknown",
        /// It is being made, and there is nothing to look at yet.
        Creating = "creating",
        /// It is being taken away.
        Destroying = "destroying",
        /// It answered, but not what such a server answers.
        Protocol = "protocol",
        /// PostgreSQL answered with an error that is none of the above; or nobody
        /// could be asked, because drover lacks something (an SSH key, an answer of
        /// the cloud).
        Error = "error",
    }
}

/// What a second, independent witness says of a subject that does not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case")]
pub enum Witness {
    /// It is down too, as this witness sees it.
    Down {
        /// What it saw, for people: `cluster 15/app is down`, `instance stopped`.
        detail: String,
    },
    /// As this witness sees it, it is alive: the two disagree.
    Up {
        /// What it saw, for people.
        detail: String,
    },
    /// The witness could not be asked either.
    Silent {
        /// Why not.
        cause: Cause,
        /// The error, for people.
        detail: String,
    },
}

/// What a feel returns; stored as the `attributes` of an observation.
///
/// `service_available` is whether the subject does its service; everything that
/// only some feelers know is in `details`, flattened beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// Whether it does its service.
    pub service_available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The error, for people; never holds a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// From the start of the feel to its last answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What the second witness said, when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// What this kind of feeler reads beyond that.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// The names that `details` cannot have.
const OWN: [&str; 5] = [
    "service_available",
    "cause",
    "message",
    "latency_ms",
    "witness",
];

impl Attributes {
    /// It does its service. Details come from what was felt, which may be
    /// anything: those that would pass for our own words are left out.
    pub fn available(latency_ms: f64, mut details: Map<String, Value>) -> Self {
        details.retain(|name, _| !OWN.contains(&name.as_str()));
        Self {
            service_available: true,
            cause: None,
            message: None,
            latency_ms: Some(latency_ms),
            witness: None,
            details,
        }
    }

    /// It does not, for this cause.
    pub fn failed(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            service_available: false,
            cause: Some(cause),
            message: Some(message.into()),
            latency_ms: None,
            witness: None,
            details: Map::new(),
        }
    }
}

/// One row of the record: what one feel saw, when, and which worker.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Observation {
    /// Its id.
    pub id: ObservationId,
    /// When it was written, by the control database's clock.
    pub created_at: DateTime<Utc>,
    /// The worker that felt.
    pub worker: String,
    /// Feel workers alive at that moment.
    #[sqlx(try_from = "i16")]
    pub feelers: u16,
    /// What was seen.
    #[sqlx(json)]
    pub attributes: Attributes,
}
