//! Messages to people: what became of them, and having a dead one sent again.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::Web;
use super::body::Body;
use super::error::{ApiError, Result};
use super::params::{Params, wrong};
use super::views::PageView;
use crate::model::{
    Channel, Deed, IncidentId, Matter, Message, MessageId, MessageState, Provider, Severity,
};
use crate::store::outbox::{self, Page, RetryError};

/// Everything below `/v1/messages`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{id}", get(show))
        .route("/{id}/actions", post(act))
}

/// A message.
#[derive(Serialize)]
struct MessageView {
    id: String,
    created_at: DateTime<Utc>,
    /// Of which incident it tells.
    incident: Option<String>,
    /// Or of which event.
    event: Option<String>,
    channel: Channel,
    action: Deed,
    severity: Severity,
    summary: String,
    detail: Value,
    state: MessageState,
    attempts: u32,
    last_error: Option<String>,
    delivered_by: Option<Provider>,
    reference: Option<String>,
    settled_at: Option<DateTime<Utc>>,
}

impl MessageView {
    fn new(message: Message) -> Self {
        let (incident, event) = match message.matter {
            Matter::Incident(id) => (Some(id.public()), None),
            Matter::LeaderChange(id) => (None, Some(id.public())),
        };
        Self {
            id: message.id.public(),
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
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<PageView<MessageView>>> {
    params.only(&["state", "incident", "limit", "cursor"])?;
    let state = params.get("state").map(str::parse).transpose();
    let incident = params.get("incident").map(IncidentId::from_public);
    let limit = params.limit()?;
    let page = Page {
        state: state.map_err(|known: String| wrong("state", &known))?,
        incident: incident
            .transpose()
            .map_err(|e| ApiError::bad_request("malformed_id", e.to_string()).field("incident"))?,
        before: params.cursor(|text| MessageId::from_public(text).ok())?,
        limit: limit + 1,
    };
    let mut db = web.pool.acquire().await?;
    let rows = outbox::list(&mut db, &page).await?;
    let rows = PageView::cut(rows, limit, |message| message.id.public());
    Ok(Json(rows.map(MessageView::new)))
}

async fn show(State(web): State<Web>, Path(id): Path<String>) -> Result<Json<MessageView>> {
    let id = message_id(&id)?;
    let mut db = web.pool.acquire().await?;
    let message = outbox::load(&mut db, id).await?;
    let message = message.ok_or_else(|| unknown(id))?;
    Ok(Json(MessageView::new(message)))
}

async fn act(
    State(web): State<Web>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<MessageView>)> {
    let id = message_id(&id)?;
    body.only(&["action"])?;
    if body.required("action")? != "retry" {
        let message = "there is no such action on a message; there is: retry";
        return Err(ApiError::unprocessable("unknown_action", message).field("action"));
    }
    let mut db = web.pool.begin().await?;
    match outbox::retry(&mut db, id, "api").await {
        Ok(message) => {
            db.commit().await?;
            Ok((StatusCode::ACCEPTED, Json(MessageView::new(message))))
        }
        Err(RetryError::NotFound) => Err(unknown(id)),
        Err(e @ RetryError::NotDead(_)) => Err(ApiError::conflict("not_dead", e.to_string())),
        Err(e @ RetryError::Overtaken(_)) => Err(ApiError::conflict("overtaken", e.to_string())),
        Err(RetryError::Database(e)) => Err(e.into()),
    }
}

fn message_id(text: &str) -> Result<MessageId> {
    MessageId::from_public(text)
        .map_err(|e| ApiError::bad_request("malformed_id", e.to_string()).field("id"))
}

fn unknown(id: MessageId) -> ApiError {
    ApiError::not_found(format!("there is no message {}", id.public())).field("id")
}
