//! How operations are asked for.

use sqlx::{FromRow, PgConnection};

use crate::api::TimelineEvent;
use crate::model::{Operation, OperationId, OperationKind, OperationState, PublicId, SubjectId};
use crate::store::statement::{row, rows};
use crate::store::subjects::Whose;

/// A page of a listing, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only of this subject.
    pub subject: Option<PublicId>,
    /// Only in this state.
    pub state: Option<OperationState>,
    /// Only those that need a human.
    pub stuck: bool,
    /// Only before this one.
    pub before: Option<OperationId>,
    /// At most this many.
    pub limit: i64,
}

/// An operation with what its subject is called.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    /// The operation.
    #[sqlx(flatten)]
    pub operation: Operation,
    /// Whose; `None`: the deployment's.
    #[sqlx(flatten)]
    pub whose: Whose,
}

/// Lists operations, newest first; those of subjects that are gone too.
pub async fn list(db: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Listed>> {
    let values = (
        page.subject.map(|of| of.id),
        page.state,
        page.stuck,
        page.before,
        page.limit,
        page.subject.map(|of| of.kind),
    );
    let sql = "select o.*, s.kind as subject_kind, s.name as subject_name
               from operations o left join subjects s on s.id = o.subject_id
               where ($1::text is null or o.subject_id = $1 and s.kind = $6)
                 and ($2::text is null or o.state = $2)
                 and (not $3 or o.stuck_at is not null)
                 and ($4::text is null or o.id < $4)
               order by o.id desc limit $5";
    rows(db, sql, values).await
}

/// One operation.
pub async fn find(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Option<Listed>> {
    let sql = "select o.*, s.kind as subject_kind, s.name as subject_name
               from operations o left join subjects s on s.id = o.subject_id
               where o.id = $1";
    row(db, sql, [id]).await
}

/// The open operations of these subjects.
pub async fn running(db: &mut PgConnection, of: &[SubjectId]) -> sqlx::Result<Vec<Operation>> {
    let sql = "select * from operations where subject_id = any($1) and state = 'open'";
    rows(db, sql, [of]).await
}

/// Its newest events, the oldest of them first.
pub async fn events(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Vec<TimelineEvent>> {
    let sql = "select * from (
                   select id, created_at, kind, actor, text, detail from operation_events
                   where operation_id = $1 order by created_at desc, id desc limit 500) newest
               order by created_at, id";
    rows(db, sql, [id]).await
}

/// Open operations by kind: those that go on (`open`), and those that are `stuck`.
pub async fn count_open(db: &mut PgConnection) -> sqlx::Result<Vec<(String, String, i64)>> {
    let sql = "select kind, case when stuck_at is null then 'open' else 'stuck' end, count(*)
               from operations where state = 'open' group by 1, 2 order by 1, 2";
    rows(db, sql, ()).await
}

/// How far an open operation is: nothing that tells whose it is.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct AtWork {
    /// What is done.
    pub kind: OperationKind,
    /// Which step is next or at work, from 0.
    pub step: i16,
    /// Of how many.
    pub steps: i16,
    /// Its name.
    pub step_name: String,
    /// Whether it waits for a window to open.
    pub waits: bool,
    /// Whether a human is needed.
    pub stuck: bool,
    /// Seconds since it was asked for.
    pub age_s: f64,
}

/// At most so many open operations: those that are stuck first, then the oldest.
pub async fn at_work(db: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<AtWork>> {
    let sql = "select kind, step, steps, step_name, coalesce(not_before > now(), false) as waits,
                      stuck_at is not null as stuck,
                      extract(epoch from now() - opened_at)::float8 as age_s
               from operations where state = 'open'
               order by stuck_at nulls last, opened_at, id limit $1";
    rows(db, sql, [limit]).await
}
