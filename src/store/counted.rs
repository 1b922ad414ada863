//! Which followers the commits of a leader may wait for.

use sqlx::PgConnection;

use super::statement::{rows, run};
use crate::model::SubjectId;

/// A follower of a leader.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    /// Which.
    pub id: SubjectId,
    /// Whether it is neither coming nor going.
    pub live: bool,
    /// Whether commits may wait for it.
    pub counted: bool,
}

/// Those of this leader, oldest first.
pub async fn followers(db: &mut PgConnection, leader: SubjectId) -> sqlx::Result<Vec<Follower>> {
    let sql = "select r.id, s.state in ('available', 'uncertain', 'unavailable'), r.counted
               from resources r join subjects s using (id)
               where r.leader_id = $1 and s.forgotten_at is null order by r.id";
    let all: Vec<(SubjectId, bool, bool)> = rows(db, sql, [leader]).await?;
    let follower = |(id, live, counted)| Follower { id, live, counted };
    Ok(all.into_iter().map(follower).collect())
}

/// These are counted from now on: before their leader is told.
pub async fn count(db: &mut PgConnection, followers: &[SubjectId]) -> sqlx::Result<()> {
    let sql = "update resources set counted = true where id = any($1) and not counted";
    run(db, sql, [followers]).await
}

/// These of this leader's are counted no more: it was proved that it does not wait for them.
pub async fn discount(
    db: &mut PgConnection,
    leader: SubjectId,
    followers: &[SubjectId],
) -> sqlx::Result<()> {
    let sql = "update resources set counted = false where leader_id = $1 and id = any($2)";
    run(db, sql, (leader, followers)).await
}
