//! What servers and resources have in common.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sqlx::FromRow;

use super::{ModeSet, OpenIncident, Resource, RunningOperation, Server};
use crate::model::{Attributes, IncidentKind, Kind, Origin, PublicId, State};

/// A server or a resource.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Subject {
    /// A server.
    Server(Box<Server>),
    /// A resource.
    Resource(Box<Resource>),
}

impl Subject {
    /// What it has in common with the other kind.
    pub fn core(&self) -> &SubjectCore {
        match self {
            Self::Server(server) => &server.core,
            Self::Resource(resource) => &resource.core,
        }
    }

    /// How it stands.
    pub fn standing(&self) -> &Standing {
        match self {
            Self::Server(server) => &server.standing,
            Self::Resource(resource) => &resource.standing,
        }
    }
}

/// By its `kind`, so that what it lacks is named.
impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct OfKind {
            kind: Kind,
        }
        let value = Value::deserialize(from)?;
        let read = match OfKind::deserialize(&value).map(|of| of.kind) {
            Ok(Kind::Server) => Server::deserialize(value).map(|s| Self::Server(Box::new(s))),
            Ok(Kind::Resource) => Resource::deserialize(value).map(|r| Self::Resource(Box::new(r))),
            Err(error) => Err(error),
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// What every subject begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubjectCore {
    /// `srv_…` or `db_…`.
    pub id: PublicId,
    /// Server or resource.
    pub kind: Kind,
    /// Unique among the live subjects of its kind.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Since when it stands there.
    pub state_since: DateTime<Utc>,
    /// Adopted or created.
    pub origin: Origin,
    /// Whose rules it goes by.
    pub tier: String,
    /// When it entered the herd.
    pub created_at: DateTime<Utc>,
}

/// What every subject ends with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// What resolvers may do with it.
    pub mode: ModeSet,
    /// Its open incidents, oldest first.
    pub incidents: Vec<OpenIncident>,
    /// What was asked for and is not done yet.
    pub operation: Option<RunningOperation>,
    /// The newest that was seen of it.
    pub last_observation: Option<Observation>,
}

/// What one feel saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observation {
    /// `obs_…`.
    pub id: String,
    /// When it was written down.
    pub created_at: DateTime<Utc>,
    /// The worker that felt.
    pub worker: String,
    /// Feel workers alive at that moment.
    pub feelers: u16,
    /// What was seen.
    pub attributes: Attributes,
}

/// A change of state.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct Transition {
    /// `tra_…`.
    pub id: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The state that was left.
    pub from: State,
    /// The state that was entered.
    pub to: State,
    /// Why, for people.
    pub reason: String,
    /// What was seen; null: an operation caused it.
    pub observation: Option<String>,
    /// The kind of incident that it opens.
    pub opens: Option<IncidentKind>,
    /// The worker that thought so.
    pub worker: String,
}
