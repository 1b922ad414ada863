//! Operations: what somebody asked for, done step by step by `resolve`.

mod actions;
mod facts;
pub mod failover;
mod listing;
mod turns;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::queue;
use super::statement::{only_value, row, rows, run, touched};
use crate::model::{
    Incident, Note, Operation, OperationId, OperationKind, OperationState, SubjectId,
};

pub use actions::{ActError, Asked, act};
pub use facts::{Fact, apply, follow_up, turn};
pub use listing::{AtWork, Listed, Page, at_work, count_open, events, find, list, running};
pub use turns::{Claim, Disturbed, claim, disturbing, in_the_way};

/// Something that is wanted.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// On what; `None`: the deployment.
    pub subject: Option<SubjectId>,
    /// What is to be done.
    pub kind: OperationKind,
    /// What exactly; never a secret.
    pub params: Value,
    /// Who asks.
    pub asked_by: String,
    /// Why, if they say.
    pub reason: Option<String>,
    /// Not to be begun earlier.
    pub not_before: Option<DateTime<Utc>>,
}

impl NewOperation {
    /// One without parameters, that may begin at once.
    pub fn new(
        subject: impl Into<Option<SubjectId>>,
        kind: OperationKind,
        asked_by: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            kind,
            params: Value::Object(Default::default()),
            asked_by: asked_by.into(),
            reason: None,
            not_before: None,
        }
    }
}

/// As which remedy of which incident an operation is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Remedy<'a> {
    /// The incident, and how pressing it is.
    pub incident: &'a Incident,
    /// The remedy's name.
    pub name: &'a str,
    /// For which time.
    pub attempt: u16,
}

/// Opens an operation that somebody asks for, with its token. `None` if another one is in
/// the way ([`in_the_way`]). Call it in a transaction.
pub async fn open(db: &mut PgConnection, new: &NewOperation) -> sqlx::Result<Option<OperationId>> {
    if let Some(subject) = new.subject
        && in_the_way(db, subject, new.kind).await?.is_some()
    {
        return Ok(None);
    }
    insert(db, new, None).await
}

/// Opens an operation that an incident asks for, with its token in the incident's lane.
/// Nothing is in its way: what is at work is waited for, or gives way. Call it in a
/// transaction.
pub async fn open_for(
    db: &mut PgConnection,
    new: &NewOperation,
    remedy: Remedy<'_>,
) -> sqlx::Result<OperationId> {
    let opened = insert(db, new, Some(remedy)).await?;
    opened.ok_or_else(|| sqlx::Error::Protocol("a remedy was not asked for".into()))
}

async fn insert(
    db: &mut PgConnection,
    new: &NewOperation,
    remedy: Option<Remedy<'_>>,
) -> sqlx::Result<Option<OperationId>> {
    let id = OperationId::generate();
    let lane = match remedy {
        Some(remedy) => new
            .kind
            .profile()
            .lane
            .max(remedy.incident.kind.profile().lane),
        None => new.kind.profile().lane,
    };
    let values = (
        id,
        new.subject,
        new.kind,
        &new.params,
        &new.asked_by,
        &new.reason,
        new.not_before,
        remedy.map(|remedy| remedy.incident.id),
        remedy.map(|remedy| remedy.name),
        remedy.map(|remedy| i16::try_from(remedy.attempt).unwrap_or(i16::MAX)),
        i16::try_from(lane.priority()).unwrap_or_default(),
    );
    let sql = "insert into operations (id, subject_id, kind, params, asked_by, reason, not_before,
                                       incident_id, remedy, attempt, lane)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               on conflict do nothing";
    let inserted = touched(db, sql, values).await?;
    if inserted == 0 {
        return Ok(None);
    }
    let asked = match &new.reason {
        Some(reason) => format!("asked for: {} ({reason})", new.kind),
        None => format!("asked for: {}", new.kind),
    };
    note(db, id, &new.asked_by, &Note::new("asked", asked)).await?;
    queue::insert_operation_token(db, id, lane).await?;
    Ok(Some(id))
}

/// One that is at work already is what an incident asks for.
pub async fn take_over(
    db: &mut PgConnection,
    id: OperationId,
    remedy: Remedy<'_>,
) -> sqlx::Result<()> {
    let values = (
        id,
        remedy.incident.id,
        remedy.name,
        i16::try_from(remedy.attempt).unwrap_or(i16::MAX),
    );
    let sql =
        "update operations set incident_id = $2, remedy = $3, attempt = $4, revision = revision + 1
         where id = $1 and state = 'open' and incident_id is null";
    run(db, sql, values).await
}

/// Whether a step of one of these is just being done.
pub async fn in_a_step(db: &mut PgConnection, operations: &[Operation]) -> sqlx::Result<bool> {
    let ids: Vec<OperationId> = operations.iter().map(|operation| operation.id).collect();
    let sql = "select exists (select from subjects
                              where lock_owner = any($1) and lock_worker is not null
                                and lock_until > clock_timestamp())";
    only_value(db, sql, [ids]).await
}

/// What an incident has asked for as the remedy that it is at. A playbook that began anew
/// counts its attempts anew: what ended before is not of this one.
pub async fn of_remedy(db: &mut PgConnection, incident: &Incident) -> sqlx::Result<Vec<Operation>> {
    let values = (
        incident.id,
        &incident.remedy,
        i16::try_from(incident.attempt).unwrap_or(i16::MAX),
        incident.state_since,
    );
    let sql = "select * from operations
               where incident_id = $1 and remedy = $2 and attempt = $3
                 and (opened_at >= $4 or state = 'open')
               order by id";
    rows(db, sql, values).await
}

