//! Ids as people and programs see them: with the prefix of their kind.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{IdError, IncidentId, LeaderChangeId, MessageId, OperationId};

/// An id that has a prefix outside of the record.
pub trait Prefixed: Copy {
    /// With it: `inc_01J…`.
    fn prefixed(self) -> String;

    /// Reads it with its prefix.
    ///
    /// # Errors
    /// If it is no such id.
    fn read(text: &str) -> Result<Self, IdError>;
}

macro_rules! prefixed {
    ($($id:ident),+) => {$(
        impl Prefixed for $id {
            fn prefixed(self) -> String {
                self.public()
            }

            fn read(text: &str) -> Result<Self, IdError> {
                $id::from_public(text)
            }
        }
    )+};
}
prefixed!(IncidentId, LeaderChangeId, MessageId, OperationId);

/// An id that is sent, read and printed with its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Public<I>(pub I);

impl<I: Prefixed> fmt::Display for Public<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.prefixed())
    }
}

impl<I: Prefixed> Serialize for Public<I> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de, I: Prefixed> Deserialize<'de> for Public<I> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        I::read(&text).map(Self).map_err(serde::de::Error::custom)
    }
}
