//! Observations: append-only, written by the queue's own step (`queue.rs`), read
//! here. The newest is the newest that is not still to come: one that is was written before the
//! database's clock was set back.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::statement::{row, rows};
use crate::model::{Observation, ObservationId, SubjectId};

/// Where a page of observations ended: the next begins before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// When the last one shown was written.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: ObservationId,
}

/// A subject's observations, newest first.
pub async fn list(
    db: &mut PgConnection,
    subject: SubjectId,
    before: Option<Before>,
    limit: i64,
) -> sqlx::Result<Vec<Observation>> {
    let values = (
        subject,
        before.map(|b| b.created_at),
        before.map(|b| b.id),
        limit,
    );
    let sql = "select id, created_at, worker, feelers, attributes from observations
               where subject_id = $1
                 and ($2::timestamptz is null or (created_at, id) < ($2, $3))
               order by created_at desc, id desc
               limit $4";
    rows(db, sql, values).await
}

/// The newest observation of a leader in service that says where its WAL ended, within a
/// day.
pub async fn last_led(
    db: &mut PgConnection,
    leader: SubjectId,
) -> sqlx::Result<Option<Observation>> {
    let sql = "select id, created_at, worker, feelers, attributes from observations
               where subject_id = $1 and created_at > now() - interval '1 day'
                 and created_at < now() + interval '5 seconds'
                 and (attributes ->> 'service_available')::bool
                 and attributes ->> 'lsn' is not null
                 and (attributes ->> 'in_recovery')::bool is false
               order by created_at desc, id desc limit 1";
    row(db, sql, [leader]).await
}

/// The newest observation of each of these subjects that was seen in the last day.
pub async fn newest(
    db: &mut PgConnection,
    subjects: &[SubjectId],
) -> sqlx::Result<Vec<(SubjectId, Observation)>> {
    #[derive(FromRow)]
    struct Newest {
        subject_id: SubjectId,
        #[sqlx(flatten)]
        seen: Observation,
    }
    let sql = "select w.id as subject_id, o.*
               from unnest($1::text[]) as w (id)
               cross join lateral (
                   select o.id, o.created_at, o.worker, o.feelers, o.attributes from observations o
                   where o.subject_id = w.id and o.created_at > now() - interval '1 day'
                     and o.created_at < now() + interval '5 seconds'
                   order by o.created_at desc, o.id desc
                   limit 1) o";
    let rows: Vec<Newest> = rows(db, sql, [subjects]).await?;
    let newest = rows.into_iter();
    Ok(newest.map(|row| (row.subject_id, row.seen)).collect())
}
