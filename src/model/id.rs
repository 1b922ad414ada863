//! Ids: ULIDs, stored bare and shown with the prefix of their kind.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use ulid::Ulid;

use super::{Kind, text_column};

macro_rules! ulid_ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Ulid);

        impl $name {
            /// A new id; ids made later sort after it.
            pub fn generate() -> Self {
                Self(Ulid::generate())
            }

            /// The id that all those made at this time or later sort after.
            pub fn first_of(time: DateTime<Utc>) -> Self {
                let millis = u64::try_from(time.timestamp_millis()).unwrap_or_default();
                Self(Ulid::from_parts(millis, 0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads the bare 26 characters, as the database holds them.
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ulid::from_string(text)
                    .map(Self)
                    .map_err(|_| IdError::Malformed(shorten(text)))
            }
        }

        text_column!($name);
    )+};
}

ulid_ids! {
    /// A subject's id, which is also the id of its token in `apalis.jobs`.
    SubjectId;
    /// The id of one observation.
    ObservationId;
    /// The id of one change of state.
    TransitionId;
    /// An incident's id, which is also the id of its token in `apalis.jobs`.
    IncidentId;
    /// A message's id, which is also the id of its job in `apalis.jobs`.
    MessageId;
    /// An operation's id, which is also the id of its token in `apalis.jobs`.
    OperationId;
    /// The id of a change of leader.
    LeaderChangeId;
    /// The id of a control database, which its servers know it by.
    DeploymentId;
    /// The id of a row that nobody looks up by it: an event, a resolver's run.
    RowId;
}

/// Ids that people and the other side see behind a prefix.
macro_rules! public_ids {
    ($($name:ident $prefix:literal $error:ident;)+) => {$(
        impl $name {
            #[doc = concat!("As people see it: `", $prefix, "01J…`.")]
            pub fn public(self) -> String {
                format!(concat!($prefix, "{}"), self)
            }

            /// Reads it as people write it.
            ///
            /// # Errors
            /// If it is no id of this sort.
            pub fn from_public(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(|bare| bare.parse().ok())
                    .ok_or_else(|| IdError::$error(shorten(text)))
            }
        }
    )+};
}

public_ids! {
    IncidentId "inc_" NoIncident;
    OperationId "op_" NoOperation;
    MessageId "msg_" NoMessage;
    LeaderChangeId "evt_" NoEvent;
}

/// A subject's id as people see it: `srv_01J…` or `db_01J…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PublicId {
    /// What the prefix says it is.
    pub kind: Kind,
    /// The bare id.
    pub id: SubjectId,
}

/// Why a text is no id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// Not 26 characters of Crockford's base 32.
    #[error("`{0}` is not an id: ids look like srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB or db_…")]
    Malformed(String),
    /// Not `inc_` and 26 characters of Crockford's base 32.
    #[error("`{0}` is not an incident's id: they look like inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB")]
    NoIncident(String),
    /// Not `msg_` and 26 characters of Crockford's base 32.
    #[error("`{0}` is not a message's id: they look like msg_01J8ZC0T3YQ5V7N2M4K6H9D1XB")]
    NoMessage(String),
    /// Not `op_` and 26 characters of Crockford's base 32.
    #[error("`{0}` is not an operation's id: they look like op_01J8ZC0T3YQ5V7N2M4K6H9D1XB")]
    NoOperation(String),
    /// Not `evt_` and 26 characters of Crockford's base 32.
    #[error("`{0}` is not an event's id: they look like evt_01J8ZC0T3YQ5V7N2M4K6H9D1XB")]
    NoEvent(String),
    /// A ULID behind a prefix that no kind has.
    #[error("`{0}` has no known prefix: servers' ids begin with srv_, resources' with db_")]
    Prefix(String),
}

impl Kind {
    /// What stands before an id of this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Server => "srv_",
            Kind::Resource => "db_",
        }
    }
}

impl PublicId {
    /// The id of a subject of this kind.
    pub fn new(kind: Kind, id: SubjectId) -> Self {
        Self { kind, id }
    }
}

impl FromRow<'_, PgRow> for PublicId {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            kind: row.try_get("subject_kind")?,
            id: row.try_get("subject_id")?,
        })
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), self.id)
    }
}

impl FromStr for PublicId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        for kind in Kind::ALL.iter().copied() {
            if let Some(bare) = text.strip_prefix(kind.prefix()) {
                let id = bare
                    .parse()
                    .map_err(|_| IdError::Malformed(shorten(text)))?;
                return Ok(Self { kind, id });
            }
        }
        match text.split_once('_') {
            Some(_) => Err(IdError::Prefix(shorten(text))),
            None => Err(IdError::Malformed(shorten(text))),
        }
    }
}

impl Serialize for PublicId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An error repeats what it was given, but never ten thousand characters of it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_id_reads_back() {
        let id = PublicId::new(Kind::Resource, SubjectId::generate());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("db_"));
    }

    #[test]
    fn what_is_no_id_is_told_apart() {
        let bare = SubjectId::generate().to_string();
        assert_eq!("x".parse::<PublicId>(), Err(IdError::Malformed("x".into())));
        assert_eq!(
            "db_x".parse::<PublicId>(),
            Err(IdError::Malformed("db_x".into()))
        );
        assert!(matches!(
            format!("inc_{bare}").parse::<PublicId>(),
            Err(IdError::Prefix(_))
        ));
        let long = "a"
            .repeat(10_000)
            .parse::<PublicId>()
            .unwrap_err()
            .to_string();
        assert!(long.len() < 200, "{long}");
    }
}
