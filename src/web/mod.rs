//! The web: the API below `/v1`, and what operators look at without a token.
//!
//! Architecture Invariant: it reads and writes the record, and nothing else. It
//! cannot reach a server or a database of the herd; where an answer needs such
//! a look, it waits for what a worker writes.

mod act;
mod adopt;
mod auth;
mod body;
mod change;
mod check;
mod create;
mod credentials;
mod destroy;
mod error;
mod events;
mod first_contact;
mod followers;
mod gameday;
mod health;
mod idempotency;
mod incident_views;
mod incidents;
mod jobs;
mod json;
mod messages;
mod metrics;
mod modes;
mod operation_views;
mod operations;
mod orphans;
mod page;
mod params;
mod place;
mod plans;
mod record;
#[cfg(test)]
mod requests_tests;
mod resolvers;
mod resources;
mod ring;
mod servers;
mod subjects;
mod tiers;
mod url;
mod views;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::WebConfig;
use error::ApiError;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long answers under way may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// What every handler works with.
#[derive(Clone)]
pub struct Web {
    pool: PgPool,
    config: Arc<WebConfig>,
    ring: Arc<ring::Numbers>,
}

impl Web {
    /// On this control database, with these settings.
    pub fn new(pool: PgPool, config: WebConfig) -> Self {
        Self {
            pool,
            config: Arc::new(config),
            ring: Arc::default(),
        }
    }
}

/// Listens where the settings say, and serves until the shutdown.
///
/// # Errors
/// If it cannot listen there.
pub async fn run(
    pool: PgPool,
    config: WebConfig,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listen = config.listen.clone();
    let listener = TcpListener::bind(&listen)
        .await
        .with_context(|| format!("cannot listen on {listen} (DROVER_BIND, PORT)"))?;
    tracing::info!(%listen, "drover web listens");
    serve(listener, Web::new(pool, config), shutdown).await
}

/// Serves on a socket until the shutdown, then lets answers under way end.
///
/// # Errors
/// If the socket fails.
pub async fn serve(
    listener: TcpListener,
    web: Web,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let server = axum::serve(listener, router(web))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended.context("serving HTTP"),
        () = too_late => Ok(()),
    }
}

/// All routes.
pub fn router(web: Web) -> Router {
    let api = Router::new()
        .nest("/servers", servers::routes())
        .nest("/resources", resources::routes())
        .nest("/ring", ring::routes())
        .nest("/jobs", jobs::routes())
        .nest("/tiers", tiers::routes())
        .nest("/messages", messages::routes())
        .nest("/incidents", incidents::routes())
        .nest("/resolvers", resolvers::routes())
        .nest("/modes", modes::routes())
        .nest("/plans", plans::routes())
        .nest("/regions", plans::region_routes())
        .nest("/orphans", orphans::routes())
        .nest("/operations", operations::routes())
        .nest("/events", events::routes())
        .nest("/record", record::routes())
        .nest("/gameday", gameday::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(
            web.clone(),
            idempotency::once,
        ))
        // Whoever has no token learns not even which paths there are.
        .layer(middleware::from_fn_with_state(web.clone(), auth::require));
    Router::new()
        .route("/", get(page::show))
        .route("/healthz", get(health::show))
        .route("/metrics", get(metrics::show))
        .nest("/v1", api)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(body::LARGEST))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(within_patience))
        .layer(middleware::from_fn(safe_headers))
        .with_state(web)
}

async fn no_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    ApiError::not_found(format!(
        "there is nothing at {path}; docs/api.md lists what there is"
    ))
}

async fn no_method(method: Method) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} is not possible here; the Allow header says what is"),
    )
}

/// The panic's own message stays in the process's log: it could hold anything.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    ApiError::internal().into_response()
}

async fn within_patience(request: Request, next: Next) -> Response {
    match timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            format!(
                "this took longer than {PATIENCE:?} and was given up; look before you repeat it"
            ),
        )
        .into_response(),
    }
}

async fn safe_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let always: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(nothing);
    response
}
