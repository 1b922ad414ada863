//! Incidents: what is wrong, what was done about it, and what a person does.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Web;
use super::act::{asker, not_now, read_action};
use super::body::{Body, missing};
use super::error::Result;
use super::incident_views as views;
use super::modes::mode_set;
use super::params::{Id, Params, none_such, wrong};
use super::views::cut;
use crate::api::{self, ActOnIncident, IncidentTimeline};
use crate::model::{Action, IncidentId, IncidentState};
use crate::store::incidents::{self, ActError, Asked, Page, Wanted};
use crate::store::{self, modes, runs};

/// Everything below `/v1/incidents`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{id}", get(show))
        .route("/{id}/actions", post(act))
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<api::Page<api::Incident>>> {
    let page = page(&params)?;
    let mut db = web.pool.acquire().await?;
    let rows = incidents::list(&mut db, &page).await?;
    let rows = cut(rows, params.limit()?, |row| row.incident.id.public());
    Ok(Json(rows.map(views::incident)))
}

fn page(params: &Params) -> Result<Page> {
    params.only(&[
        "state", "kind", "subject", "severity", "since", "limit", "cursor",
    ])?;
    Ok(Page {
        state: params.get("state").map(wanted).transpose()?,
        kind: params.word("kind")?,
        subject: params.subject()?,
        severity: params.word("severity")?,
        since: params.get("since").map(since).transpose()?,
        before: params.cursor(|text| IncidentId::from_public(text).ok())?,
        limit: params.ahead()?,
    })
}

fn wanted(text: &str) -> Result<Wanted> {
    if text == "open" {
        return Ok(Wanted::Open);
    }
    text.parse::<IncidentState>()
        .map(Wanted::In)
        .map_err(|known| wrong("state", &format!("{known}, or open: all but resolved")))
}

fn since(text: &str) -> Result<DateTime<Utc>> {
    // In an address a + is a blank, and nobody remembers to write %2B.
    DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
        .map(|time| time.to_utc())
        .map_err(|_| wrong("since", "must be a time such as 2026-01-31T12:00:00Z"))
}

async fn show(State(web): State<Web>, Id(id): Id<IncidentId>) -> Result<Json<IncidentTimeline>> {
    // One snapshot: the parts of a timeline have to fit each other.
    let mut db = store::snapshot(&web.pool).await?;
    let view = view(&mut db, id).await?;
    db.rollback().await?;
    Ok(Json(view))
}

async fn view(db: &mut PgConnection, id: IncidentId) -> Result<IncidentTimeline> {
    let listed = incidents::find(db, id).await?;
    let listed = listed.ok_or_else(|| none_such("incident", id))?;
    let mode = match listed.incident.subject {
        Some(subject) => modes::holding(db, &[subject]).await?.remove(&subject),
        None => modes::of_herd(db).await?,
    };
    Ok(IncidentTimeline {
        incident: views::incident(listed),
        mode: mode_set(mode),
        events: incidents::events(db, id).await?,
        runs: runs::of(db, id).await?,
        messages: incidents::messages(db, id).await?,
    })
}

async fn act(
    State(web): State<Web>,
    Id(id): Id<IncidentId>,
    body: Body,
) -> Result<Json<IncidentTimeline>> {
    let asked = read(&body)?;
    let asked = Asked {
        action: asked.action,
        by: asker(asked.by),
        reason: asked.reason,
    };
    let mut db = web.pool.begin().await?;
    match incidents::act(&mut db, id, &asked).await {
        Ok(()) => {}
        Err(ActError::NotFound) => return Err(none_such("incident", id)),
        Err(ActError::NotNow { state, possible }) => {
            let why = format!(
                "the incident is {state} and does not allow {}",
                asked.action
            );
            return Err(not_now(why, &possible, "any more"));
        }
        Err(ActError::Database(e)) => return Err(e.into()),
    }
    let view = view(&mut db, id).await?;
    db.commit().await?;
    let (action, by) = (asked.action, &asked.by);
    tracing::info!(incident = %id.public(), %action, %by, "an operator acted on an incident");
    Ok(Json(view))
}

/// Reads what is to be done about an incident.
///
/// # Errors
/// If there is no such action, or a resolution has no reason.
pub fn read(body: &Body) -> Result<ActOnIncident> {
    let asked: ActOnIncident = read_action(body)?;
    if asked.action == Action::Resolve && asked.reason.is_none() {
        return Err(missing("reason"));
    }
    Ok(asked)
}
