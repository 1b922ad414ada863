//! Whether drover keeps its promise.

use serde::{Deserialize, Serialize};

use crate::model::Mode;

/// What `/healthz` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// In one word.
    pub status: HealthStatus,
    /// Why it is not ok; empty when it is.
    pub reasons: Vec<String>,
    /// Subjects in the herd; null, like the rest, if the database does not answer.
    pub live_subjects: Option<i64>,
    /// Their tokens.
    pub tokens: Option<i64>,
    /// Age in seconds of the oldest among the newest observations.
    pub oldest_observation_s: Option<f64>,
    /// What resolvers may do at most. Another mode than `act` is somebody's will and no
    /// failure.
    pub mode: Option<Mode>,
    /// Incidents that are open.
    pub open_incidents: Option<i64>,
}

/// How drover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All is well.
    Ok,
    /// The promise is kept, but somebody should see to something.
    Degraded,
    /// The promise is not kept.
    Failing,
}
