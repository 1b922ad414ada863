//! `Idempotency-Key`: a POST that is repeated under its key is not done again, but
//! answered as it was.
//!
//! The first request claims the key in the record before anything else. It is worked
//! at by a task of its own: a caller that hangs up, and then repeats it, must find
//! the answer.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;

use super::error::{ApiError, Result};
use super::{Web, body};
use crate::store::idempotency::{self, Claim, Earlier};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// No request is at work for longer, in seconds: whoever is older was cut off.
const CUT_OFF: f64 = 60.0;

/// Sees to it that a POST with a key is done once.
///
/// # Errors
/// If the key is none, was used for another request, or its request is not answered.
pub async fn once(State(web): State<Web>, request: Request, next: Next) -> Result<Response> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(key) = key(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (parts, content) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), content);
    let content = body::bytes(whole, &()).await?;
    // Bodies hold passwords: without the deployment's key, the digest tells nothing.
    let asked = [query.as_bytes(), b"\0", &content].concat();
    let digest = web.config.secret_key.digest(&asked, "idempotency");
    let claim = {
        let mut db = web.pool.acquire().await?;
        idempotency::claim(&mut db, &key, &path, &digest).await?
    };
    match claim {
        Claim::Before(earlier) => again(earlier, &digest),
        Claim::Ours(at) => {
            let request = Request::from_parts(parts, Body::from(content));
            let ours = Ours { web, key, path, at };
            let work = tokio::spawn(ours.answer(request, next));
            work.await.map_err(|_| ApiError::internal())
        }
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut given = headers.get_all(KEY).iter();
    let (Some(key), None) = (given.next(), given.next()) else {
        return if headers.contains_key(KEY) {
            Err(wrong_key())
        } else {
            Ok(None)
        };
    };
    let visible = key.as_bytes().iter().all(u8::is_ascii_graphic);
    match key.to_str() {
        Ok(text) if visible && (1..=255).contains(&text.len()) => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => Err(wrong_key()),
    }
}

fn wrong_key() -> ApiError {
    let message = "Idempotency-Key must be given once, with 1 to 255 visible ASCII characters, \
                   such as a UUID";
    ApiError::bad_request("invalid_idempotency_key", message)
}

/// The answer to a request whose key was used before.
fn again(earlier: Earlier, digest: &[u8]) -> Result<Response> {
    if earlier.digest != digest {
        let message = "this Idempotency-Key was used with another body; a new request needs a \
                       new key";
        return Err(ApiError::unprocessable("idempotency_key_reused", message));
    }
    let status = earlier.status.and_then(|s| u16::try_from(s).ok());
    let status = status.and_then(|s| StatusCode::from_u16(s).ok());
    let Some(status) = status else {
        let message = if earlier.age_s < CUT_OFF {
            "the first request with this Idempotency-Key is still at work; ask again in a moment"
        } else {
            "the first request with this Idempotency-Key was cut off, and nobody knows whether it \
             was done; look, and if it was not, repeat it with a new key"
        };
        return Err(ApiError::conflict("in_progress", message));
    };
    let mut response = match earlier.answer {
        Some(answer) => (status, axum::Json(answer)).into_response(),
        None => status.into_response(),
    };
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert(REPLAYED, yes);
    Ok(response)
}

/// A key that is ours to answer.
struct Ours {
    web: Web,
    key: String,
    path: String,
    at: DateTime<Utc>,
}

impl Ours {
    async fn answer(self, request: Request, next: Next) -> Response {
        // One more task, so that a panic ends with the key free again.
        let response = match tokio::spawn(next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!("a handler panicked");
                ApiError::internal().into_response()
            }
        };
        let status = response.status();
        // A 403 is about who asks or how web was started, not about what was asked:
        // whoever may, or after that was changed, does it under the same key.
        if status.is_server_error() || status == StatusCode::FORBIDDEN {
            self.take_back().await;
            return response;
        }
        let (parts, content) = response.into_parts();
        // Our own answers are in memory already.
        let content = to_bytes(content, usize::MAX).await.unwrap_or_default();
        let answer = serde_json::from_slice(&content).unwrap_or(Value::Null);
        if let Err(error) = self.keep(status, &answer).await {
            tracing::warn!(%error, "the answer to a request with an Idempotency-Key is lost");
            // What was refused may as well be asked again. What was done stays
            // claimed: whoever repeats it is told to look.
            if status.is_client_error() {
                self.take_back().await;
            }
        }
        Response::from_parts(parts, Body::from(content))
    }

    async fn keep(&self, status: StatusCode, answer: &Value) -> sqlx::Result<()> {
        let mut db = self.web.pool.acquire().await?;
        let ours = (&*self.key, &*self.path, self.at);
        idempotency::keep(&mut db, ours, status.as_u16(), answer).await
    }

    /// Nothing was done, so the same key may try again; if the database is away,
    /// as soon as it is back.
    async fn take_back(self) {
        if self.try_take_back().await.is_ok() {
            return;
        }
        tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(2)).await;
                if self.try_take_back().await.is_ok() {
                    return;
                }
            }
        });
    }

    async fn try_take_back(&self) -> sqlx::Result<()> {
        let mut db = self.web.pool.acquire().await?;
        idempotency::take_back(&mut db, (&*self.key, &*self.path, self.at)).await
    }
}
