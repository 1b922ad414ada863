//! Operations: what was asked for, how far it is, and what a person does about it.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use sqlx::PgConnection;

use super::Web;
use super::act::{self, asker, read_action};
use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::operation_views as views;
use super::params::{Id, Params, none_such, wrong};
use super::views::cut;
use crate::api::{self, ActOnOperation, OperationTimeline};
use crate::model::{Operation, OperationAction, OperationId, OperationState};
use crate::store;
use crate::store::operations::{self, ActError, Asked, Page};

/// Everything below `/v1/operations`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{id}", get(show))
        .route("/{id}/actions", post(act))
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<api::Page<api::Operation>>> {
    let page = page(&params)?;
    let mut db = web.pool.acquire().await?;
    let now = store::now(&mut db).await?;
    let rows = operations::list(&mut db, &page).await?;
    let rows = cut(rows, params.limit()?, |row| row.operation.id.public());
    Ok(Json(rows.map(|row| views::operation(row, now))))
}

fn page(params: &Params) -> Result<Page> {
    params.only(&["subject", "state", "stuck", "limit", "cursor"])?;
    Ok(Page {
        subject: params.subject()?,
        state: params.word("state")?,
        stuck: match params.get("stuck") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(wrong("stuck", "must be true or false")),
        },
        before: params.cursor(|text| OperationId::from_public(text).ok())?,
        limit: params.ahead()?,
    })
}

async fn show(State(web): State<Web>, Id(id): Id<OperationId>) -> Result<Json<OperationTimeline>> {
    // One snapshot: the parts of a timeline have to fit each other.
    let mut db = store::snapshot(&web.pool).await?;
    let view = timeline(&mut db, id).await?;
    db.rollback().await?;
    Ok(Json(view))
}

async fn timeline(db: &mut PgConnection, id: OperationId) -> Result<OperationTimeline> {
    Ok(OperationTimeline {
        operation: operation_view(db, id).await?,
        events: operations::events(db, id).await?,
    })
}

/// One operation, shown.
///
/// # Errors
/// 404 if there is none.
pub async fn operation_view(db: &mut PgConnection, id: OperationId) -> Result<api::Operation> {
    let now = store::now(db).await?;
    let found = operations::find(db, id).await?;
    let found = found.ok_or_else(|| none_such("operation", id))?;
    Ok(views::operation(found, now))
}

async fn act(
    State(web): State<Web>,
    Id(id): Id<OperationId>,
    body: Body,
) -> Result<Json<OperationTimeline>> {
    let asked = read(&body)?;
    let asked = Asked {
        action: asked.action,
        by: asker(asked.by),
        reason: asked.reason,
    };
    let mut db = web.pool.begin().await?;
    match operations::act(&mut db, id, &asked).await {
        Ok(()) => {}
        Err(ActError::NotFound) => return Err(none_such("operation", id)),
        Err(ActError::NotNow(found)) => {
            let now = store::now(&mut db).await?;
            let possible = OperationAction::possible(&found, now);
            return Err(not_now(asked.action, &found, &possible));
        }
        Err(ActError::Database(error)) => return Err(error.into()),
    }
    let view = timeline(&mut db, id).await?;
    db.commit().await?;
    let (action, by) = (asked.action, &asked.by);
    tracing::info!(operation = %id.public(), %action, %by, "an operator acted on an operation");
    Ok(Json(view))
}

/// Reads what is to be done about an operation.
///
/// # Errors
/// If there is no such action, or an override has no reason.
pub fn read(body: &Body) -> Result<ActOnOperation> {
    let asked: ActOnOperation = read_action(body)?;
    if asked.action == OperationAction::Override && asked.reason.is_none() {
        return Err(missing("reason").and(": who overrides drover's care says why"));
    }
    Ok(asked)
}

fn not_now(
    action: OperationAction,
    operation: &Operation,
    possible: &[OperationAction],
) -> ApiError {
    let stands = match (operation.state, operation.stuck_at) {
        (OperationState::Open, Some(_)) => "stuck",
        (OperationState::Open, None) => "on its way",
        (OperationState::Done, _) => "done",
        (OperationState::Cancelled, _) => "cancelled",
        (OperationState::Failed, _) => "over: it failed",
        (OperationState::Skipped, _) => "over: it was not needed, or could not be done",
    };
    let message = format!(
        "the operation is {stands} and does not allow {action} (retry: of one that is stuck; \
         override: of a failover that drover does not dare; cancel: of one that waits for its \
         maintenance window, or a failover that has not begun to fence)"
    );
    act::not_now(message, possible, "now")
}
