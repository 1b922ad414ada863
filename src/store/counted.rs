//! Which followers the commits of a leader may wait for.

use sqlx::PgConnection;

use super::statement::{column, run};
use crate::model::SubjectId;

/// Those of this leader.
pub async fn counted(db: &mut PgConnection, leader: SubjectId) -> sqlx::Result<Vec<SubjectId>> {
    let sql = "select r.id from resources r join subjects s using (id)
               where r.leader_id = $1 and r.counted and s.forgotten_at is null order by r.id";
    column(db, sql, [leader]).await
}

/// These are counted from now on: before their leader is told.
pub async fn count(db: &mut PgConnection, followers: &[SubjectId]) -> sqlx::Result<()> {
    let sql = "update resources set counted = true where id = any($1) and not counted";
    run(db, sql, [followers]).await
}

/// Only these of this leader's are: it was proved that it waits for nobody else.
pub async fn only(
    db: &mut PgConnection,
    leader: SubjectId,
    followers: &[SubjectId],
) -> sqlx::Result<()> {
    let sql = "update resources set counted = false
               where leader_id = $1 and counted and id <> all($2)";
    run(db, sql, (leader, followers)).await
}
