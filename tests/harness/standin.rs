//! What the stand-ins of other people's services have in common: a real HTTP server
//! on this machine, and moods.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::task::AbortHandle;

/// How a stand-in answers a request, if not as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// With this status, and without having looked.
    Status(u16),
    /// 429, and when to come again.
    TooMany {
        /// Seconds of the `Retry-After` header.
        retry_after: u64,
    },
    /// With a redirect to there.
    Redirect(&'static str),
    /// As it should, but only after this long.
    Slow(Duration),
}

/// A request as it came in.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A status and a JSON body.
pub(crate) type Said = (StatusCode, Value);

/// What one stand-in knows and does.
pub(crate) trait Role: Send + 'static {
    /// Looks at a request and answers it.
    fn answer(&mut self, asked: &Asked) -> Said;
}

struct Shared<R> {
    role: R,
    moods: VecDeque<Mood>,
    lasting: Mood,
}

/// A stand-in's server; it stops when this is dropped.
pub(crate) struct Server<R> {
    url: String,
    shared: Arc<Mutex<Shared<R>>>,
    serving: AbortHandle,
}

impl<R: Role> Server<R> {
    pub(crate) async fn start(role: R) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Mutex::new(Shared {
            role,
            moods: VecDeque::new(),
            lasting: Mood::Well,
        }));
        let router = Router::new()
            .fallback(handle::<R>)
            .with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            url,
            shared,
            serving: serving.abort_handle(),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn then(&self, moods: &[Mood]) {
        lock(&self.shared).moods.extend(moods);
    }

    pub(crate) fn henceforth(&self, mood: Mood) {
        lock(&self.shared).lasting = mood;
    }

    /// Looks at, or changes, what the stand-in knows.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut R) -> T) -> T {
        look(&mut lock(&self.shared).role)
    }
}

impl<R> Drop for Server<R> {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<R>(shared: &Mutex<Shared<R>>) -> MutexGuard<'_, Shared<R>> {
    shared.lock().unwrap_or_else(|e| e.into_inner())
}

async fn handle<R: Role>(
    State(shared): State<Arc<Mutex<Shared<R>>>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1024 * 1024).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body,
    };
    let (mood, (status, said)) = {
        let mut shared = lock(&shared);
        let mood = shared.moods.pop_front().unwrap_or(shared.lasting);
        let said = match mood {
            Mood::Well | Mood::Slow(_) => shared.role.answer(&asked),
            Mood::Status(_) | Mood::TooMany { .. } | Mood::Redirect(_) => {
                (StatusCode::OK, Value::Null)
            }
        };
        (mood, said)
    };
    match mood {
        Mood::Well => (status, axum::Json(said)).into_response(),
        Mood::Slow(wait) => {
            tokio::time::sleep(wait).await;
            (status, axum::Json(said)).into_response()
        }
        Mood::Status(status) => StatusCode::from_u16(status)
            .unwrap_or_default()
            .into_response(),
        Mood::TooMany { retry_after } => {
            let rest = [(header::RETRY_AFTER, retry_after.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, rest).into_response()
        }
        Mood::Redirect(to) => {
            let there = [(header::LOCATION, to)];
            (StatusCode::TEMPORARY_REDIRECT, there).into_response()
        }
    }
}

/// The request's body as a JSON object, if its content type says that it is one.
pub(crate) fn object(asked: &Asked) -> std::result::Result<serde_json::Map<String, Value>, String> {
    let kind = asked
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err("the content type is not application/json".into());
    }
    serde_json::from_slice(&asked.body).map_err(|_| "JSON parse error".into())
}
