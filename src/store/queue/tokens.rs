//! Tokens put in, held, moved on, woken and taken out.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Lock, Queue, Token, millis};
use crate::model::{IncidentId, Lane, MessageId, OperationId, SubjectId};
use crate::store::statement::{column, run, touched, value};

/// Puts a new subject's token into the ring, due now. One that is there stays.
pub async fn insert_token(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    insert_tokens(db, &[subject]).await
}

/// The same for many.
pub async fn insert_tokens(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<()> {
    let sql =
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
         select id, 'feel', convert_to(json_build_object('subject', id)::text, 'UTF8'),
                'Pending', 0, 25, now(), 0
         from unnest($1::text[]) as id
         on conflict (id) do nothing";
    run(db, sql, [subjects]).await
}

/// Puts an incident's token into `resolve`, due now.
pub async fn insert_incident_token(
    db: &mut PgConnection,
    id: IncidentId,
    lane: Lane,
) -> sqlx::Result<()> {
    insert_job(db, Token::Incident(id), Queue::Resolve, lane).await
}

/// Puts an operation's token into `resolve`, due now.
pub async fn insert_operation_token(
    db: &mut PgConnection,
    id: OperationId,
    lane: Lane,
) -> sqlx::Result<()> {
    insert_job(db, Token::Operation(id), Queue::Resolve, lane).await
}

/// Moves the token of an incident or an operation to another lane of its queue.
pub async fn change_lane(db: &mut PgConnection, token: Token, lane: Lane) -> sqlx::Result<()> {
    let sql = "update apalis.jobs set priority = $2 where id = $1 and priority <> $2";
    run(db, sql, (token, lane.priority())).await
}

/// Makes the waiting tokens in `resolve` of these incidents or operations due now. Whoever
/// has one of them locked is not waited for.
macro_rules! due_now {
    ($owner:literal, $which:literal) => {
        concat!(
            "with due as (
                 select j.id from apalis.jobs j join ",
            $owner,
            " using (id)
                 where ",
            $which,
            "
                   and j.job_type = 'resolve' and j.status = 'Pending' and j.run_at > now()
                 order by j.id
                 for update of j skip locked)
             update apalis.jobs j set run_at = now() from due where j.id = due.id"
        )
    };
}
pub(super) use due_now;

