//! Operations: what somebody asked for, done step by step by `resolve`.

mod actions;
mod facts;
pub mod failover;
mod listing;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::queue;
use crate::model::{Note, Operation, OperationId, OperationKind, OperationState, RowId, SubjectId};

pub use actions::{ActError, Asked, act};
pub use facts::{Fact, apply, turn};
pub use listing::{AtWork, Event, Listed, Page, at_work, count_open, events, find, list, running};

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

/// Opens an operation with its token. `None` if the subject has an open one
/// already (or the deployment one of this kind). Call it in a transaction.
pub async fn open(db: &mut PgConnection, new: &NewOperation) -> sqlx::Result<Option<OperationId>> {
    let id = OperationId::generate();
    let inserted = sqlx::query(
        "insert into operations (id, subject_id, kind, params, asked_by, reason, not_before)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (coalesce(subject_id, kind)) where state = 'open' do nothing",
    )
    .bind(id)
    .bind(new.subject)
    .bind(new.kind)
    .bind(&new.params)
    .bind(&new.asked_by)
    .bind(&new.reason)
    .bind(new.not_before)
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    let asked = match &new.reason {
        Some(reason) => format!("asked for: {} ({reason})", new.kind),
        None => format!("asked for: {}", new.kind),
    };
    note(db, id, &new.asked_by, &Note::new("asked", asked)).await?;
    queue::insert_operation_token(db, id, new.kind.profile().lane).await?;
    Ok(Some(id))
}

/// Gives an open operation a sealed secret to bring along.
pub async fn entrust(db: &mut PgConnection, id: OperationId, sealed: &[u8]) -> sqlx::Result<()> {
    sqlx::query("update operations set secret = $2 where id = $1 and state = 'open'")
        .bind(id)
        .bind(sealed)
        .execute(db)
        .await?;
    Ok(())
}

