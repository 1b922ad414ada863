//! How operations are asked for.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::Row;
use crate::model::{Operation, OperationId, OperationState, SubjectId};

/// A page of a listing, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only of this subject.
    pub subject: Option<SubjectId>,
    /// Only in this state.
    pub state: Option<OperationState>,
    /// Only those that need a human.
    pub stuck: bool,
    /// Only before this one.
    pub before: Option<OperationId>,
    /// At most this many.
    pub limit: i64,
}

/// Lists operations, newest first.
pub async fn list(db: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Operation>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from operations
         where ($1::text is null or subject_id = $1)
           and ($2::text is null or state = $2)
           and (not $3 or stuck_at is not null)
           and ($4::text is null or id < $4)
         order by id desc limit $5",
    )
    .bind(page.subject.map(|id| id.to_string()))
    .bind(page.state.map(OperationState::as_str))
    .bind(page.stuck)
    .bind(page.before.map(|id| id.to_string()))
    .bind(page.limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::into_operation).collect()
}

/// One operation.
pub async fn find(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Option<Operation>> {
    super::load(db, id).await
}

/// The open operation of a subject.
pub type Running = Operation;

/// The open operations of these subjects.
pub async fn running(db: &mut PgConnection, of: &[SubjectId]) -> sqlx::Result<Vec<Running>> {
    let ids: Vec<String> = of.iter().map(SubjectId::to_string).collect();
    let rows: Vec<Row> =
        sqlx::query_as("select * from operations where subject_id = any($1) and state = 'open'")
            .bind(ids)
            .fetch_all(db)
            .await?;
    rows.into_iter().map(Row::into_operation).collect()
}

/// What its timeline says.
#[derive(Clone, Debug, FromRow)]
pub struct Event {
    /// When.
    pub created_at: DateTime<Utc>,
    /// `asked`, `step`, `waiting`, `failed`, `stuck`, `resumed`, `done` …
    pub kind: String,
    /// A worker's name, or who asked through the API.
    pub actor: String,
    /// For people.
    pub text: String,
    /// For programs.
    pub detail: Value,
}

/// Its newest events, the oldest of them first.
pub async fn events(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as(
        "select * from (
             select id, created_at, kind, actor, text, detail from operation_events
             where operation_id = $1 order by created_at desc, id desc limit 500) newest
         order by created_at, id",
    )
    .bind(id.to_string())
    .fetch_all(db)
    .await
}
