//! What a feel saw.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::FromRow;

use super::figures::lenient;
use super::subject::named;
use super::{ObservationId, ResourceFigures, ServerFigures};

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
        /// Another cluster answers than the one that is pinned.
        AnotherCluster = "another_cluster",
        /// The cluster answers, and the customer's database is not in it any more.
        DatabaseGone = "database_gone",
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

/// What a feel returns; stored as the `attributes` of an observation, in one flat
/// object. What another version or a stranger wrote oddly is unknown; and an
/// observation that does not say so is none of a subject in service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// Whether the subject does its service.
    #[serde(default, deserialize_with = "or_false")]
    pub service_available: bool,
    /// Why not.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub cause: Option<Cause>,
    /// The error, for people; never holds a secret.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// From the start of the feel to its last answer, in milliseconds.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub latency_ms: Option<f64>,
    /// What the second witness said, when it was asked.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub witness: Option<Witness>,
    /// What was too large to be stored: texts that were cut short, and figures that were left out.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub cut: Option<Vec<String>>,
    /// What a server's feeler reads beyond that.
    #[serde(flatten)]
    pub server: Box<ServerFigures>,
    /// What a resource's feeler reads beyond that.
    #[serde(flatten)]
    pub resource: Box<ResourceFigures>,
}

fn or_false<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(lenient(from)?.unwrap_or_default())
}

impl Attributes {
    /// It does its service.
    pub fn available(latency_ms: f64) -> Self {
        Self {
            service_available: true,
            latency_ms: Some(latency_ms),
            ..Self::default()
        }
    }

    /// It does not, for this cause.
    pub fn failed(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause: Some(cause),
            message: Some(message.into()),
            ..Self::default()
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
