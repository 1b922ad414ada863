//! Ids: ULIDs, stored bare and shown with the prefix of their kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::Kind;

/// A subject's id, which is also the id of its token in `apalis.jobs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubjectId(Ulid);

/// The id of one observation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObservationId(Ulid);

/// The id of one change of state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransitionId(Ulid);

/// An incident's id, which is also the id of its token in `apalis.jobs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(Ulid);

/// A message's id, which is also the id of its job in `apalis.jobs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Ulid);

/// An operation's id, which is also the id of its token in `apalis.jobs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(Ulid);

/// The id of a change of leader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaderChangeId(Ulid);

/// The id of a row that nobody looks up by it: an event, a resolver's run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowId(Ulid);

macro_rules! ulid_id {
    ($name:ident) => {
        impl $name {
            /// A new id; ids made later sort after it.
            pub fn generate() -> Self {
                Self(Ulid::generate())
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

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    };
}
ulid_id!(SubjectId);
ulid_id!(ObservationId);
ulid_id!(TransitionId);
ulid_id!(IncidentId);
ulid_id!(MessageId);
ulid_id!(OperationId);
ulid_id!(LeaderChangeId);
ulid_id!(RowId);

impl IncidentId {
    /// As people see it: `inc_01J…`.
    pub fn public(self) -> String {
        format!("inc_{self}")
    }

    /// Reads it as people write it.
    ///
    /// # Errors
    /// If it is no incident's id.
    pub fn from_public(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("inc_")
            .ok_or_else(|| IdError::NoIncident(shorten(text)))?
            .parse()
            .map_err(|_| IdError::NoIncident(shorten(text)))
    }
}

impl OperationId {
    /// As people see it: `op_01J…`.
    pub fn public(self) -> String {
        format!("op_{self}")
    }

    /// Reads it as people write it.
    ///
    /// # Errors
    /// If it is no operation's id.
    pub fn from_public(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("op_")
            .ok_or_else(|| IdError::NoOperation(shorten(text)))?
            .parse()
            .map_err(|_| IdError::NoOperation(shorten(text)))
    }
}

impl MessageId {
    /// As people and the other side see it: `msg_01J…`.
    pub fn public(self) -> String {
        format!("msg_{self}")
    }

    /// Reads it as people write it.
    ///
    /// # Errors
    /// If it is no message's id.
    pub fn from_public(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("msg_")
            .ok_or_else(|| IdError::NoMessage(shorten(text)))?
            .parse()
            .map_err(|_| IdError::NoMessage(shorten(text)))
    }
}

impl LeaderChangeId {
    /// As people and the other side see it: `evt_01J…`.
    pub fn public(self) -> String {
        format!("evt_{self}")
    }

    /// Reads it as people write it.
    ///
    /// # Errors
    /// If it is no event's id.
    pub fn from_public(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("evt_")
            .ok_or_else(|| IdError::NoEvent(shorten(text)))?
            .parse()
            .map_err(|_| IdError::NoEvent(shorten(text)))
    }
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
