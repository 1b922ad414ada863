//! What the clouds have that bears this deployment's mark and is nobody's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;

use crate::model::Cloud;

/// An orphan.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct Orphan {
    /// Which cloud.
    pub cloud: Cloud,
    /// In which region of it.
    pub region: String,
    /// `instance` or `volume`.
    pub sort: String,
    /// What the cloud calls it.
    pub id: String,
    /// `how` it is, whose `mark` it bears and `why` it is an orphan.
    pub detail: Value,
    /// When it was seen first.
    pub first_seen_at: DateTime<Utc>,
    /// When it was seen last.
    pub last_seen_at: DateTime<Utc>,
}