/// Reads an operation.
pub async fn load(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as("select * from operations where id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
}

/// The open operation of a subject.
pub async fn open_of(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as("select * from operations where subject_id = $1 and state = 'open'")
        .bind(subject)
        .fetch_optional(db)
        .await
}

/// Writes an event into its timeline.
pub async fn note(
    db: &mut PgConnection,
    id: OperationId,
    actor: &str,
    note: &Note,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into operation_events (id, operation_id, kind, actor, text, detail)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(RowId::generate())
    .bind(id)
    .bind(&note.kind)
    .bind(actor)
    .bind(&note.text)
    .bind(&note.detail)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes where an open operation stands; `false`: somebody else has changed it
/// meanwhile, and nothing was written.
pub async fn save(db: &mut PgConnection, operation: &Operation) -> sqlx::Result<bool> {
    let small = |n: u16| i16::try_from(n).unwrap_or(i16::MAX);
    let done = sqlx::query(
        "update operations
         set revision = revision + 1, step = $3, steps = $4, step_name = $5, step_since = $6,
             note = $7, failures = $8, deadline = $9, stuck_at = $10, memo = $11, params = $12
         where id = $1 and revision = $2 and state = 'open'",
    )
    .bind(operation.id)
    .bind(operation.revision)
    .bind(small(operation.step))
    .bind(small(operation.steps))
    .bind(&operation.step_name)
    .bind(operation.step_since)
    .bind(&operation.note)
    .bind(i32::try_from(operation.failures).unwrap_or(i32::MAX))
    .bind(operation.deadline)
    .bind(operation.stuck_at)
    .bind(&operation.memo)
    .bind(&operation.params)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends an open operation, and takes its token out. Tells whether it was open.
pub async fn end(
    db: &mut PgConnection,
    id: OperationId,
    state: OperationState,
    actor: &str,
    text: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update operations
         set state = $2, ended_at = now(), revision = revision + 1, stuck_at = null, secret = null
         where id = $1 and state = 'open'",
    )
    .bind(id)
    .bind(state)
    .execute(&mut *db)
    .await?;
    queue::remove_from_resolve(db, queue::Token::Operation(id)).await?;
    if done.rows_affected() == 1 {
        note(db, id, actor, &Note::new(state.as_str(), text)).await?;
    }
    Ok(done.rows_affected() == 1)
}

/// Gives the open operation of a subject up. Its token must be held, so that no
/// step is just being committed ([`queue::hold_operation_tokens`]).
pub async fn cancel_open(db: &mut PgConnection, subject: SubjectId, why: &str) -> sqlx::Result<()> {
    queue::hold_operation_tokens(db, subject).await?;
    if let Some(open) = open_of(db, subject).await? {
        let text = format!("given up: {why}");
        end(db, open.id, OperationState::Cancelled, "drover", &text).await?;
    }
    Ok(())
}

/// Gives an operation up that has not begun. Its token must be held. Tells whether it
/// was.
pub async fn call_off(
    db: &mut PgConnection,
    id: OperationId,
    actor: &str,
    why: &str,
) -> sqlx::Result<bool> {
    let waits = load(db, id).await?.is_some_and(|operation| {
        // Every first turn sets a deadline.
        operation.state == OperationState::Open
            && operation.deadline.is_none()
            && operation.step == 0
    });
    if waits {
        let text = format!("given up: {why}");
        return end(db, id, OperationState::Cancelled, actor, &text).await;
    }
    Ok(false)
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
    sqlx::query_as(
        "select * from operations
         where asked_by = $1 and kind = $2 and opened_at >= $3 order by id",
    )
    .bind(by)
    .bind(kind)
    .bind(since)
    .fetch_all(db)
    .await
}

/// Has a stuck operation tried again at once, with its time beginning anew.
pub async fn kick(db: &mut PgConnection, subject: SubjectId, actor: &str) -> sqlx::Result<bool> {
    queue::hold_operation_tokens(db, subject).await?;
    let Some(open) = open_of(db, subject).await? else {
        return Ok(false);
    };
    begin_anew(db, open.id, actor).await?;
    Ok(true)
}

/// The same for an open operation whose token is held.
async fn begin_anew(db: &mut PgConnection, id: OperationId, actor: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update operations
         set stuck_at = null, deadline = null, failures = 0, revision = revision + 1
         where id = $1 and state = 'open'",
    )
    .bind(id)
    .execute(&mut *db)
    .await?;
    let text = "tried again; its time begins anew";
    note(db, id, actor, &Note::new("resumed", text)).await?;
    queue::wake(db, queue::Token::Operation(id)).await
}

/// Whether an operation is at work at this subject, or at its server, that keeps it
/// from answering, or one that changes the leader of what it belongs to: resolvers rest
/// meanwhile. One that is stuck is tried once a minute at most, and leaves the field to
/// them, and so does a failover that has nobody yet who could lead. Gives the words for
/// people.
pub async fn disturbing(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<Option<String>> {
    let found: Option<(OperationKind, String)> = sqlx::query_as(
        "select o.kind, s.name from operations o join subjects s on s.id = o.subject_id
         where o.state = 'open' and o.stuck_at is null and o.kind = any($2)
           and (o.not_before is null or o.not_before <= now())
           and (o.kind <> 'failover' or o.step > 0)
           and (o.subject_id in ($1, (select server_id from resources where id = $1))
                or o.kind = any($3) and o.subject_id in (
                    select n.id from resources r
                    join resources n on n.id = r.leader_id or n.leader_id = r.leader_id
                    where r.id = $1)
                or o.kind = 'failover'
                   and o.subject_id in (select id from resources where server_id = $1))
         order by s.kind desc limit 1",
    )
    .bind(subject)
    .bind(OperationKind::names_where(|kind| kind.disturbs))
    .bind(OperationKind::names_where(|kind| kind.moves_lead))
    .fetch_optional(db)
    .await?;
    Ok(found.map(|(kind, name)| format!("{name} {}", kind.profile().words)))
}
