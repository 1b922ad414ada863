//! Keeping the ring: workers that come and go, what is mended, pruned and counted.

use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use super::{AHEAD, AHEAD_OF_NOW, DEAD_AFTER, Queue, RESOLVE_AHEAD, STUCK_AFTER, millis};
use crate::model::{IncidentKind, Lane};
use crate::store::leases;
use crate::store::statement::{only_row, only_value, rows, run, touched};

/// Frees every token that a worker which is no more still holds.
pub async fn release(db: &mut PgConnection, worker: &str) -> sqlx::Result<u64> {
    let sql = "update apalis.jobs
               set status = 'Pending', lock_by = null, lock_at = null
               where lock_by = $1 and status in ('Queued', 'Running')";
    touched(db, sql, [worker]).await
}

/// Frees what a worker that stops has claimed and not begun: all but the tokens that
/// are `at_work`.
pub async fn release_waiting(
    db: &mut PgConnection,
    worker: &str,
    at_work: &[String],
) -> sqlx::Result<u64> {
    let sql = "update apalis.jobs
               set status = 'Pending', lock_by = null, lock_at = null
               where lock_by = $1 and status = 'Queued' and not (id = any($2))";
    touched(db, sql, (worker, at_work)).await
}

/// Frees what the dead workers of a queue hold. apalis does too, but later, only while
/// the rescuer has no claimed token waiting, and it wipes out when a token was felt.
pub async fn rescue(db: &mut PgConnection, queue: Queue) -> sqlx::Result<u64> {
    let sql = "with orphan as (
                   select j.id from apalis.workers w join apalis.jobs j on j.lock_by = w.id
                   where w.worker_type = $1 and w.last_seen < now() - $2 * interval '1 ms'
                     and j.status in ('Queued', 'Running')
                   for update of j skip locked)
               update apalis.jobs j
               set status = 'Pending', lock_by = null, lock_at = null, attempts = attempts + 1
               from orphan where j.id = orphan.id";
    touched(db, sql, (queue.as_str(), millis(DEAD_AFTER))).await
}

/// Says that a worker lives. apalis does too, but only while no claimed token
/// waits in its buffer; a worker busy with slow subjects must not be taken for dead.
pub async fn heartbeat(db: &mut PgConnection, worker: &str) -> sqlx::Result<()> {
    let sql = "update apalis.workers set last_seen = now() where id = $1";
    run(db, sql, [worker]).await
}

/// Frees what a stopped worker still holds and takes it off the list, so that it
/// does not count as alive. Tells whether it is off: then it can hold nothing any
/// more, because `lock_by` refers to the list. A claim that was on its way when the
/// worker stopped may get in between; then another call is needed.
pub async fn retire(db: &mut PgConnection, worker: &str) -> sqlx::Result<bool> {
    release(db, worker).await?;
    let left = sqlx::query(
        "delete from apalis.workers w where id = $1
         and not exists (select from apalis.jobs j where j.lock_by = w.id)",
    )
    .bind(worker)
    .execute(&mut *db)
    .await;
    match left {
        Ok(_) => {}
        Err(sqlx::Error::Database(e)) if e.is_foreign_key_violation() => return Ok(false),
        Err(e) => return Err(e),
    }
    let sql = "select not exists (select from apalis.workers where id = $1)";
    only_value(db, sql, [worker]).await
}

/// What the ring keeper had to mend; all noughts in a healthy ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// Tokens put in because a live subject had none.
    pub missing: u64,
    /// Tokens taken out because their subject is gone.
    pub gone: u64,
    /// Tokens freed that a living worker had held for too long, or since a time to come.
    pub stuck: u64,
    /// Tokens made due now that were due later than any cadence lets them be, and leases that were
    /// to last for longer than any is given for.
    pub ahead: u64,
}

/// Puts in missing tokens (of subjects, open incidents, open operations and unsent messages), takes
/// out those whose owner is gone, frees the stuck, and makes due those that are due too late, and
/// shortens leases: the clock was set back.
pub async fn keep(db: &mut PgConnection) -> sqlx::Result<Mended> {
    let sql = "delete from apalis.jobs j
               where j.job_type in ('feel', 'silent', 'think')
                 and not exists (
                     select from subjects s
                     where s.id = j.id and s.forgotten_at is null and s.state <> 'destroyed')
               or j.job_type = 'resolve' and j.status = 'Pending'
                 and not exists (
                     select from incidents i where i.id = j.id and i.state <> 'resolved')
                 and not exists (
                     select from operations o where o.id = j.id and o.state = 'open')
               or j.job_type = 'notify' and j.status = 'Pending'
                 and not exists (
                     select from outbox o where o.id = j.id and o.state = 'pending')";
    let gone = touched(db, sql, ()).await?;
    let values = (
        Lane::Change.priority(),
        Lane::Human.priority(),
        IncidentKind::names_where(|kind| kind.lane == Lane::Save),
        Lane::Save.priority(),
        Lane::Repair.priority(),
    );
    let sql =
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
         select w.id, w.queue, convert_to(json_build_object(w.sort, w.id)::text, 'UTF8'),
                'Pending', 0, 25, now(), w.lane
         from (
             select id, 'feel' as queue, 'subject' as sort, $1 as lane from subjects
             where forgotten_at is null and state <> 'destroyed'
             union all
             select id, 'resolve', 'incident',
                    case when state = 'needs_human' then $2 when kind = any($3) then $4 else $5 end
             from incidents where state <> 'resolved'
             union all
             select id, 'resolve', 'operation', lane from operations where state = 'open'
             union all
             select id, 'notify', 'message', $1 from outbox where state = 'pending') w
         where not exists (select from apalis.jobs j where j.id = w.id)
         on conflict (id) do nothing";
    let missing = touched(db, sql, values).await?;
    let sql = "with stuck as (
                   select id from apalis.jobs
                   where status in ('Queued', 'Running')
                     and (lock_at < now() - $1 * interval '1 ms'
                          or lock_at > now() + $2 * interval '1 ms')
                   for update skip locked)
               update apalis.jobs j
               set status = 'Pending', lock_by = null, lock_at = null, attempts = attempts + 1
               from stuck where j.id = stuck.id";
    let stuck = touched(db, sql, [millis(STUCK_AFTER), millis(AHEAD_OF_NOW)]).await?;
    let sql = "with ahead as (
                   select id from apalis.jobs
                   where status = 'Pending'
                     and (job_type in ('feel', 'silent', 'think')
                          and run_at > now() + $1 * interval '1 ms'
                          or job_type = 'resolve' and run_at > now() + $2 * interval '1 ms')
                   for update skip locked)
               update apalis.jobs j set run_at = now() from ahead where j.id = ahead.id";
    let ahead = touched(db, sql, [millis(AHEAD), millis(RESOLVE_AHEAD)]).await?;
    let ahead = ahead + leases::shorten(db).await?;
    Ok(Mended {
        missing,
        gone,
        stuck,
        ahead,
    })
}

