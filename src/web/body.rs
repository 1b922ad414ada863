//! Reads a JSON body field by field, into the request of `api` that it is.
//!
//! Not serde's derive: its messages repeat the values they stumble over, and
//! some of ours are passwords and keys.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::check;
use super::error::{ApiError, Result};
use super::json::{self, Unreadable};

/// The largest body, in bytes.
pub const LARGEST: usize = 1024 * 1024;

/// A JSON object that a caller sent.
pub struct Body(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let bytes = bytes(request, state).await?;
        Self::parse(&bytes)
    }
}

impl Body {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json::read(bytes).map_err(|unreadable| match unreadable {
            // A syntax error's message has a place and what was expected there, and
            // nothing of the text.
            Unreadable::Syntax(e) => {
                ApiError::bad_request("invalid_json", format!("the body is not JSON: {e}"))
            }
            Unreadable::Twice(key) => {
                let message = "the body has this key twice, and it is not said which counts";
                ApiError::bad_request("duplicate_key", message).field(shown(&key))
            }
        })?;
        match value {
            Value::Object(fields) => read_as_it_is(&fields).map(|()| Self(fields)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(ApiError::bad_request(
                "invalid_json",
                "the body must be a JSON object: {…}",
            )),
        }
    }

    /// Refuses every field that is not among these.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        let given = self.0.iter().filter(|(_, value)| !value.is_null());
        let mut unknown = given.filter(|(field, _)| !known.contains(&field.as_str()));
        let Some((field, _)) = unknown.next() else {
            return Ok(());
        };
        let message = format!("there is no such field; there are: {}", known.join(", "));
        Err(ApiError::unprocessable("unknown_field", message).field(shown(field)))
    }

    /// A field's value; null is the same as absent.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    /// A text, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::invalid(name, format!("{name} must be a string"))),
        }
    }

    /// The same, to keep.
    pub fn owned(&self, name: &str) -> Result<Option<String>> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    /// A text that must be there.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// One of several words, if it is there.
    pub fn word<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        let word = self.text(name)?.map(str::parse).transpose();
        word.map_err(|known| ApiError::invalid(name, format!("{name} {known}")))
    }

    /// A TCP port, if it is there.
    pub fn port(&self, name: &str) -> Result<Option<u16>> {
        let number = self.number(name, 1..=65535)?;
        Ok(number.and_then(|n| u16::try_from(n).ok()))
    }

    /// A whole number of this range, if it is there.
    pub fn number(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| range.contains(n))
            .map(Some)
            .ok_or_else(|| {
                let (from, to) = (range.start(), range.end());
                let message = format!("{name} must be a whole number from {from} to {to}");
                ApiError::invalid(name, message)
            })
    }

    /// Whether something is wanted; absent: it is not.
    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(wanted)) => Ok(*wanted),
            Some(_) => Err(ApiError::invalid(
                name,
                format!("{name} must be true or false"),
            )),
        }
    }
}

/// Refuses texts that a person would read as something else than is there. A password is read by
/// nobody, and keys and certificates have lines.
fn read_as_it_is(fields: &Map<String, Value>) -> Result<()> {
    fn is_odd(value: &Value) -> bool {
        let is_odd_text = |text: &str| {
            let mut characters = text.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r'));
            characters.any(check::is_odd)
        };
        match value {
            Value::String(text) => is_odd_text(text),
            Value::Array(values) => values.iter().any(is_odd),
            Value::Object(entries) => entries
                .iter()
                .any(|(key, value)| is_odd_text(key) || is_odd(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let mut texts = fields.iter().filter(|(field, _)| *field != "password");
    match texts.find(|(_, value)| is_odd(value)) {
        None => Ok(()),
        Some((field, _)) => {
            let field = shown(field);
            let message = format!("{field} must have no control characters");
            Err(ApiError::invalid(&field, message))
        }
    }
}

/// A key that a caller made up, as it may be shown.
fn shown(key: &str) -> String {
    let as_it_is = |c| if check::is_odd(c) { '\u{fffd}' } else { c };
    key.chars().take(63).map(as_it_is).collect()
}

/// A request's whole body.
///
/// # Errors
/// If it is larger than [`LARGEST`], or ends before its time.
pub async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes> {
    let read = Bytes::from_request(request, state).await;
    read.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the body is larger than 1 MiB",
            )
        } else {
            ApiError::bad_request("unreadable_body", "the body ended before its time")
        }
    })
}

/// A field that must be there is not.
pub fn missing(name: &str) -> ApiError {
    ApiError::unprocessable("missing_field", format!("{name} is missing")).field(name)
}
