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
    Ok(Json(view(ring::snapshot(&web.pool).await?)))
}

fn view(ring: Ring) -> api::Ring {
    let orphans = ring.orphans.into_iter().map(|found| api::OrphanCount {
        cloud: found.cloud,
        region: found.region,
        sort: found.sort,
        count: found.count,
    });
    api::Ring {
        live_subjects: ring.live_subjects,
        tokens: ring.tokens,
        astray: ring.astray,
        queues: ring.queues,
        laps_last_minute: ring.laps_last_minute,
        oldest_observation_s: ring.oldest_observation_s,
        workers: ring.workers,
        herd: ring.herd,
        messages: api::MessageCounts {
            pending: ring.messages.pending,
            oldest_pending_s: ring.messages.oldest_pending_s,
            dead: ring.messages.dead,
            last_error: ring.messages.last_error,
            delivered: ring.messages.delivered,
        },
        incidents: ring.incidents,
        operations: ring.operations,
        mode: ring.mode,
        modes: ring.modes,
        orphans: orphans.collect(),
    }
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