/// Takes workers off the list that have been silent for an hour and hold nothing.
pub async fn prune_workers(db: &mut PgConnection) -> sqlx::Result<u64> {
    let sql = "delete from apalis.workers w
               where last_seen < now() - interval '1 hour'
                 and not exists (select from apalis.jobs j where j.lock_by = w.id)";
    touched(db, sql, ()).await
}

/// Takes out `notify` jobs that ended a day ago or earlier.
pub async fn prune_finished(db: &mut PgConnection) -> sqlx::Result<u64> {
    let sql = "delete from apalis.jobs
               where job_type = 'notify' and status in ('Done', 'Killed')
                 and done_at < now() - interval '1 day'";
    touched(db, sql, ()).await
}

/// Vacuums the queue's tables. Not inside a transaction.
pub async fn vacuum(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query("vacuum (analyze) apalis.jobs")
        .execute(pool)
        .await?;
    sqlx::query("vacuum apalis.workers").execute(pool).await?;
    Ok(())
}

/// Tokens by queue and status.
pub async fn count_tokens(db: &mut PgConnection) -> sqlx::Result<Vec<(String, String, i64)>> {
    let sql = "select job_type, status, count(*) from apalis.jobs group by 1, 2 order by 1, 2";
    rows(db, sql, ()).await
}

/// Workers that have said within [`DEAD_AFTER`] that they live, by queue.
pub async fn count_workers(db: &mut PgConnection) -> sqlx::Result<Vec<(String, i64)>> {
    let sql = "select worker_type, count(*) from apalis.workers
               where last_seen > now() - $1 * interval '1 ms'
                 and last_seen < now() + $2 * interval '1 ms'
               group by 1 order by 1";
    rows(db, sql, [millis(DEAD_AFTER), millis(AHEAD_OF_NOW)]).await
}

/// Bytes of the queue's table, with its indexes.
pub async fn table_bytes(db: &mut PgConnection) -> sqlx::Result<i64> {
    only_value(db, "select pg_total_relation_size('apalis.jobs')", ()).await
}

/// Subjects and tokens counted against each other.
#[derive(Clone, Copy, Debug, PartialEq, sqlx::FromRow)]
pub struct Census {
    /// Live subjects.
    pub subjects: i64,
    /// Tokens of live subjects.
    pub tokens: i64,
    /// Subjects without a token, and tokens without a live subject.
    pub astray: i64,
    /// Tokens of subjects that are due later than any cadence lets them be.
    pub ahead: i64,
    /// Age in seconds of the oldest newest observation.
    pub oldest_observation_s: Option<f64>,
}

/// Counts live subjects against tokens, and finds the oldest observation.
///
/// `done_at` is when the token's last feel was committed; only where apalis's own
/// rescue wiped it out, or it is still to come, is the observation itself looked up.
pub async fn token_census(db: &mut PgConnection) -> sqlx::Result<Census> {
    let sql = "with live as (
             select id, created_at from subjects
             where forgotten_at is null and state <> 'destroyed'),
         token as (
             select id,
                    case when done_at < now() + $2 * interval '1 ms' then done_at end as done_at,
                    status = 'Pending' and run_at > now() + $1 * interval '1 ms' as is_ahead
             from apalis.jobs where job_type in ('feel', 'silent', 'think'))
         select count(live.id) as subjects,
                count(token.id) as tokens,
                count(*) filter (where live.id is null or token.id is null) as astray,
                count(*) filter (where is_ahead) as ahead,
                extract(epoch from now() - min(
                    case when live.id is not null then coalesce(
                        token.done_at,
                        (select max(o.created_at) from observations o
                         where o.subject_id = live.id
                           and o.created_at > now() - interval '1 day'
                           and o.created_at < now() + $2 * interval '1 ms'),
                        live.created_at) end))::float8 as oldest_observation_s
         from live full join token using (id)";
    only_row(db, sql, [millis(AHEAD), millis(AHEAD_OF_NOW)]).await
}
