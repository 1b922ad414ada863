//! Steps of the ring: what a handler found, and the move of its token, fenced.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::storable::storable;
use super::tokens::due_now;
use super::{AHEAD_OF_NOW, DEAD_AFTER, Lock, Token, bring_forward, millis, wake_incidents};
use crate::model::{
    Attributes, ClusterIdentity, Evidence, IncidentKind, ObservationId, Opening, State, SubjectId,
    TransitionId,
};
use crate::store::incidents;
use crate::store::statement::{column, run};

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

/// What the first contact has shown, and a subject is known by from then on.
#[derive(Clone, Debug, PartialEq)]
pub enum Pin {
    /// A server's host key.
    HostKey(String),
    /// Which cluster a resource is.
    Cluster(ClusterIdentity),
}

/// A think that is done: a change of state or none, and the token on.
#[derive(Clone, Debug)]
pub struct ThinkStep {
    /// Under which lock.
    pub lock: Lock,
    /// When the subject was seen last, by the control database's clock; `None`: never.
    pub seen: Option<DateTime<Utc>>,
    /// How long after that it is due there. A thought that comes late, or again from
    /// another worker, puts no feel off.
    pub after: Duration,
    /// It does not answer: it is felt where it keeps nobody else waiting.
    pub silent: bool,
    /// The change of state, if any.
    pub change: Option<Change>,
    /// A subject to be felt now: its token's wait is cut short.
    pub wake: Option<SubjectId>,
    /// What to pin where nothing is yet.
    pub pin: Option<Pin>,
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

/// Splits locks into the three arrays every fenced statement begins with.
fn locks<'a>(of: impl Iterator<Item = &'a Lock>) -> (Vec<Token>, Vec<String>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for lock in of {
        columns.0.push(lock.token);
        columns.1.push(lock.worker.clone());
        columns.2.push(lock.at);
    }
    columns
}

/// A column of the changes of state, null where a step has none.
fn of_changes<T>(steps: &[ThinkStep], column: fn(&Change) -> Option<T>) -> Vec<Option<T>> {
    let changes = steps.iter().map(|step| step.change.as_ref());
    changes.map(|change| change.and_then(column)).collect()
}

/// What is seen at one subject may be wrong with the herd.
fn whose(seen_at: SubjectId, opening: &Opening) -> Option<SubjectId> {
    (opening.kind.profile().evidence != Evidence::Herd).then_some(seen_at)
}

