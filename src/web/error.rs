//! What a caller is told when something is wrong.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::{ErrorAnswer, Refusal};
use crate::model::SealError;

/// A refusal or a failure: `{"error":{"code","message","field"}}`.
///
/// Architecture Invariant: nothing that a caller sent as a value is repeated in
/// a message, except names, ids and the like that were checked before; so no
/// message can hold a secret.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
}

/// The outcome of a handler.
pub type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// An error; `message` says what to do about it.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
        }
    }

    /// The request cannot be read at all.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// What it names is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// It clashes with what is there.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// One field of the body is wrong.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::unprocessable("invalid_field", message).field(field)
    }

    /// The request can be read, but not done.
    pub fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// Something of ours broke; the log has the reason, the caller has not.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "drover failed at this; its log says why",
        )
    }

    /// Says more; `more` goes on behind the message.
    #[must_use]
    pub fn and(mut self, more: impl AsRef<str>) -> Self {
        self.message.push_str(more.as_ref());
        self
    }

    /// Names the field of the body, or the parameter, that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = Refusal {
            code: self.code.into(),
            message: self.message,
            field: self.field,
        };
        let mut response = (self.status, Json(ErrorAnswer { error })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) {
            tracing::warn!(%error, "the control database does not answer");
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database_unavailable",
                "the control database does not answer; nothing was changed, try again",
            );
        }
        tracing::error!(%error, "a request failed in the control database");
        Self::internal()
    }
}

impl From<SealError> for ApiError {
    fn from(error: SealError) -> Self {
        tracing::error!(%error, "a secret could not be sealed");
        Self::internal()
    }
}

/// Whether the database was away, rather than asked something wrong.
fn is_outage(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        // 57P0x: it is being shut down or started; 53300: no connection left
        Some(e) => e
            .code()
            .is_some_and(|c| c.starts_with("57P0") || c == "53300"),
        None => matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }

    /// Between two words of a sentence stands one blank. Where a line of the source was
    /// broken without a backslash and joined again, its indentation stays in the message.
    #[test]
    fn no_message_has_a_run_of_blanks() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for dir in ["src", "jobs"] {
            sources(&here.join(dir), &mut files);
        }
        let mut found = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (n, line) in text.lines().enumerate() {
                let word = |part: &str| part.chars().any(char::is_alphabetic);
                let run = line.trim().split_once("    ");
                let within = run.is_some_and(|(before, after)| {
                    before.contains('"') && word(before) && word(after)
                });
                if within {
                    found.push(format!("{}:{}", file.display(), n + 1));
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
