//! An answer of the API on its way to a terminal.

use std::ops::Deref;

use drover::api::Page;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Failure, say};

/// An answer with all that stood in it: `--json` hands on also what this version does not
/// know.
pub struct Answer<T> {
    known: T,
    all: Value,
}

/// A list of answers.
pub type List<T> = Page<Answer<T>>;

impl<T> Answer<T> {
    /// What this version knows of it.
    pub fn into_known(self) -> T {
        self.known
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Answer<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Value::deserialize(from)?;
        let known = T::deserialize(&all).map_err(D::Error::custom)?;
        Ok(Self { known, all })
    }
}

impl<T> Serialize for Answer<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(to)
    }
}

/// Prints an answer in JSON, or as `human` shows it.
pub fn answer<T: Serialize>(
    value: &T,
    json: bool,
    human: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    if !json {
        return say(&human(value));
    }
    match serde_json::to_value(value) {
        Ok(value) => say(&format!("{value:#}")),
        Err(error) => Err(Failure::Failed(format!("the answer is no JSON: {error}"))),
    }
}
