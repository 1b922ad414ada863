//! An answer of the API on its way to a terminal.

use std::ops::Deref;

use drover::api::Page;
use drover::client::Client;
use drover::config::Env;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Failure, listing, say};

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

/// What a command that asks the API works with.
pub struct Session<'e> {
    /// The API.
    pub client: Client,
    /// Where settings come from.
    pub env: Env<'e>,
    /// Whether answers are printed as they came.
    pub json: bool,
}

impl Session<'_> {
    /// Prints an answer in JSON, or as `human` shows it.
    pub fn answer<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        answer(value, self.json, human)
    }

    /// Prints what there is at a path.
    pub async fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let found: Answer<T> = self.client.get(path).await?;
        self.answer(&found, |found| human(found))
    }

    /// Prints a list that is one page.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        human: impl FnOnce(&List<T>) -> String,
    ) -> Result<(), Failure> {
        let found: List<T> = self.client.get(path).await?;
        self.answer(&found, human)
    }

    /// Prints as many of a list as are wanted.
    pub async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
        limit: usize,
        human: impl FnOnce(&List<T>) -> String,
    ) -> Result<(), Failure> {
        let found: List<T> = listing::pages(&self.client, path, query, limit).await?;
        self.answer(&found, human)
    }

    /// Who asks, for the timeline.
    pub fn by(&self, named: Option<String>) -> Option<String> {
        named.or_else(|| self.env.get("USER"))
    }
}

/// Prints an answer in JSON, or as `human` shows it.
fn answer<T: Serialize>(
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
