//! The queue contract: every statement of ours that touches `apalis.jobs` and
//! `apalis.workers`.
//!
//! A subject's token is the row whose id is the subject's id. apalis claims it
//! (`Pending` → `Queued`, with `lock_by` and `lock_at`); only the statements
//! here move it on. A step is fenced by the lock that its claim set: the
//! worker's name and the second of the claim. A row that was rescued, freed or
//! claimed again no longer bears that lock, and the step writes nothing.
//!
//! Lock order, wherever one transaction touches both: `apalis.jobs`, then
//! `subjects`. Only `bring_forward` may come later: it skips rows that are locked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};

use super::incidents;
use crate::model::{
    Attributes, IncidentId, IncidentKind, MessageId, ObservationId, Opening, State, SubjectId,
    TransitionId,
};

/// The queues, which are also the kinds of workers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Read the world.
    Feel,
    /// Read the record and decide.
    Think,
    /// Change the world.
    Resolve,
    /// Tell people.
    Notify,
}

impl Queue {
    /// All of them, in the order of the ring.
    pub const ALL: [Queue; 4] = [Queue::Feel, Queue::Think, Queue::Resolve, Queue::Notify];

    /// Its name: apalis's `job_type` and `worker_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Queue::Feel => "feel",
            Queue::Think => "think",
            Queue::Resolve => "resolve",
            Queue::Notify => "notify",
        }
    }
}

impl std::str::FromStr for Queue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|q| q.as_str() == text)
            .ok_or_else(|| {
                format!("unknown queue `{text}`; the queues are feel, think, resolve and notify")
            })
    }
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a token carries: whose it is, and nothing else. That id is also the row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// A subject's, in the ring.
    Subject(SubjectId),
    /// An open incident's, in `resolve`.
    Incident(IncidentId),
    /// An unsent message's, in `notify`: an ordinary job.
    Message(MessageId),
}

impl std::fmt::Display for Token {
    /// The row's id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Subject(id) => id.fmt(f),
            Token::Incident(id) => id.fmt(f),
            Token::Message(id) => id.fmt(f),
        }
    }
}

/// The lock under which a step may commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The token.
    pub token: Token,
    /// The worker that claimed it: apalis's `lock_by`.
    pub worker: String,
    /// When it did: Unix seconds of apalis's `lock_at`.
    pub at: i64,
}

/// How long without a heartbeat until a worker counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);
/// How often a worker says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longer than any token can be locked by a worker that works as it should:
/// twice a handler's limit (waiting its turn, then at work) and a margin.
pub const STUCK_AFTER: Duration = Duration::from_secs(120);

/// A feel that is done: its observation, and the token on to `think`.
#[derive(Clone, Debug)]
pub struct FeelStep {
    /// Under which lock.
    pub lock: Lock,
    /// Id of the observation to write.
    pub observation: ObservationId,
    /// What was seen.
    pub attributes: Attributes,
}

/// A think that is done: a change of state or none, and the token on.
#[derive(Clone, Debug)]
pub struct ThinkStep {
    /// Under which lock.
    pub lock: Lock,
    /// The queue the token goes to.
    pub next: Queue,
    /// When it is due there.
    pub after: Duration,
    /// The change of state, if any.
    pub change: Option<Change>,
    /// A subject to be felt now: its token's wait is cut short.
    pub wake: Option<SubjectId>,
    /// The host key to pin for a server that has none yet.
    pub pin: Option<String>,
    /// What is wrong enough for an incident.
    pub opens: Vec<Opening>,
}

/// A change of state and why.
#[derive(Clone, Debug)]
pub struct Change {
    /// Id of the row in `transitions`.
    pub id: TransitionId,
    /// The state it was decided in; another by now, and nothing changes.
    pub from: State,
    /// The new one.
    pub to: State,
    /// For people.
    pub reason: String,
    /// The observation that caused it.
    pub observation: ObservationId,
    /// The kind of incident it calls for.
    pub opens: Option<IncidentKind>,
}

