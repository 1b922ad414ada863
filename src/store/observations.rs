//! Observations: append-only, written by the queue's own step (`queue.rs`), read
//! here.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use super::subjects::decode;
use crate::model::{Attributes, Observation, ObservationId, SubjectId};

#[derive(FromRow)]
pub(super) struct Row {
    id: String,
    created_at: DateTime<Utc>,
    worker: String,
    feelers: i16,
    attributes: Json<Attributes>,
}

impl Row {
    pub(super) fn into_observation(self) -> sqlx::Result<Observation> {
        Ok(Observation {
            id: decode(self.id)?,
            created_at: self.created_at,
            worker: self.worker,
            feelers: u16::try_from(self.feelers).unwrap_or_default(),
            attributes: self.attributes.0,
        })
    }
}

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
    let rows: Vec<Row> = sqlx::query_as(
        "select id, created_at, worker, feelers, attributes from observations
         where subject_id = $1
           and ($2::timestamptz is null or (created_at, id) < ($2, $3))
         order by created_at desc, id desc
         limit $4",
    )
    .bind(subject.to_string())
    .bind(before.map(|b| b.created_at))
    .bind(before.map(|b| b.id.to_string()).unwrap_or_default())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::into_observation).collect()
}

/// The newest observation of each of these subjects that was seen in the last day.
pub async fn newest(
    db: &mut PgConnection,
    subjects: &[SubjectId],
) -> sqlx::Result<Vec<(SubjectId, Observation)>> {
    #[derive(FromRow)]
    struct Newest {
        subject_id: String,
        #[sqlx(flatten)]
        row: Row,
    }
    let ids: Vec<String> = subjects.iter().map(SubjectId::to_string).collect();
    let rows: Vec<Newest> = sqlx::query_as(
        "select w.id as subject_id, o.*
         from unnest($1::text[]) as w (id)
         cross join lateral (
             select o.id, o.created_at, o.worker, o.feelers, o.attributes from observations o
             where o.subject_id = w.id and o.created_at > now() - interval '1 day'
             order by o.created_at desc, o.id desc
             limit 1) o",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| Ok((decode(r.subject_id)?, r.row.into_observation()?)))
        .collect()
}
