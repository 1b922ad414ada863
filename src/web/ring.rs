//! The ring's numbers, read from the database at most once a second for
//! whoever may ask without a token: scrapes and open pages cannot hurt it.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::Web;
use super::error::Result;
use crate::api;
use crate::store::ring::{self, Ring};

/// How old a number may be that is shown without a token.
const FRESH: Duration = Duration::from_secs(1);

/// Everything below `/v1/ring`.
pub fn routes() -> Router<Web> {
    Router::new().route("/", get(show))
}

async fn show(State(web): State<Web>) -> Result<Json<api::Ring>> {
    Ok(Json(ring::snapshot(&web.pool).await?.numbers))
}

/// The numbers as they were last read.
#[derive(Default)]
pub struct Numbers(Mutex<Option<(Instant, Ring)>>);

impl Numbers {
    /// The numbers, at most a second old. Callers that come together share one
    /// reading.
    pub async fn recent(&self, pool: &PgPool) -> sqlx::Result<Ring> {
        let mut last = self.0.lock().await;
        if let Some((read, ring)) = last.as_ref()
            && read.elapsed() < FRESH
        {
            return Ok(ring.clone());
        }
        let ring = ring::snapshot(pool).await?;
        *last = Some((Instant::now(), ring.clone()));
        Ok(ring)
    }
}
