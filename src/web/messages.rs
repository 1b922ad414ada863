//! Messages to people: what became of them, and having a dead one sent again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Web;
use super::body::Body;
use super::error::{ApiError, Result};
use super::params::{Id, Params, none_such, prefixed};
use super::views::cut;
use crate::api::{self, ActOnMessage, Public};
use crate::model::{Matter, Message, MessageId};
use crate::store::outbox::{self, Page, RetryError};

/// Everything below `/v1/messages`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{id}", get(show))
        .route("/{id}/actions", post(act))
}

fn view(message: Message) -> api::Message {
    let (incident, event) = match message.matter {
        Matter::Incident(id) => (Some(Public(id)), None),
        Matter::LeaderChange(id) => (None, Some(Public(id))),
    };
    api::Message {
        id: Public(message.id),
        created_at: message.created_at,
        incident,
        event,
        channel: message.channel,
        action: message.action,
        severity: message.severity,
        summary: message.summary,
        detail: message.detail,
        state: message.state,
        attempts: message.attempts,
        last_error: message.last_error,
        delivered_by: message.delivered_by,
        reference: message.reference,
        settled_at: message.settled_at,
    }
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<api::Page<api::Message>>> {
    params.only(&["state", "incident", "limit", "cursor"])?;
    let incident = params.get("incident").map(|id| prefixed("incident", id));
    let limit = params.limit()?;
    let page = Page {
        state: params.word("state")?,
        incident: incident.transpose()?,
        before: params.cursor(|text| MessageId::from_public(text).ok())?,
        limit: limit + 1,
    };
    let mut db = web.pool.acquire().await?;
    let rows = outbox::list(&mut db, &page).await?;
    let rows = cut(rows, limit, |message| message.id.public());
    Ok(Json(rows.map(view)))
}

async fn show(State(web): State<Web>, Id(id): Id<MessageId>) -> Result<Json<api::Message>> {
    let mut db = web.pool.acquire().await?;
    let message = outbox::load(&mut db, id).await?;
    let message = message.ok_or_else(|| none_such("message", id))?;
    Ok(Json(view(message)))
}

async fn act(
    State(web): State<Web>,
    Id(id): Id<MessageId>,
    body: Body,
) -> Result<(StatusCode, Json<api::Message>)> {
    let ActOnMessage::Retry = read(&body)?;
    let mut db = web.pool.begin().await?;
    match outbox::retry(&mut db, id, "api").await {
        Ok(message) => {
            db.commit().await?;
            Ok((StatusCode::ACCEPTED, Json(view(message))))
        }
        Err(RetryError::NotFound) => Err(none_such("message", id)),
        Err(e @ RetryError::NotDead(_)) => Err(ApiError::conflict("not_dead", e.to_string())),
        Err(e @ RetryError::Overtaken(_)) => Err(ApiError::conflict("overtaken", e.to_string())),
        Err(RetryError::Database(e)) => Err(e.into()),
    }
}

/// Reads what is to be done about a message.
///
/// # Errors
/// If there is no such action.
pub fn read(body: &Body) -> Result<ActOnMessage> {
    body.only(&["action"])?;
    if body.required("action")? != "retry" {
        let message = "there is no such action on a message; there is: retry";
        return Err(ApiError::unprocessable("unknown_action", message).field("action"));
    }
    Ok(ActOnMessage::Retry)
}
