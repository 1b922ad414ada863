//! Transitions: append-only, written by the queue's own step (`queue.rs`), read
//! here.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::statement::Bind;
use crate::model::{IncidentKind, ObservationId, State, SubjectId, TransitionId};

/// One change of state.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Transition {
    /// Its id, a bare ULID.
    pub id: TransitionId,
    /// When, by the control database's clock.
    pub created_at: DateTime<Utc>,
    /// The state that was left.
    pub from_state: State,
    /// The state that was entered.
    pub to_state: State,
    /// Why, for people.
    pub reason: String,
    /// The observation that caused it; `None`: an operation did.
    pub observation_id: Option<ObservationId>,
    /// The kind of incident this change called for, if any.
    pub opens: Option<IncidentKind>,
    /// The worker that thought so.
    pub worker: String,
}

/// A subject's transitions, newest first, behind `before` if given.
pub async fn list(
    db: &mut PgConnection,
    subject: SubjectId,
    before: Option<TransitionId>,
    limit: i64,
) -> sqlx::Result<Vec<Transition>> {
    sqlx::query_as(
        "select id, created_at, from_state, to_state, reason, observation_id, opens, worker
         from transitions
         where subject_id = $1
           and ($2::text is null or (created_at, id) < (
               select b.created_at, b.id from transitions b where b.id = $2))
         order by created_at desc, id desc
         limit $3",
    )
    .bind_all((subject, before, limit))
    .fetch_all(db)
    .await
}