/// Gives an open operation a sealed secret to bring along.
pub async fn entrust(db: &mut PgConnection, id: OperationId, sealed: &[u8]) -> sqlx::Result<()> {
    let sql = "update operations set secret = $2 where id = $1 and state = 'open'";
    run(db, sql, (id, sealed)).await
}

/// Reads an operation.
pub async fn load(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Option<Operation>> {
    row(db, "select * from operations where id = $1", [id]).await
}

/// The open operations of a subject: the one at work first, then in the order in which
/// their time comes.
pub async fn open_of(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<Vec<Operation>> {
    let sql = "select * from operations where subject_id = $1 and state = 'open'
               order by at_work desc, not_before nulls first, id";
    rows(db, sql, [subject]).await
}

/// Writes an event into its timeline.
pub async fn note(
    db: &mut PgConnection,
    id: OperationId,
    actor: &str,
    note: &Note,
) -> sqlx::Result<()> {
    let sql = "insert into operation_events (id, operation_id, kind, actor, text, detail)
               values ($1, $2, $3, $4, $5, $6)";
    super::write_note(db, sql, id.to_string(), actor, note).await
}

/// Writes where an open operation stands; `false`: somebody else has changed it
/// meanwhile, and nothing was written.
pub async fn save(db: &mut PgConnection, operation: &Operation) -> sqlx::Result<bool> {
    let small = |n: u16| i16::try_from(n).unwrap_or(i16::MAX);
    let values = (
        operation.id,
        operation.revision,
        small(operation.step),
        small(operation.steps),
        &operation.step_name,
        operation.step_since,
        &operation.note,
        i32::try_from(operation.failures).unwrap_or(i32::MAX),
        operation.deadline,
        operation.stuck_at,
        &operation.memo,
        &operation.params,
    );
    let sql = "update operations
               set revision = revision + 1, step = $3, steps = $4, step_name = $5, step_since = $6,
                   note = $7, failures = $8, deadline = $9, stuck_at = $10, memo = $11, params = $12
               where id = $1 and revision = $2 and state = 'open'";
    let touched = touched(db, sql, values).await?;
    Ok(touched == 1)
}

/// Ends an open operation, and takes its token out. Tells whether it was open.
pub async fn end(
    db: &mut PgConnection,
    id: OperationId,
    state: OperationState,
    actor: &str,
    text: &str,
) -> sqlx::Result<bool> {
    let sql = "update operations
         set state = $2, ended_at = clock_timestamp(), revision = revision + 1, stuck_at = null,
             secret = null, at_work = false,
             note = case when $2 in ('failed', 'skipped') then $3 else note end
         where id = $1 and state = 'open'";
    let done = touched(db, sql, (id, state, text)).await?;
    queue::remove_from_resolve(db, queue::Token::Operation(id)).await?;
    if done == 1 {
        note(db, id, actor, &Note::new(state.as_str(), text)).await?;
    }
    Ok(done == 1)
}

/// Gives the open operations of a subject up.
pub async fn cancel_open(db: &mut PgConnection, subject: SubjectId, why: &str) -> sqlx::Result<()> {
    queue::hold_operation_tokens(db, subject).await?;
    for open in open_of(db, subject).await? {
        let text = format!("given up: {why}");
        end(db, open.id, OperationState::Cancelled, "drover", &text).await?;
    }
    Ok(())
}

/// Gives an operation up in which no step has begun but these. Its token must be held.
/// Tells whether it was.
pub async fn call_off_before(
    db: &mut PgConnection,
    id: OperationId,
    steps: &[&str],
    actor: &str,
    why: &str,
) -> sqlx::Result<bool> {
    let harmless = load(db, id).await?.is_some_and(|operation| {
        // Every first turn sets a deadline.
        let begun = operation.deadline.is_some() || operation.step > 0;
        operation.state == OperationState::Open
            && (!begun || steps.contains(&operation.step_name.as_str()))
    });
    if harmless {
        let text = format!("given up: {why}");
        return end(db, id, OperationState::Cancelled, actor, &text).await;
    }
    Ok(false)
}

/// What somebody has asked for since then, of this kind; the oldest first.
pub async fn asked_by(
    db: &mut PgConnection,
    by: &str,
    kind: OperationKind,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Operation>> {
    let sql = "select * from operations
               where asked_by = $1 and kind = $2 and opened_at >= $3 order by id";
    rows(db, sql, (by, kind, since)).await
}

/// Has a stuck operation tried again at once, with its time beginning anew.
pub async fn kick(db: &mut PgConnection, subject: SubjectId, actor: &str) -> sqlx::Result<bool> {
    queue::hold_operation_tokens(db, subject).await?;
    let open = open_of(db, subject).await?;
    let stuck = open.iter().filter(|open| open.stuck_at.is_some());
    for open in stuck.clone() {
        begin_anew(db, open.id, actor).await?;
    }
    Ok(stuck.count() > 0)
}

/// The same for an open operation whose token is held.
async fn begin_anew(db: &mut PgConnection, id: OperationId, actor: &str) -> sqlx::Result<()> {
    let sql = "update operations
               set stuck_at = null, deadline = null, failures = 0, revision = revision + 1
               where id = $1 and state = 'open'";
    run(db, sql, [id]).await?;
    let text = "tried again; its time begins anew";
    note(db, id, actor, &Note::new("resumed", text)).await?;
    queue::wake(db, queue::Token::Operation(id)).await
}
