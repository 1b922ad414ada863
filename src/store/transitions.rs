//! Transitions: append-only, written by the queue's own step (`queue.rs`), read
//! here.

use sqlx::PgConnection;

use super::statement::rows;
use crate::api::Transition;
use crate::model::{SubjectId, TransitionId};

/// A subject's transitions, newest first, behind `before` if given.
pub async fn list(
    db: &mut PgConnection,
    subject: SubjectId,
    before: Option<TransitionId>,
    limit: i64,
) -> sqlx::Result<Vec<Transition>> {
    let sql = "select 'tra_' || id as id, created_at, from_state as from, to_state as to, reason,
                      'obs_' || observation_id as observation, opens, worker
               from transitions
               where subject_id = $1
                 and ($2::text is null or (created_at, transitions.id) < (
                     select b.created_at, b.id from transitions b where b.id = $2))
               order by created_at desc, transitions.id desc
               limit $3";
    rows(db, sql, (subject, before, limit)).await
}
