//! The ring's numbers, as `/v1/ring`, `/metrics` and `/healthz` tell them.

use std::ops::Deref;

use sqlx::{PgConnection, PgPool};

use super::operations::{self, AtWork};
use super::statement::only_value;
use super::{incidents, lead, modes, orphans, outbox, queue, subjects};
use crate::api::{self, Counts};
use crate::model::Mode;

/// How many operations the page shows one by one.
const AT_WORK: i64 = 20;

/// How the ring stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Ring {
    /// Its numbers.
    pub numbers: api::Ring,
    /// The foremost of its open operations, for the page.
    pub at_work: Vec<AtWork>,
}

impl Deref for Ring {
    type Target = api::Ring;

    fn deref(&self) -> &api::Ring {
        &self.numbers
    }
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
    let sql = "select count(*) from observations
               where created_at > now() - interval '1 minute'
                 and created_at < now() + interval '5 seconds'";
    let laps_last_minute: i64 = only_value(db, sql, ()).await?;
    let numbers = api::Ring {
        live_subjects: tokens.subjects,
        tokens: tokens.tokens,
        astray: tokens.astray,
        ahead: tokens.ahead,
        queues,
        laps_last_minute,
        oldest_observation_s: tokens.oldest_observation_s,
        workers: queue::count_workers(db).await?.into_iter().collect(),
        herd,
        messages: outbox::standing(db).await?,
        incidents,
        operations: by_two(operations::count_open(db).await?),
        mode: mode.unwrap_or(Mode::Act),
        modes,
        clock_leads: lead::is_held(db).await?,
        orphans: orphans::count(db).await?,
    };
    let at_work = operations::at_work(db, AT_WORK).await?;
    Ok(Ring { numbers, at_work })
}

/// Counts by their first word, then by their second.
fn by_two(counts: Vec<(String, String, i64)>) -> Counts {
    let mut map = Counts::new();
    for (first, second, n) in counts {
        map.entry(first).or_default().insert(second, n);
    }
    map
}
