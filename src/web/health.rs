//! Whether drover keeps its promise: the database answers, every live subject
//! was seen within the minute, and no token is astray.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;

use super::Web;
use crate::model::Mode;
use crate::store::ring::Ring;

/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How old the oldest observation may be, in seconds.
const OLDEST_S: f64 = 60.0;

/// What `/healthz` says.
#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    /// Why it is not ok; empty when it is.
    reasons: Vec<String>,
    live_subjects: Option<i64>,
    tokens: Option<i64>,
    oldest_observation_s: Option<f64>,
    /// What resolvers may do at most. Another mode than `act` is somebody's will
    /// and no failure.
    mode: Option<Mode>,
    open_incidents: Option<i64>,
}

/// `GET /healthz`.
pub async fn show(State(web): State<Web>) -> (StatusCode, Json<Health>) {
    let health = match timeout(PATIENCE, web.ring.recent(&web.pool)).await {
        Ok(Ok(ring)) => Health::new(Some(&ring), complaints(&ring)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the control database could not tell the ring's numbers");
            Health::new(
                None,
                vec!["the control database does not answer as it should".into()],
            )
        }
        Err(_) => {
            let why = format!("the control database did not answer within {PATIENCE:?}");
            Health::new(None, vec![why])
        }
    };
    let status = if health.reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

impl Health {
    fn new(ring: Option<&Ring>, reasons: Vec<String>) -> Self {
        Self {
            status: if reasons.is_empty() { "ok" } else { "failing" },
            reasons,
            live_subjects: ring.map(|r| r.live_subjects),
            tokens: ring.map(|r| r.tokens),
            oldest_observation_s: ring.and_then(|r| r.oldest_observation_s),
            mode: ring.map(|r| r.mode),
            open_incidents: ring.map(|r| r.incidents.values().flat_map(|s| s.values()).sum()),
        }
    }
}

/// What is wrong with the ring; nothing in a healthy one.
pub fn complaints(ring: &Ring) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(age) = ring.oldest_observation_s.filter(|age| *age >= OLDEST_S) {
        why.push(format!(
            "the oldest observation is {age:.0} s old, more than the {OLDEST_S} s promised; \
             are `feel` and `think` workers alive?"
        ));
    }
    if ring.astray != 0 {
        why.push(format!(
            "{} tokens are astray ({} live subjects, {} tokens); the clock mends this, does it run?",
            ring.astray, ring.live_subjects, ring.tokens
        ));
    }
    why
}
