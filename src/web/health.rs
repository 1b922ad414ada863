//! Whether drover keeps its promise: the database answers, every live subject
//! was seen within the minute, and no token is lost, extra or due too late.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tokio::time::timeout;

use super::Web;
use crate::api::{Health, HealthStatus};
use crate::store::ring::Ring;

/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How old the oldest observation may be, in seconds.
const OLDEST_S: f64 = 60.0;
/// How long a message may wait, in seconds.
const UNTOLD_S: f64 = 300.0;

/// `GET /healthz`.
pub async fn show(State(web): State<Web>) -> (StatusCode, Json<Health>) {
    let health = match timeout(PATIENCE, web.ring.recent(&web.pool)).await {
        Ok(Ok(ring)) => match complaints(&ring) {
            none if none.is_empty() => health(HealthStatus::Degraded, Some(&ring), worries(&ring)),
            broken => health(
                HealthStatus::Failing,
                Some(&ring),
                [broken, worries(&ring)].concat(),
            ),
        },
        Ok(Err(error)) => {
            tracing::warn!(%error, "the control database could not tell the ring's numbers");
            health(
                HealthStatus::Failing,
                None,
                vec!["the control database does not answer as it should".into()],
            )
        }
        Err(_) => {
            let why = format!("the control database did not answer within {PATIENCE:?}");
            health(HealthStatus::Failing, None, vec![why])
        }
    };
    let status = if health.status == HealthStatus::Failing {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (status, Json(health))
}

/// In this state, if there are reasons.
fn health(state: HealthStatus, ring: Option<&Ring>, reasons: Vec<String>) -> Health {
    Health {
        status: match reasons.is_empty() {
            true => HealthStatus::Ok,
            false => state,
        },
        reasons,
        live_subjects: ring.map(|r| r.live_subjects),
        tokens: ring.map(|r| r.tokens),
        oldest_observation_s: ring.and_then(|r| r.oldest_observation_s),
        mode: ring.map(|r| r.mode),
        open_incidents: ring.map(|r| r.incidents.values().flat_map(|s| s.values()).sum()),
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
            "{} tokens are lost or extra ({} live subjects, {} tokens); the clock mends this: is it running?",
            ring.astray, ring.live_subjects, ring.tokens
        ));
    }
    if ring.ahead != 0 {
        why.push(format!(
            "{} tokens are due later than any cadence lets them be: the control database's clock \
             was set back; drover's clock mends this: is it running?",
            ring.ahead
        ));
    }
    why
}

/// What somebody should see to, though the ring's promise is kept.
pub fn worries(ring: &Ring) -> Vec<String> {
    let mut why = Vec::new();
    if !ring.clock_leads {
        why.push("no clock leads; is `drover clock` running?".into());
    }
    let messages = &ring.messages;
    if messages.dead > 0 {
        let error = messages.last_error.as_deref().unwrap_or("no reason given");
        why.push(format!(
            "{} messages to people are dead, the last one because of: {error}; \
             see `drover messages --dead`, mend that, then `drover message retry ID`",
            messages.dead
        ));
    }
    if let Some(age) = messages.oldest_pending_s.filter(|age| *age > UNTOLD_S) {
        why.push(format!(
            "a message to people has been waiting for {age:.0} s; are `notify` workers alive, \
             and can they reach their providers? see `drover messages`"
        ));
    }
    why
}
