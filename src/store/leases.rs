//! The lease a resolver works under: one at a time for a subject, and none on a
//! server's databases while the server itself is being mended.

use std::time::Duration;

use sqlx::PgConnection;

use super::statement::{only_value, rows, run, touched};
use crate::model::{OperationId, SubjectId};

/// Counts the turns at a subject. A turn whose number is no longer the newest has
/// lost its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub i64);

/// Takes the leases of all these subjects for a turn of this operation, or none of them:
/// nobody holds one while waiting for another. A lease is to be had if it is free, has run
/// out, or was handed on by the operation's turn before; one that was handed on is to be
/// had for what is more pressing, too, as it is between two steps. That of a server is free
/// only if none of its resources' is taken, and the other way round.
///
/// Call it in a transaction. The fences come in the order of the subjects.
pub async fn take(
    db: &mut PgConnection,
    subjects: &[SubjectId],
    (operation, lane): (OperationId, i32),
    worker: &str,
    lease: Duration,
) -> sqlx::Result<Option<Vec<Fence>>> {
    // Everybody locks servers before resources, and of each the lowest id first. A server's
    // turn waits for the turns of its resources that are just being taken, and the other
    // way round; turns of two resources do not wait.
    for sql in [
        "select 1 from subjects where id = any($1) and kind = 'server' order by id for update",
        "select 1 from subjects
         where id in (select server_id from resources where id = any($1)) order by id
         for key share",
        "select 1 from subjects where id = any($1) order by id for update",
    ] {
        run(db, sql, [subjects]).await?;
    }
    // What is locked does not change any more, so all of it is looked at at once.
    let values = (
        subjects,
        operation,
        worker,
        i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
        lane,
    );
    let sql = "with near as (
             select unnest($1::text[]) as id
             union select id from resources where server_id = any($1)
             union select server_id from resources where id = any($1)),
             taken as (
             select t.id, t.lock_owner from near join subjects t using (id)
             where t.lock_until > clock_timestamp()
               and not (t.lock_worker is null and exists (
                       select from operations o where o.id = t.lock_owner and o.lane < $5))),
             free as (
                 select s.id from subjects s
                 where s.id = any($1)
                   and not exists (
                       select from taken t
                       where t.id = s.id and not (t.lock_owner = $2 and s.lock_worker is null))
                   and not exists (
                       select from resources r join taken t on t.id = r.id
                       where r.server_id = s.id and t.id <> all($1))
                   and not exists (
                       select from resources r join taken t on t.id = r.server_id
                       where r.id = s.id and t.id <> all($1)))
         update subjects s
         set lock_owner = $2, lock_worker = $3, lock_fence = lock_fence + 1,
             lock_nonce = md5(random()::text || s.id || clock_timestamp()),
             lock_until = clock_timestamp() + $4 * interval '1 ms'
         where s.id = any($1)
           and (select count(*) from free) = cardinality($1)
         returning s.id, s.lock_fence";
    let fences: Vec<(SubjectId, i64)> = rows(db, sql, values).await?;
    let fence = |id: &SubjectId| {
        let found = fences.iter().find(|(taken, _)| taken == id);
        found.map(|(_, fence)| Fence(*fence))
    };
    Ok(subjects.iter().map(fence).collect())
}

/// Ends a turn: the lease goes on to the operation's next turn for this while, or is
/// given up. Tells whether the turn still had it.
pub async fn end_turn(
    db: &mut PgConnection,
    subject: SubjectId,
    fence: Fence,
    hand_on: Option<Duration>,
) -> sqlx::Result<bool> {
    let values = (
        subject,
        fence.0,
        hand_on.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
    );
    let sql = "update subjects
               set lock_worker = null,
                   lock_owner = case when $3::bigint is null then null else lock_owner end,
                   lock_until = clock_timestamp() + $3 * interval '1 ms'
               where id = $1 and lock_fence = $2 and lock_worker is not null";
    let touched = touched(db, sql, values).await?;
    Ok(touched == 1)
}

/// No lease is given for longer: a step's limit, or the time between two of its turns.
pub const LONGEST: Duration = Duration::from_secs(120);

/// Has those end in time that would last longer than any is given for: the control database's
/// clock was set back since, and they would stand in the way until it has come round again. Whoever
/// has one goes by a clock of its own, and has it for no longer than this from now.
pub(super) async fn shorten(db: &mut PgConnection) -> sqlx::Result<u64> {
    let sql = "with too_long as (
                   select id from subjects
                   where lock_until > clock_timestamp() + ($1 + 5000) * interval '1 ms'
                   for update skip locked)
               update subjects s set lock_until = clock_timestamp() + $1 * interval '1 ms'
               from too_long where s.id = too_long.id";
    let most = i64::try_from(LONGEST.as_millis()).unwrap_or(i64::MAX);
    touched(db, sql, [most]).await
}

/// Whether a turn has all of these leases still.
pub async fn still_had(db: &mut PgConnection, leases: &[(SubjectId, Fence)]) -> sqlx::Result<bool> {
    let (subjects, fences): (Vec<SubjectId>, Vec<i64>) =
        leases.iter().map(|(id, fence)| (*id, fence.0)).unzip();
    let sql = "select count(*) = cardinality($1)
               from unnest($1::text[], $2::bigint[]) as had (id, fence)
               join subjects s on s.id = had.id and s.lock_fence = had.fence
               where s.lock_worker is not null and s.lock_until > clock_timestamp()";
    only_value(db, sql, (subjects, fences)).await
}

/// Locks the rows of these resources and of their servers, in the order that
/// everybody keeps.
pub async fn hold(db: &mut PgConnection, resources: &[SubjectId]) -> sqlx::Result<()> {
    for sql in [
        "select 1 from subjects
         where id in (select server_id from resources where id = any($1)) order by id for update",
        "select 1 from subjects where id = any($1) order by id for update",
    ] {
        run(db, sql, [resources]).await?;
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
         set lock_owner = null, lock_worker = null, lock_until = null, lock_fence = lock_fence + 1,
             lock_nonce = md5(random()::text || id || clock_timestamp())
         where id = (select server_id from resources where id = $1)",
        "update subjects
         set lock_owner = null, lock_worker = null, lock_until = null, lock_fence = lock_fence + 1,
             lock_nonce = md5(random()::text || id || clock_timestamp())
         where id = $1",
    ] {
        run(db, sql, [leader]).await?;
    }
    Ok(())
}

/// Gives up what an operation that is over was handed on.
pub async fn drop_handed_on(
    db: &mut PgConnection,
    subject: SubjectId,
    operation: OperationId,
) -> sqlx::Result<()> {
    let sql = "update subjects set lock_owner = null, lock_until = null
               where id = $1 and lock_owner = $2 and lock_worker is null";
    run(db, sql, (subject, operation)).await
}
