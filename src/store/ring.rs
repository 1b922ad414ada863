//! The ring's numbers, as `/v1/ring`, `/metrics` and `/healthz` tell them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};

use super::operations::{self, AtWork};
use super::{incidents, modes, orphans, outbox, queue, subjects};
use crate::model::Mode;

/// How many operations the page shows one by one.
const AT_WORK: i64 = 20;

/// How the ring stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Subjects in the herd.
    pub live_subjects: i64,
    /// Their tokens; equal to `live_subjects` at any moment.
    pub tokens: i64,
    /// Live subjects without a token, plus tokens without a live subject: 0.
    pub astray: i64,
    /// Tokens by queue, then by status (`Pending`, `Queued`).
    pub queues: BTreeMap<String, BTreeMap<String, i64>>,
    /// Observations written in the last minute: one for each lap.
    pub laps_last_minute: i64,
    /// Age in seconds of the oldest among the newest observations of each live
    /// subject, the ring's promise; null for an empty herd. A subject not yet
    /// seen counts from its adoption.
    pub oldest_observation_s: Option<f64>,
    /// Workers alive by queue.
    pub workers: BTreeMap<String, i64>,
    /// Live subjects by kind, then by state.
    pub herd: BTreeMap<String, BTreeMap<String, i64>>,
    /// How the messages to people stand.
    pub messages: outbox::Standing,
    /// Open incidents by kind, then by state.
    pub incidents: BTreeMap<String, BTreeMap<String, i64>>,
    /// Open operations by kind: those that go on (`open`), and those that are `stuck`.
    pub operations: BTreeMap<String, BTreeMap<String, i64>>,
    /// The foremost of them, for the page.
    #[serde(skip)]
    pub at_work: Vec<AtWork>,
    /// What resolvers may do at most: the herd's mode.
    pub mode: Mode,
    /// How many tiers and subjects were set to a mode of their own: by `tier` and
    /// `subject`, then by mode.
    pub modes: BTreeMap<String, BTreeMap<String, i64>>,
    /// What the clouds have that is nobody's, by region and sort, noughts included.
    pub orphans: Vec<orphans::Count>,
}

/// Reads the ring's numbers in one snapshot, so that they fit each other.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Ring> {
    let mut db = super::snapshot(pool).await?;
    let ring = numbers(&mut db).await?;
    db.rollback().await?;
    Ok(ring)
}

/// Reads the ring's numbers, in one snapshot if called in a transaction that is
/// `repeatable read`.
pub async fn numbers(db: &mut PgConnection) -> sqlx::Result<Ring> {
    let queues = by_two(queue::count_tokens(db).await?);
    let herd = by_two(subjects::count_by_state(db).await?);
    let incidents = by_two(incidents::count_open(db).await?);
    let mut modes = by_two(modes::count(db).await?);
    let of_herd = modes.remove("herd").unwrap_or_default();
    let mode = of_herd.keys().find_map(|mode| mode.parse().ok());
    let tokens = queue::token_census(db).await?;
    let laps_last_minute: i64 = sqlx::query_scalar(
        "select count(*) from observations where created_at > now() - interval '1 minute'",
    )
    .fetch_one(&mut *db)
    .await?;
    Ok(Ring {
        live_subjects: tokens.subjects,
        tokens: tokens.tokens,
        astray: tokens.astray,
        queues,
        laps_last_minute,
        oldest_observation_s: tokens.oldest_observation_s,
        workers: queue::count_workers(db).await?.into_iter().collect(),
        herd,
        messages: outbox::standing(db).await?,
        incidents,
        operations: by_two(operations::count_open(db).await?),
        at_work: operations::at_work(db, AT_WORK).await?,
        mode: mode.unwrap_or(Mode::Act),
        modes,
        orphans: orphans::count(db).await?,
    })
}

/// Counts by their first word, then by their second.
fn by_two(counts: Vec<(String, String, i64)>) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut map: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (first, second, n) in counts {
        map.entry(first).or_default().insert(second, n);
    }
    map
}