/// Makes the waiting tokens of these subjects' open operations due now; of a
/// server's resources' operations too, since they wait for their server.
pub async fn wake_operations(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<()> {
    let sql = due_now!(
        "operations o",
        "o.state = 'open'
           and (o.subject_id = any($1) or o.subject_id in (
                   select id from resources where server_id = any($1)))
           and (o.not_before is null or o.not_before <= now())"
    );
    run(db, sql, [subjects]).await
}

/// Makes the waiting tokens of what an incident has asked for due now, though their time
/// has not come: they look whether they are still wanted.
pub async fn wake_asked_by(db: &mut PgConnection, incident: IncidentId) -> sqlx::Result<()> {
    let sql = due_now!("operations o", "o.state = 'open' and o.incident_id = $1");
    run(db, sql, [incident]).await
}

/// Locks the tokens of a subject's open operations against steps, until the
/// transaction ends.
pub async fn hold_operation_tokens(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    let sql = "select 1 from apalis.jobs
               where id in (select id from operations where subject_id = $1 and state = 'open')
               order by id
               for update";
    run(db, sql, [subject]).await
}

/// Puts a message's job into `notify`, due now.
pub async fn insert_message_job(db: &mut PgConnection, id: MessageId) -> sqlx::Result<()> {
    insert_job(db, Token::Message(id), Queue::Notify, Lane::Change).await
}

async fn insert_job(
    db: &mut PgConnection,
    token: Token,
    queue: Queue,
    lane: Lane,
) -> sqlx::Result<()> {
    let sql =
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
         values ($1, $2, convert_to($3::text, 'UTF8'), 'Pending', 0, 25, now(), $4)
         on conflict (id) do update
         set job_type = excluded.job_type, priority = excluded.priority, status = 'Pending', attempts = 0, run_at = now(),
             lock_by = null, lock_at = null, done_at = null
         where jobs.status in ('Done', 'Killed', 'Failed')";
    run(db, sql, (token, queue, Json(token), lane.priority())).await
}

/// Whether a step's lock still holds; if so, the token stays locked against
/// everybody else until the transaction ends. Where a step takes more than one
/// transaction, each begins with this.
pub async fn hold(db: &mut PgConnection, lock: &Lock, queue: Queue) -> sqlx::Result<bool> {
    let sql = "select 1 from apalis.jobs
               where id = $1 and job_type = $2 and status = 'Queued' and lock_by = $3
                 and floor(extract(epoch from lock_at))::bigint = $4
               for update";
    let held: Option<i32> = value(db, sql, (lock.token, queue, &lock.worker, lock.at)).await?;
    Ok(held.is_some())
}

/// Lets a token that is held (see [`hold`]) wait for its next turn in the same
/// queue.
pub async fn turn(db: &mut PgConnection, token: Token, after: Duration) -> sqlx::Result<()> {
    let sql = "update apalis.jobs
               set status = 'Pending', run_at = now() + $2 * interval '1 ms',
                   lock_by = null, lock_at = null, attempts = 0
               where id = $1";
    run(db, sql, (token, millis(after))).await
}

/// Ends a message's job that is held: `Done` if it was delivered, else `Killed`.
/// The clock prunes it later.
pub async fn finish(db: &mut PgConnection, id: MessageId, delivered: bool) -> sqlx::Result<()> {
    let sql = "update apalis.jobs
               set status = $2, done_at = now(), lock_by = null, lock_at = null
               where id = $1";
    run(db, sql, (id, if delivered { "Done" } else { "Killed" })).await
}

/// Makes the waiting tokens of these subjects' open incidents due now; of a
/// server's resources' incidents too, since they wait for their server.
pub async fn wake_incidents(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<()> {
    let sql = due_now!(
        "incidents i",
        "i.state <> 'resolved'
           and (i.subject_id = any($1) or i.subject_id in (
                   select id from resources where server_id = any($1)))"
    );
    run(db, sql, [subjects]).await
}

/// The same for the open incidents of a tier, or of the whole herd.
pub async fn wake_all_incidents(db: &mut PgConnection, tier: Option<&str>) -> sqlx::Result<()> {
    let sql = due_now!(
        "incidents i",
        "i.state <> 'resolved'
           and ($1::text is null or exists (
                   select from subjects s
                   where s.tier = $1 and s.id in (i.subject_id, (
                       select server_id from resources where id = i.subject_id))))"
    );
    run(db, sql, [tier]).await
}

/// Locks a token against steps, until the transaction ends.
pub async fn hold_token(db: &mut PgConnection, token: Token) -> sqlx::Result<()> {
    let sql = "select 1 from apalis.jobs where id = $1 for update";
    run(db, sql, [token]).await
}

/// The same for the tokens of a subject's open incidents.
pub async fn hold_incident_tokens(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    let sql = "select 1 from apalis.jobs
               where id in (select id from incidents where subject_id = $1 and state <> 'resolved')
               order by id
               for update";
    run(db, sql, [subject]).await
}

/// Takes a forgotten subject's token out of the ring.
pub async fn remove_token(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    run(db, "delete from apalis.jobs where id = $1", [subject]).await
}

/// Makes a waiting token due now. Tells whether it was waiting; one that is due
/// already, or at work, is left as it is.
pub async fn bring_forward(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<u64> {
    let sql = "with due as (
                   select id from apalis.jobs
                   where id = any($1) and job_type in ('feel', 'silent') and status = 'Pending'
                     and run_at > now()
                   order by id
                   for update skip locked)
               update apalis.jobs j set run_at = now() from due where j.id = due.id";
    touched(db, sql, [subjects]).await
}

/// Live servers, but for this subject, that have not been felt and thought about since then,
/// those not seen for longest first.
pub async fn unseen_servers(
    db: &mut PgConnection,
    but: SubjectId,
    since: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<SubjectId>> {
    let sql = "select s.id from subjects s join apalis.jobs j on j.id = s.id
         where s.kind = 'server' and s.forgotten_at is null and s.id <> $1
           and not (j.job_type in ('feel', 'silent') and j.done_at is not null and j.done_at > $2)
         order by j.done_at nulls first
         limit $3";
    column(db, sql, (but, since, most)).await
}

/// Takes the token of an incident or an operation that is over out.
pub async fn remove_from_resolve(db: &mut PgConnection, token: Token) -> sqlx::Result<()> {
    let sql = "delete from apalis.jobs where id = $1 and job_type = 'resolve'";
    run(db, sql, [token]).await
}

/// Makes the waiting token of an incident or an operation due now.
pub async fn wake(db: &mut PgConnection, token: Token) -> sqlx::Result<()> {
    let sql = "with due as (
                   select id from apalis.jobs
                   where id = $1 and job_type = 'resolve' and status = 'Pending' and run_at > now()
                   for update skip locked)
               update apalis.jobs j set run_at = now() from due where j.id = due.id";
    run(db, sql, [token]).await
}