/// A step whose handler failed: the token goes back to its queue.
#[derive(Clone, Debug)]
pub struct PutBack {
    /// Under which lock.
    pub lock: Lock,
    /// When it is due again.
    pub after: Duration,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Splits locks into the three arrays every fenced statement begins with.
fn locks<'a>(of: impl Iterator<Item = &'a Lock>) -> (Vec<String>, Vec<String>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for lock in of {
        columns.0.push(lock.token.to_string());
        columns.1.push(lock.worker.clone());
        columns.2.push(lock.at);
    }
    columns
}

/// Puts a new subject's token into the ring, due now. One that is there stays.
pub async fn insert_token(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    insert_tokens(db, &[subject]).await
}

/// The same for many.
pub async fn insert_tokens(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<()> {
    let ids: Vec<String> = subjects.iter().map(SubjectId::to_string).collect();
    sqlx::query(
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
         select id, 'feel', convert_to(json_build_object('subject', id)::text, 'UTF8'),
                'Pending', 0, 25, now(), 0
         from unnest($1::text[]) as id
         on conflict (id) do nothing",
    )
    .bind(ids)
    .execute(db)
    .await?;
    Ok(())
}

/// Puts an incident's token into `resolve`, due now.
pub async fn insert_incident_token(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<()> {
    insert_job(db, Token::Incident(id), Queue::Resolve).await
}

/// Puts a message's job into `notify`, due now.
pub async fn insert_message_job(db: &mut PgConnection, id: MessageId) -> sqlx::Result<()> {
    insert_job(db, Token::Message(id), Queue::Notify).await
}

async fn insert_job(db: &mut PgConnection, token: Token, queue: Queue) -> sqlx::Result<()> {
    sqlx::query(
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
         values ($1, $2, convert_to($3::text, 'UTF8'), 'Pending', 0, 25, now(), 0)
         on conflict (id) do update
         set job_type = excluded.job_type, status = 'Pending', attempts = 0, run_at = now(),
             lock_by = null, lock_at = null, done_at = null
         where jobs.status in ('Done', 'Killed', 'Failed')",
    )
    .bind(token.to_string())
    .bind(queue.as_str())
    .bind(Json(token))
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a step's lock still holds; if so, the token stays locked against
/// everybody else until the transaction ends. Where a step takes more than one
/// transaction, each begins with this.
pub async fn hold(db: &mut PgConnection, lock: &Lock, queue: Queue) -> sqlx::Result<bool> {
    let held: Option<i32> = sqlx::query_scalar(
        "select 1 from apalis.jobs
         where id = $1 and job_type = $2 and status = 'Queued' and lock_by = $3
           and floor(extract(epoch from lock_at))::bigint = $4
         for update",
    )
    .bind(lock.token.to_string())
    .bind(queue.as_str())
    .bind(&lock.worker)
    .bind(lock.at)
    .fetch_optional(db)
    .await?;
    Ok(held.is_some())
}

/// Lets a token that is held (see [`hold`]) wait for its next turn in the same
/// queue.
pub async fn turn(db: &mut PgConnection, token: Token, after: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "update apalis.jobs
         set status = 'Pending', run_at = now() + $2 * interval '1 ms',
             lock_by = null, lock_at = null, attempts = 0
         where id = $1",
    )
    .bind(token.to_string())
    .bind(millis(after))
    .execute(db)
    .await?;
    Ok(())
}

/// Ends a message's job that is held: `Done` if it was delivered, else `Killed`.
/// The clock prunes it later.
pub async fn finish(db: &mut PgConnection, id: MessageId, delivered: bool) -> sqlx::Result<()> {
    sqlx::query(
        "update apalis.jobs
         set status = $2, done_at = now(), lock_by = null, lock_at = null
         where id = $1",
    )
    .bind(id.to_string())
    .bind(if delivered { "Done" } else { "Killed" })
    .execute(db)
    .await?;
    Ok(())
}

/// Takes a closed incident's token out.
pub async fn remove_incident_token(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<()> {
    sqlx::query("delete from apalis.jobs where id = $1 and job_type = 'resolve'")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Makes the waiting tokens of these subjects' open incidents due now; of a
/// server's resources' incidents too, since they wait for their server.
pub async fn wake_incidents(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<()> {
    let ids: Vec<String> = subjects.iter().map(SubjectId::to_string).collect();
    sqlx::query(
        "with due as (
             select j.id from apalis.jobs j join incidents i on i.id = j.id
             where i.state <> 'resolved'
               and (i.subject_id = any($1) or i.subject_id in (
                       select id from resources where server_id = any($1)))
               and j.job_type = 'resolve' and j.status = 'Pending' and j.run_at > now()
             order by j.id
             for update of j skip locked)
         update apalis.jobs j set run_at = now() from due where j.id = due.id",
    )
    .bind(ids)
    .execute(db)
    .await?;
    Ok(())
}

/// The same for the open incidents of a tier, or of the whole herd.
pub async fn wake_all_incidents(db: &mut PgConnection, tier: Option<&str>) -> sqlx::Result<()> {
    sqlx::query(
        "with due as (
             select j.id from apalis.jobs j join incidents i on i.id = j.id
             where i.state <> 'resolved'
               and ($1::text is null or exists (
                       select from subjects s
                       where s.tier = $1 and s.id in (i.subject_id, (
                           select server_id from resources where id = i.subject_id))))
               and j.job_type = 'resolve' and j.status = 'Pending' and j.run_at > now()
             order by j.id
             for update of j skip locked)
         update apalis.jobs j set run_at = now() from due where j.id = due.id",
    )
    .bind(tier)
    .execute(db)
    .await?;
    Ok(())
}

/// The same for one incident.
pub async fn wake_incident(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<()> {
    sqlx::query(
        "with due as (
             select id from apalis.jobs
             where id = $1 and job_type = 'resolve' and status = 'Pending' and run_at > now()
             for update skip locked)
         update apalis.jobs j set run_at = now() from due where j.id = due.id",
    )
    .bind(id.to_string())
    .execute(db)
    .await?;
    Ok(())
}

/// Locks a subject's token against steps, until the transaction ends.
pub async fn hold_token(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    sqlx::query("select 1 from apalis.jobs where id = $1 for update")
        .bind(subject.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// The same for an incident's token.
pub async fn hold_incident_token(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<()> {
    sqlx::query("select 1 from apalis.jobs where id = $1 for update")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// The same for the tokens of a subject's open incidents.
pub async fn hold_incident_tokens(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    sqlx::query(
        "select 1 from apalis.jobs
         where id in (select id from incidents where subject_id = $1 and state <> 'resolved')
         order by id
         for update",
    )
    .bind(subject.to_string())
    .execute(db)
    .await?;
    Ok(())
}

/// Takes a forgotten subject's token out of the ring.
pub async fn remove_token(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    sqlx::query("delete from apalis.jobs where id = $1")
        .bind(subject.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Makes a waiting token due now. Tells whether it was waiting; one that is due
/// already, or at work, is left as it is.
pub async fn bring_forward(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<u64> {
    let ids: Vec<String> = subjects.iter().map(SubjectId::to_string).collect();
    let done = sqlx::query(
        "with due as (
             select id from apalis.jobs
             where id = any($1) and job_type = 'feel' and status = 'Pending' and run_at > now()
             order by id
             for update skip locked)
         update apalis.jobs j set run_at = now() from due where j.id = due.id",
    )
    .bind(ids)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Live servers that have not been felt and thought about since then, those not
/// seen for longest first.
pub async fn unseen_servers(
    db: &mut PgConnection,
    since: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<SubjectId>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select s.id from subjects s join apalis.jobs j on j.id = s.id
         where s.kind = 'server' and s.forgotten_at is null
           and not (j.job_type = 'feel' and j.done_at is not null and j.done_at > $1)
         order by j.done_at nulls first
         limit $2",
    )
    .bind(since)
    .bind(most)
    .fetch_all(db)
    .await?;
    ids.into_iter().map(super::subjects::decode).collect()
}

/// Commits finished feels: each observation and the move of its token to
/// `think`, fenced. Returns the subjects whose step took effect.
pub async fn commit_feels(db: &mut PgConnection, steps: &[FeelStep]) -> sqlx::Result<Vec<String>> {
    let (ids, workers, at) = locks(steps.iter().map(|s| &s.lock));
    let observations: Vec<String> = steps.iter().map(|s| s.observation.to_string()).collect();
    let attributes: Vec<Json<&Attributes>> = steps.iter().map(|s| Json(&s.attributes)).collect();
    sqlx::query_scalar(
        "with step as (
             select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::jsonb[])
                 as s (id, lock_by, lock_at, observation, attributes)),
         feelers as (
             select least(count(*), 32767)::smallint as alive from apalis.workers
             where worker_type = 'feel' and last_seen > now() - $6 * interval '1 ms'),
         moved as (
             update apalis.jobs j
             set job_type = 'think', status = 'Pending', run_at = now(), done_at = now(),
                 lock_by = null, lock_at = null, attempts = 0
             from step s
             where j.id = s.id
               and j.job_type = 'feel'
               and j.status = 'Queued'
               and j.lock_by = s.lock_by
               and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
             returning j.id)
         insert into observations (id, subject_id, worker, feelers, attributes)
         select s.observation, s.id, s.lock_by, f.alive, s.attributes
         from step s join moved using (id) cross join feelers f
         returning subject_id",
    )
    .bind(ids)
    .bind(workers)
    .bind(at)
    .bind(observations)
    .bind(attributes)
    .bind(millis(DEAD_AFTER))
    .fetch_all(db)
    .await
}

/// Commits finished thinks: each change of state with its transition, and the
/// move of the token, fenced. Returns the subjects whose step took effect.
///
/// Runs several statements: call it in a transaction.
pub async fn commit_thinks(
    db: &mut PgConnection,
    steps: &[ThinkStep],
) -> sqlx::Result<Vec<String>> {
    let (ids, workers, at) = locks(steps.iter().map(|s| &s.lock));
    let next: Vec<&str> = steps.iter().map(|s| s.next.as_str()).collect();
    let after: Vec<i64> = steps.iter().map(|s| millis(s.after)).collect();
    let moved: Vec<String> = if steps.iter().all(|s| s.change.is_none()) {
        sqlx::query_scalar(
            "update apalis.jobs j
             set job_type = s.next, status = 'Pending',
                 run_at = now() + s.after * interval '1 ms',
                 lock_by = null, lock_at = null, attempts = 0
             from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
                 as s (id, lock_by, lock_at, next, after)
             where j.id = s.id
               and j.job_type = 'think'
               and j.status = 'Queued'
               and j.lock_by = s.lock_by
               and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
             returning j.id",
        )
        .bind(ids)
        .bind(workers)
        .bind(at)
        .bind(next)
        .bind(after)
        .fetch_all(&mut *db)
        .await?
    } else {
        let changes = || steps.iter().map(|s| s.change.as_ref());
        sqlx::query_scalar(
            "with step as (
                 select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[],
                                      $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                                      $11::text[])
                     as s (id, lock_by, lock_at, next, after,
                           transition, from_state, to_state, reason, observation, opens)),
             moved as (
                 update apalis.jobs j
                 set job_type = s.next, status = 'Pending',
                     run_at = now() + s.after * interval '1 ms',
                     lock_by = null, lock_at = null, attempts = 0
                 from step s
                 where j.id = s.id
                   and j.job_type = 'think'
                   and j.status = 'Queued'
                   and j.lock_by = s.lock_by
                   and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
                 returning j.id),
             changed as (
                 update subjects t
                 set state = s.to_state, state_since = now()
                 from step s join moved using (id)
                 where t.id = s.id and t.state = s.from_state and s.to_state is not null
                 returning t.id),
             noted as (
                 insert into transitions
                     (id, subject_id, from_state, to_state, reason, observation_id, opens, worker)
                 select s.transition, s.id, s.from_state, s.to_state, s.reason, s.observation,
                        s.opens, s.lock_by
                 from step s join changed using (id))
             select id from moved",
        )
        .bind(ids)
        .bind(workers)
        .bind(at)
        .bind(next)
        .bind(after)
        .bind(changes().map(|c| c.map(|c| c.id.to_string())).collect::<Vec<_>>())
        .bind(changes().map(|c| c.map(|c| c.from.as_str())).collect::<Vec<_>>())
        .bind(changes().map(|c| c.map(|c| c.to.as_str())).collect::<Vec<_>>())
        .bind(changes().map(|c| c.map(|c| c.reason.clone())).collect::<Vec<_>>())
        .bind(changes().map(|c| c.map(|c| c.observation.to_string())).collect::<Vec<_>>())
        .bind(changes().map(|c| c.and_then(|c| c.opens.map(IncidentKind::as_str))).collect::<Vec<_>>())
        .fetch_all(&mut *db)
        .await?
    };
    for (step, pin) in steps
        .iter()
        .filter_map(|s| s.pin.as_ref().map(|pin| (s, pin)))
    {
        let id = step.lock.token.to_string();
        if moved.contains(&id) {
            sqlx::query("update servers set host_key = $2 where id = $1 and host_key is null")
                .bind(id)
                .bind(pin)
                .execute(&mut *db)
                .await?;
        }
    }
    let took_effect = |step: &&ThinkStep| moved.contains(&step.lock.token.to_string());
    let openings = steps
        .iter()
        .filter(|s| !s.opens.is_empty())
        .filter(took_effect);
    for step in openings {
        if let Token::Subject(subject) = step.lock.token {
            for opening in &step.opens {
                incidents::open(db, Some(subject), opening, &step.lock.worker).await?;
            }
        }
    }
    // Whoever waits for a better word on this subject should hear it at once.
    let turned: Vec<SubjectId> = steps
        .iter()
        .filter(|s| s.change.is_some())
        .filter(took_effect)
        .filter_map(|s| match s.lock.token {
            Token::Subject(id) => Some(id),
            Token::Incident(_) | Token::Message(_) => None,
        })
        .collect();
    if !turned.is_empty() {
        wake_incidents(db, &turned).await?;
    }
    let wake: Vec<SubjectId> = steps.iter().filter_map(|s| s.wake).collect();
    if !wake.is_empty() {
        bring_forward(db, &wake).await?;
    }
    Ok(moved)
}

/// Puts back the tokens of failed handlers, into the queue they are in, fenced.
/// Returns the subjects whose token was put back.
pub async fn put_back(db: &mut PgConnection, steps: &[PutBack]) -> sqlx::Result<Vec<String>> {
    let (ids, workers, at) = locks(steps.iter().map(|s| &s.lock));
    let after: Vec<i64> = steps.iter().map(|s| millis(s.after)).collect();
    sqlx::query_scalar(
        "update apalis.jobs j
         set status = 'Pending', run_at = now() + s.after * interval '1 ms',
             lock_by = null, lock_at = null, attempts = j.attempts + 1
         from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
             as s (id, lock_by, lock_at, after)
         where j.id = s.id
           and j.status = 'Queued'
           and j.lock_by = s.lock_by
           and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
         returning j.id",
    )
    .bind(ids)
    .bind(workers)
    .bind(at)
    .bind(after)
    .fetch_all(db)
    .await
}

/// Frees every token that a worker which is no more still holds.
pub async fn release(db: &mut PgConnection, worker: &str) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "update apalis.jobs
         set status = 'Pending', lock_by = null, lock_at = null
         where lock_by = $1 and status in ('Queued', 'Running')",
    )
    .bind(worker)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Says that a worker lives. apalis does too, but only while no claimed token
/// waits in its buffer; a worker busy with slow subjects must not be taken for dead.
pub async fn heartbeat(db: &mut PgConnection, worker: &str) -> sqlx::Result<()> {
    sqlx::query("update apalis.workers set last_seen = now() where id = $1")
        .bind(worker)
        .execute(db)
        .await?;
    Ok(())
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
    sqlx::query_scalar("select not exists (select from apalis.workers where id = $1)")
        .bind(worker)
        .fetch_one(db)
        .await
}

/// What the ring keeper had to mend; all noughts in a healthy ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// Tokens put in because a live subject had none.
    pub missing: u64,
    /// Tokens taken out because their subject is gone.
    pub gone: u64,
    /// Tokens freed that a living worker had held for too long.
    pub stuck: u64,
}

/// Puts in missing tokens (of subjects, open incidents and unsent messages), takes
/// out those whose owner is gone, and frees the stuck.
pub async fn keep(db: &mut PgConnection) -> sqlx::Result<Mended> {
    let gone = sqlx::query(
        "delete from apalis.jobs j
         where j.job_type in ('feel', 'think')
           and not exists (
               select from subjects s
               where s.id = j.id and s.forgotten_at is null and s.state <> 'destroyed')
         or j.job_type = 'resolve' and j.status = 'Pending'
           and not exists (
               select from incidents i where i.id = j.id and i.state <> 'resolved')
         or j.job_type = 'notify' and j.status = 'Pending'
           and not exists (
               select from outbox o where o.id = j.id and o.state = 'pending')",
    )
    .execute(&mut *db)
    .await?;
    let missing = sqlx::query(
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
         select w.id, w.queue, convert_to(json_build_object(w.sort, w.id)::text, 'UTF8'),
                'Pending', 0, 25, now(), 0
         from (
             select id, 'feel' as queue, 'subject' as sort from subjects
             where forgotten_at is null and state <> 'destroyed'
             union all
             select id, 'resolve', 'incident' from incidents where state <> 'resolved'
             union all
             select id, 'notify', 'message' from outbox where state = 'pending') w
         where not exists (select from apalis.jobs j where j.id = w.id)
         on conflict (id) do nothing",
    )
    .execute(&mut *db)
    .await?;
    let stuck = sqlx::query(
        "with stuck as (
             select id from apalis.jobs
             where status in ('Queued', 'Running')
               and lock_at < now() - $1 * interval '1 ms'
             for update skip locked)
         update apalis.jobs j
         set status = 'Pending', lock_by = null, lock_at = null, attempts = attempts + 1
         from stuck where j.id = stuck.id",
    )
    .bind(millis(STUCK_AFTER))
    .execute(&mut *db)
    .await?;
    Ok(Mended {
        missing: missing.rows_affected(),
        gone: gone.rows_affected(),
        stuck: stuck.rows_affected(),
    })
}

/// Takes workers off the list that have been silent for an hour and hold nothing.
pub async fn prune_workers(db: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from apalis.workers w
         where last_seen < now() - interval '1 hour'
           and not exists (select from apalis.jobs j where j.lock_by = w.id)",
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Takes out `notify` jobs that ended a day ago or earlier.
pub async fn prune_finished(db: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from apalis.jobs
         where job_type = 'notify' and status in ('Done', 'Killed')
           and done_at < now() - interval '1 day'",
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
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
    sqlx::query_as("select job_type, status, count(*) from apalis.jobs group by 1, 2 order by 1, 2")
        .fetch_all(db)
        .await
}

/// Workers that have said within [`DEAD_AFTER`] that they live, by queue.
pub async fn count_workers(db: &mut PgConnection) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "select worker_type, count(*) from apalis.workers
         where last_seen > now() - $1 * interval '1 ms' group by 1 order by 1",
    )
    .bind(millis(DEAD_AFTER))
    .fetch_all(db)
    .await
}

/// Bytes of the queue's table, with its indexes.
pub async fn table_bytes(db: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query("select pg_total_relation_size('apalis.jobs')")
        .fetch_one(db)
        .await?
        .try_get(0)
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
    /// Age in seconds of the oldest newest observation.
    pub oldest_observation_s: Option<f64>,
}

/// Counts live subjects against tokens, and finds the oldest observation.
///
/// `done_at` is when the token's last feel was committed; only where a rescue
/// wiped it out is the observation itself looked up.
pub async fn token_census(db: &mut PgConnection) -> sqlx::Result<Census> {
    sqlx::query_as(
        "with live as (
             select id, created_at from subjects
             where forgotten_at is null and state <> 'destroyed'),
         token as (
             select id, done_at from apalis.jobs where job_type in ('feel', 'think'))
         select count(live.id) as subjects,
                count(token.id) as tokens,
                count(*) filter (where live.id is null or token.id is null) as astray,
                extract(epoch from now() - min(
                    case when live.id is not null then coalesce(
                        token.done_at,
                        (select max(o.created_at) from observations o
                         where o.subject_id = live.id
                           and o.created_at > now() - interval '1 day'),
                        live.created_at) end))::float8 as oldest_observation_s
         from live full join token using (id)",
    )
    .fetch_one(db)
    .await
}
