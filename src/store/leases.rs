//! The lease a resolver works under: one at a time for a subject, and none on a
//! server's databases while the server itself is being mended.

use std::time::Duration;

use sqlx::{Encode, PgConnection, Postgres, Type};

use crate::model::{IncidentId, OperationId, SubjectId};

/// Counts the turns at a subject. A turn whose number is no longer the newest has
/// lost its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub i64);

/// On whose behalf a lease is held: an incident or an operation.
pub trait Holder: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send {}

impl Holder for IncidentId {}
impl Holder for OperationId {}

/// Takes the lease for a turn of this incident or operation, if it is free, has run out, or was
/// handed on by its turn before. The lease of a server is free only if
/// none of its resources' is taken, and the other way round.
///
/// Call it in a transaction.
pub async fn take(
    db: &mut PgConnection,
    subject: SubjectId,
    holder: impl Holder,
    worker: &str,
    lease: Duration,
) -> sqlx::Result<Option<Fence>> {
    // A server's turn waits for the turns of its resources that are just being
    // taken, and the other way round; turns of two resources do not wait.
    sqlx::query("select 1 from subjects where id = $1 and kind = 'server' for update")
        .bind(subject)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "select 1 from subjects
         where id = (select server_id from resources where id = $1) for key share",
    )
    .bind(subject)
    .execute(&mut *db)
    .await?;
    let fence: Option<i64> = sqlx::query_scalar(
        "update subjects s
         set lock_owner = $2, lock_worker = $3, lock_fence = lock_fence + 1,
             lock_until = clock_timestamp() + $4 * interval '1 ms'
         where s.id = $1
           and (s.lock_until is null or s.lock_until < clock_timestamp()
                or (s.lock_owner = $2 and s.lock_worker is null))
           and not exists (
               select from resources r join subjects d on d.id = r.id
               where r.server_id = s.id and d.lock_until > clock_timestamp())
           and not exists (
               select from resources r join subjects v on v.id = r.server_id
               where r.id = s.id and v.lock_until > clock_timestamp())
         returning s.lock_fence",
    )
    .bind(subject)
    .bind(holder)
    .bind(worker)
    .bind(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
    .fetch_optional(db)
    .await?;
    Ok(fence.map(Fence))
}

/// Ends a turn: the lease goes on to the incident's next turn for this while, or
/// is given up. Tells whether the turn still had it.
pub async fn end_turn(
    db: &mut PgConnection,
    subject: SubjectId,
    fence: Fence,
    hand_on: Option<Duration>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update subjects
         set lock_worker = null,
             lock_owner = case when $3::bigint is null then null else lock_owner end,
             lock_until = clock_timestamp() + $3 * interval '1 ms'
         where id = $1 and lock_fence = $2 and lock_worker is not null",
    )
    .bind(subject)
    .bind(fence.0)
    .bind(hand_on.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the rows of these resources and of their servers, in the order that
/// everybody keeps.
pub async fn hold(db: &mut PgConnection, resources: &[SubjectId]) -> sqlx::Result<()> {
    for sql in [
        "select 1 from subjects
         where id in (select server_id from resources where id = any($1)) order by id for update",
        "select 1 from subjects where id = any($1) order by id for update",
    ] {
        sqlx::query(sql).bind(resources).execute(&mut *db).await?;
    }
    Ok(())
}

/// Takes the lease of a leader and of its server from whoever has it: what they do is
/// not waited for, and their word is stale. For a failover alone, which proves before it
/// promotes that nothing they do can make the leader accept writes.
pub async fn break_for(db: &mut PgConnection, leader: SubjectId) -> sqlx::Result<()> {
    // The server first, as everywhere.
    for sql in [
        "update subjects
         set lock_owner = null, lock_worker = null, lock_until = null, lock_fence = lock_fence + 1
         where id = (select server_id from resources where id = $1)",
        "update subjects
         set lock_owner = null, lock_worker = null, lock_until = null, lock_fence = lock_fence + 1
         where id = $1",
    ] {
        sqlx::query(sql).bind(leader).execute(&mut *db).await?;
    }
    Ok(())
}

/// Gives up what an incident that is over was handed on.
pub async fn drop_handed_on(
    db: &mut PgConnection,
    subject: SubjectId,
    incident: IncidentId,
) -> sqlx::Result<()> {
    sqlx::query(
        "update subjects set lock_owner = null, lock_until = null
         where id = $1 and lock_owner = $2 and lock_worker is null",
    )
    .bind(subject)
    .bind(incident)
    .execute(db)
    .await?;
    Ok(())
}
