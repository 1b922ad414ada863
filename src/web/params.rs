//! Reads what stands in a request's address: ids and query parameters.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::check::is_odd;
use super::error::{ApiError, Result};
use crate::api::Prefixed;
use crate::model::{IdError, Kind, PublicId};

/// Items of a page when the caller does not say.
const PAGE: i64 = 100;
/// Items of a page at most.
const LARGEST_PAGE: i64 = 500;

/// The query parameters of a request.
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                ApiError::bad_request("invalid_query", "the query of this address cannot be read")
            })?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// Refuses every parameter that is not among these, is there twice, or has what no name or id
    /// of ours has: PostgreSQL takes no NUL.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        for (at, (name, text)) in self.0.iter().enumerate() {
            let field: String = name.chars().take(63).collect();
            if !known.contains(&name.as_str()) {
                let message = format!(
                    "there is no such parameter; there are: {}",
                    known.join(", ")
                );
                return Err(ApiError::bad_request("unknown_parameter", message).field(field));
            }
            if self.0[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(wrong(name, "may be given only once"));
            }
            if text.chars().any(is_odd) {
                return Err(wrong(name, "must have no control characters"));
            }
        }
        Ok(())
    }

    /// A parameter's text; an empty one is the same as none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, text) = self.0.iter().find(|(n, _)| n == name)?;
        Some(text.as_str()).filter(|t| !t.is_empty())
    }

    /// A parameter that is one of several words.
    pub fn word<T: FromStr<Err = String>>(&self, name: &str) -> Result<Option<T>> {
        let word = self.get(name).map(str::parse).transpose();
        word.map_err(|known: String| wrong(name, &known))
    }

    /// `subject`: whose.
    pub fn subject(&self) -> Result<Option<PublicId>> {
        let subject = self.get("subject").map(|text| public_id("subject", text));
        subject.transpose()
    }

    /// One more than `limit`, which tells whether there is a next page.
    pub fn ahead(&self) -> Result<i64> {
        Ok(self.limit()? + 1)
    }

    /// `limit`: how many items, 1 to 500.
    pub fn limit(&self) -> Result<i64> {
        let Some(text) = self.get("limit") else {
            return Ok(PAGE);
        };
        text.parse()
            .ok()
            .filter(|n| (1..=LARGEST_PAGE).contains(n))
            .ok_or_else(|| wrong("limit", "must be a whole number from 1 to 500"))
    }

    /// `cursor`: where the page before this one ended.
    pub fn cursor<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        self.get("cursor")
            .map(|text| {
                read(text).ok_or_else(|| {
                    let message = "cursor is not one of this listing's; \
                                   take it from next_cursor of the page before";
                    ApiError::bad_request("invalid_cursor", message).field("cursor")
                })
            })
            .transpose()
    }
}

/// A parameter that is wrong: `message` goes on after its name.
pub fn wrong(name: &str, message: &str) -> ApiError {
    ApiError::bad_request("invalid_parameter", format!("{name} {message}")).field(name)
}

/// The incident, operation, message or event that a path names.
pub struct Id<I>(pub I);

impl<S: Send + Sync, I: Prefixed> FromRequestParts<S> for Id<I> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let word = Word::from_request_parts(parts, state).await;
        let text = word.map_or("…".into(), |Word(text)| text);
        prefixed("id", &text).map(Self)
    }
}

/// The one part of a path that is not fixed, whatever it is.
pub struct Word(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Word {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                ApiError::bad_request("invalid_path", "the path of this address cannot be read")
            })?;
        if text.chars().any(is_odd) {
            let message = "the path of this address has control characters";
            return Err(ApiError::bad_request("invalid_path", message));
        }
        Ok(Self(text))
    }
}

/// The subject that a path below `/v1/servers` or `/v1/resources` names.
impl<S: Send + Sync> FromRequestParts<S> for PublicId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let kind = *parts
            .extensions
            .get::<Kind>()
            .ok_or_else(ApiError::internal)?;
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| malformed("id", &IdError::Malformed("…".into())))?;
        let named = public_id("id", &text)?;
        if named.kind != kind {
            return Err(ApiError::not_found(format!(
                "{named} is a {}'s id: ask /v1/{}s/{named}",
                named.kind, named.kind
            ))
            .field("id"));
        }
        Ok(named)
    }
}

/// Reads an id as people write it.
pub fn public_id(field: &str, text: &str) -> Result<PublicId> {
    text.parse().map_err(|e| malformed(field, &e))
}

/// The same of what is no subject.
pub fn prefixed<I: Prefixed>(field: &str, text: &str) -> Result<I> {
    I::read(text).map_err(|e| malformed(field, &e))
}

/// There is no such live subject.
pub fn unknown(id: PublicId) -> ApiError {
    ApiError::not_found(format!(
        "no {} {id}: it never was, or was forgotten",
        id.kind
    ))
    .field("id")
}

/// There was one, and drover has destroyed it.
pub fn destroyed(id: PublicId) -> ApiError {
    let message = format!(
        "the {} {id} was destroyed; GET /v1/operations?subject={id} shows when, and by whose word",
        id.kind
    );
    ApiError::not_found(message).field("id")
}

/// There is nothing of this sort with this id.
pub fn none_such<I: Prefixed>(what: &str, id: I) -> ApiError {
    ApiError::not_found(format!("there is no {what} {}", id.prefixed())).field("id")
}

fn malformed(field: &str, error: &IdError) -> ApiError {
    ApiError::bad_request("malformed_id", error.to_string()).field(field)
}