/// Commits finished feels: each observation and the move of its token to
/// `think`, fenced. Returns the subjects whose step took effect.
pub async fn commit_feels(db: &mut PgConnection, steps: &[FeelStep]) -> sqlx::Result<Vec<String>> {
    let (ids, workers, at) = locks(steps.iter().map(|s| &s.lock));
    let observations: Vec<ObservationId> = steps.iter().map(|s| s.observation).collect();
    let attributes: Vec<Value> = steps.iter().map(|s| storable(&s.attributes)).collect();
    let values = (
        ids,
        workers,
        at,
        observations,
        attributes,
        millis(DEAD_AFTER),
        millis(AHEAD_OF_NOW),
    );
    let sql = "with step as (
             select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::jsonb[])
                 as s (id, lock_by, lock_at, observation, attributes)),
         feelers as (
             select least(count(*), 32767)::smallint as alive from apalis.workers
             where worker_type = 'feel' and last_seen > now() - $6 * interval '1 ms'
               and last_seen < now() + $7 * interval '1 ms'),
         moved as (
             update apalis.jobs j
             set job_type = 'think', status = 'Pending', run_at = now(), done_at = now(),
                 lock_by = null, lock_at = null, attempts = 0
             from step s
             where j.id = s.id
               and j.job_type in ('feel', 'silent')
               and j.status = 'Queued'
               and j.lock_by = s.lock_by
               and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
             returning j.id)
         insert into observations (id, subject_id, worker, feelers, attributes)
         select s.observation, s.id, s.lock_by, f.alive, s.attributes
         from step s join moved using (id) cross join feelers f
         returning subject_id";
    column(db, sql, values).await
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
    let seen: Vec<Option<DateTime<Utc>>> = steps.iter().map(|s| s.seen).collect();
    let after: Vec<i64> = steps.iter().map(|s| millis(s.after)).collect();
    let silent: Vec<bool> = steps.iter().map(|s| s.silent).collect();
    let moved: Vec<String> = if steps.iter().all(|s| s.change.is_none()) {
        let sql = "update apalis.jobs j
             set job_type = case when s.silent then 'silent' else 'feel' end, status = 'Pending',
                 run_at = least(s.seen, now()) + s.after * interval '1 ms',
                 lock_by = null, lock_at = null, attempts = 0
             from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bigint[],
                         $6::bool[])
                 as s (id, lock_by, lock_at, seen, after, silent)
             where j.id = s.id
               and j.job_type = 'think'
               and j.status = 'Queued'
               and j.lock_by = s.lock_by
               and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
             returning j.id";
        column(db, sql, (ids, workers, at, seen, after, &silent)).await?
    } else {
        let values = (
            ids,
            workers,
            at,
            seen,
            after,
            &silent,
            of_changes(steps, |change| Some(change.id)),
            of_changes(steps, |change| Some(change.from)),
            of_changes(steps, |change| Some(change.to)),
            of_changes(steps, |change| Some(change.reason.clone())),
            of_changes(steps, |change| Some(change.observation)),
            of_changes(steps, |change| change.opens),
        );
        let sql = "with step as (
                 select * from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[],
                                      $5::bigint[], $6::bool[], $7::text[], $8::text[],
                                      $9::text[], $10::text[], $11::text[], $12::text[])
                     as s (id, lock_by, lock_at, seen, after, silent,
                           transition, from_state, to_state, reason, observation, opens)),
             moved as (
                 update apalis.jobs j
                 set job_type = case when s.silent then 'silent' else 'feel' end, status = 'Pending',
                     run_at = least(s.seen, now()) + s.after * interval '1 ms',
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
             select id from moved";
        column(db, sql, values).await?
    };
    for (step, pin) in steps
        .iter()
        .filter_map(|s| s.pin.as_ref().map(|pin| (s, pin)))
    {
        let id = step.lock.token.to_string();
        if moved.contains(&id) {
            match pin {
                Pin::HostKey(key) => {
                    let sql = "update servers set host_key = $2 where id = $1 and host_key is null";
                    run(db, sql, (id, key)).await?;
                }
                Pin::Cluster(is) => {
                    let sql = "update resources set system_identifier = $2, data_directory = $3
                         where id = $1 and system_identifier is null";
                    run(db, sql, (id, &is.system_identifier, &is.data_directory)).await?;
                }
            }
        }
    }
    let took_effect = |step: &&ThinkStep| moved.contains(&step.lock.token.to_string());
    let openings = steps
        .iter()
        .filter(|s| !s.opens.is_empty())
        .filter(took_effect);
    let named: Vec<(SubjectId, &Opening, &str)> = openings
        .filter_map(|step| Some((step.lock.token.subject()?, step)))
        .flat_map(|(id, step)| step.opens.iter().map(move |o| (id, o, &*step.lock.worker)))
        .collect();
    if !named.is_empty() {
        // What is wrong is named at every thought while it lasts; almost always its
        // incident is open already.
        let asked: Vec<_> = named
            .iter()
            .map(|(id, o, _)| (whose(*id, o), o.kind))
            .collect();
        let open = incidents::open_among(db, &asked).await?;
        for (id, opening, worker) in named {
            let whose = whose(id, opening);
            if !open.contains(&(whose, opening.kind)) {
                incidents::open(db, whose, opening, worker).await?;
            }
        }
    }
    wake_without_reason(db, steps.iter().filter(took_effect)).await?;
    // Whoever waits for a better word on this subject should hear it at once.
    let turned: Vec<SubjectId> = steps
        .iter()
        .filter(|s| s.change.is_some())
        .filter(took_effect)
        .filter_map(|s| s.lock.token.subject())
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
    let sql = "update apalis.jobs j
               set status = 'Pending', run_at = now() + s.after * interval '1 ms',
                   lock_by = null, lock_at = null, attempts = j.attempts + 1
               from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
                   as s (id, lock_by, lock_at, after)
               where j.id = s.id
                 and j.status = 'Queued'
                 and j.lock_by = s.lock_by
                 and floor(extract(epoch from j.lock_at))::bigint = s.lock_at
               returning j.id";
    column(db, sql, (ids, workers, at, after)).await
}

/// Incidents that wait for a human are looked at when what they are about is not seen any
/// more: these subjects were just thought about, and what is wrong with them is named.
async fn wake_without_reason(
    db: &mut PgConnection,
    steps: impl Iterator<Item = &ThinkStep>,
) -> sqlx::Result<()> {
    let (mut thought, mut ids, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        let Some(id) = step.lock.token.subject() else {
            continue;
        };
        thought.push(id);
        for opening in &step.opens {
            ids.push(id);
            kinds.push(opening.kind);
        }
    }
    let sql = due_now!(
        "incidents i",
        "coalesce(i.subject_id, '') = any($1) and i.state = 'needs_human'
           and i.state <> 'resolved'
           and not exists (select from unnest($2::text[], $3::text[]) as named (id, kind)
                           where named.id = i.subject_id and named.kind = i.kind)"
    );
    run(db, sql, (thought, ids, kinds)).await
}
