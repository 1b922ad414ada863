//! What resolvers may do: set for the herd, a tier or a subject; the most
//! cautious of the three holds.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::subjects::decode;
use crate::model::{Mode, SubjectId};

/// A mode that was set.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Set {
    /// `herd`, `tier:<name>` or `subject:<bare id>`.
    pub scope: String,
    /// What holds there.
    pub mode: String,
    /// Why, in the words of who set it.
    pub reason: String,
    /// When.
    pub set_at: DateTime<Utc>,
}

/// All that were set, the herd's first.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<Set>> {
    sqlx::query_as("select scope, mode, reason, set_at from modes order by scope <> 'herd', scope")
        .fetch_all(db)
        .await
}

/// Sets one; `act` is the same as none and takes it out.
pub async fn set(db: &mut PgConnection, scope: &str, mode: Mode, reason: &str) -> sqlx::Result<()> {
    if mode == Mode::Act {
        sqlx::query("delete from modes where scope = $1")
            .bind(scope)
            .execute(db)
            .await?;
        return Ok(());
    }
    sqlx::query(
        "insert into modes (scope, mode, reason) values ($1, $2, $3)
         on conflict (scope) do update
         set mode = excluded.mode, reason = excluded.reason, set_at = now()",
    )
    .bind(scope)
    .bind(mode.as_str())
    .bind(reason)
    .execute(db)
    .await?;
    Ok(())
}

/// The mode that holds for a subject; for a resource its server's counts too.
/// `None` asks for the herd's.
pub async fn effective(db: &mut PgConnection, subject: Option<SubjectId>) -> sqlx::Result<Mode> {
    let word: String = sqlx::query_scalar(
        "with involved as (
             select s.id, s.tier from subjects s
             where s.id = $1 or s.id = (select server_id from resources where id = $1))
         select coalesce(max(m.mode) filter (where m.mode = 'hold'),
                         max(m.mode) filter (where m.mode = 'advise'), 'act')
         from modes m
         where m.scope = 'herd'
            or m.scope in (select 'tier:' || tier from involved)
            or m.scope in (select 'subject:' || id from involved)",
    )
    .bind(subject.map(|id| id.to_string()))
    .fetch_one(db)
    .await?;
    decode(word)
}
