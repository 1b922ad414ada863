//! The ring's numbers for Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use tokio::time::timeout;

use super::Web;
use super::error::{ApiError, Result};
use crate::api::count;
use crate::model::{
    IncidentKind, IncidentState, Kind, MessageState, Mode, OperationKind, State as SubjectState,
};
use crate::store::queue::Queue;
use crate::store::ring::Ring;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Counts = Family<Labels, Gauge>;

/// How long the database may take over the numbers.
const LIMIT: Duration = Duration::from_secs(5);

/// `GET /metrics`. It answers without the database too, and says so: a scrape
/// that fails would look like a dead web process.
pub async fn show(State(web): State<Web>) -> Result<impl IntoResponse> {
    let ring = match timeout(LIMIT, web.ring.recent(&web.pool)).await {
        Ok(Ok(ring)) => Some(ring),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the ring's numbers cannot be read");
            None
        }
        Err(_) => {
            tracing::warn!(limit = ?LIMIT, "the ring's numbers take too long");
            None
        }
    };
    let text = write(ring.as_ref()).map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text))
}

fn write(ring: Option<&Ring>) -> std::result::Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("drover");
    gauge(
        &mut registry,
        "database_up",
        "1 if the control database answered",
        ring.is_some().into(),
    );
    if let Some(ring) = ring {
        register(&mut registry, ring);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register(registry: &mut Registry, ring: &Ring) {
    let subjects = counts(registry, "subjects", "Live subjects by kind and state");
    for kind in Kind::ALL {
        for state in SubjectState::ALL {
            let (kind, state) = (kind.as_str(), state.as_str());
            let n = count(&ring.herd, kind, state);
            set(&subjects, &[("kind", kind), ("state", state)], n);
        }
    }
    let tokens = counts(registry, "tokens", "Jobs in the queues by queue and status");
    for queue in Queue::ALL {
        for status in ["Pending", "Queued"] {
            set(&tokens, &[("queue", queue.as_str()), ("status", status)], 0);
        }
    }
    for (queue, statuses) in &ring.queues {
        for (status, n) in statuses {
            set(&tokens, &[("queue", queue), ("status", status)], *n);
        }
    }
    let workers = counts(registry, "workers", "Workers alive by queue");
    for queue in Queue::ALL {
        let n = ring.workers.get(queue.as_str()).copied();
        set(
            &workers,
            &[("queue", queue.as_str())],
            n.unwrap_or_default(),
        );
    }
    let messages = counts(
        registry,
        "messages",
        "Messages to people by state; of the delivered those of the last day",
    );
    for (state, n) in [
        (MessageState::Pending, ring.messages.pending),
        (MessageState::Delivered, ring.messages.delivered),
        (MessageState::Dead, ring.messages.dead),
    ] {
        set(&messages, &[("state", state.as_str())], n);
    }
    incidents(registry, ring);
    operations(registry, ring);
    modes(registry, ring);
    orphans(registry, ring);
    gauge(
        registry,
        "live_subjects",
        "Subjects in the herd",
        ring.live_subjects,
    );
    gauge(
        registry,
        "tokens_astray",
        "Live subjects without a token and tokens without a live subject; 0 in a healthy ring",
        ring.astray,
    );
    gauge(
        registry,
        "clock_leads",
        "1 if a clock leads",
        ring.clock_leads.into(),
    );
    gauge(
        registry,
        "tokens_ahead",
        "Tokens of subjects that are due later than any cadence lets them be; 0 in a healthy ring",
        ring.ahead,
    );
    gauge(
        registry,
        "laps_last_minute",
        "Observations written in the last minute",
        ring.laps_last_minute,
    );
    if let Some(age) = ring.oldest_observation_s {
        let oldest = Gauge::<f64, AtomicU64>::default();
        oldest.set(age);
        registry.register(
            "oldest_observation_seconds",
            "Age of the oldest among the newest observations of each live subject",
            oldest,
        );
    }
}

fn incidents(registry: &mut Registry, ring: &Ring) {
    let incidents = counts(registry, "incidents", "Open incidents by kind and state");
    let open = IncidentState::ALL
        .iter()
        .filter(|state| **state != IncidentState::Resolved);
    for state in open {
        for kind in IncidentKind::ALL {
            let (kind, state) = (kind.as_str(), state.as_str());
            let n = count(&ring.incidents, kind, state);
            set(&incidents, &[("kind", kind), ("state", state)], n);
        }
    }
}

fn operations(registry: &mut Registry, ring: &Ring) {
    let open = counts(
        registry,
        "operations_open",
        "Open operations by kind, and whether they are stuck",
    );
    for kind in OperationKind::ALL {
        for (stuck, which) in [("false", "open"), ("true", "stuck")] {
            let n = count(&ring.operations, kind.as_str(), which);
            set(&open, &[("kind", kind.as_str()), ("stuck", stuck)], n);
        }
    }
}

fn modes(registry: &mut Registry, ring: &Ring) {
    let modes = counts(
        registry,
        "mode",
        "1 for the herd's mode; of tiers and subjects how many were set to it",
    );
    for mode in Mode::ALL {
        let herd = i64::from(ring.mode == *mode);
        set(&modes, &[("scope", "herd"), ("mode", mode.as_str())], herd);
    }
    for scope in ["tier", "subject"] {
        for mode in [Mode::Advise, Mode::Hold] {
            let n = count(&ring.modes, scope, mode.as_str());
            set(&modes, &[("scope", scope), ("mode", mode.as_str())], n);
        }
    }
}

fn orphans(registry: &mut Registry, ring: &Ring) {
    let orphans = counts(
        registry,
        "orphans",
        "Instances and volumes with this deployment's mark that are nobody's",
    );
    for found in &ring.orphans {
        let labels = [
            ("cloud", found.cloud.as_str()),
            ("region", found.region.as_str()),
            ("sort", found.sort.as_str()),
        ];
        set(&orphans, &labels, found.count);
    }
}

fn counts(registry: &mut Registry, name: &str, help: &str) -> Counts {
    let family = Counts::default();
    registry.register(name, help, family.clone());
    family
}

fn set(counts: &Counts, labels: &[(&'static str, &str)], n: i64) {
    let labels: Labels = labels.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    counts.get_or_create(&labels).set(n);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}
