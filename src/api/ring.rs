//! The ring's numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::model::{Cloud, Mode};

/// Counts by one thing, then by another.
pub type Counts = BTreeMap<String, BTreeMap<String, i64>>;

/// How many there are of both; none where it is not said.
pub fn count(counts: &Counts, first: &str, second: &str) -> i64 {
    let found = counts.get(first).and_then(|counts| counts.get(second));
    found.copied().unwrap_or_default()
}

/// How the ring stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Subjects in the herd.
    pub live_subjects: i64,
    /// Their tokens; equal to `live_subjects` at any moment.
    pub tokens: i64,
    /// Live subjects without a token, plus tokens without a live subject: 0.
    pub astray: i64,
    /// Tokens of subjects that are due later than any cadence lets them be, because the
    /// control database's clock was set back: 0.
    #[serde(default)]
    pub ahead: i64,
    /// Tokens by queue, then by status (`Pending`, `Queued`).
    pub queues: Counts,
    /// Observations written in the last minute: one for each lap.
    pub laps_last_minute: i64,
    /// Age in seconds of the oldest among the newest observations of each live subject,
    /// the ring's promise; null for an empty herd. A subject not yet seen counts from its
    /// adoption.
    pub oldest_observation_s: Option<f64>,
    /// Workers alive by queue.
    pub workers: BTreeMap<String, i64>,
    /// Live subjects by kind, then by state.
    pub herd: Counts,
    /// How the messages to people stand.
    pub messages: MessageCounts,
    /// Open incidents by kind, then by state.
    pub incidents: Counts,
    /// Open operations by kind: those that go on (`open`), and those that are `stuck`.
    pub operations: Counts,
    /// What resolvers may do at most: the herd's mode.
    pub mode: Mode,
    /// How many tiers and subjects were set to a mode of their own: by `tier` and
    /// `subject`, then by mode.
    pub modes: Counts,
    /// Whether a clock leads: without one, nothing that is lost in the ring is mended.
    pub clock_leads: bool,
    /// What the clouds have that is nobody's, by region and sort, noughts included.
    pub orphans: Vec<OrphanCount>,
}

/// How the messages to people stand.
#[derive(Clone, Debug, Default, PartialEq, FromRow, Serialize, Deserialize)]
pub struct MessageCounts {
    /// Still to be sent.
    pub pending: i64,
    /// Since when the oldest of them waits, in seconds.
    pub oldest_pending_s: Option<f64>,
    /// Given up, and of their thread nothing later was delivered.
    pub dead: i64,
    /// What the newest of those met with.
    pub last_error: Option<String>,
    /// Delivered, of those written within a day.
    pub delivered: i64,
}

/// How many orphans of a sort there are in a region.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize, Deserialize)]
pub struct OrphanCount {
    /// Which cloud.
    pub cloud: Cloud,
    /// In which region of it.
    pub region: String,
    /// `instance` or `volume`.
    pub sort: String,
    /// How many.
    pub count: i64,
}
