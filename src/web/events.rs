//! Events: what changed for good and others should know. So far: who leads.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use sqlx::PgConnection;

use super::Web;
use super::error::Result;
use super::params::{Id, Params, none_such, prefixed, public_id, wrong};
use super::views::cut;
use crate::api::{self, Page as ApiPage, Public};
use crate::model::{Kind, LeaderChange, LeaderChangeId, PublicId, SubjectId};
use crate::store::leader_changes::{self, Order, Page};

/// Everything below `/v1/events`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{id}", get(show))
}

/// Shows a change of leader.
fn view(change: LeaderChange) -> api::Event {
    api::Event {
        r#type: "leader.changed".into(),
        id: Public(change.id),
        at: change.at,
        kind: change.kind,
        name: change.name,
        epoch: change.epoch,
        new_leader: change.new_leader,
        old_leader: change.old_leader,
        operation: Public(change.operation),
        detail: change.detail,
    }
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<ApiPage<api::Event>>> {
    let mut db = web.pool.acquire().await?;
    let page = page(&mut db, &params).await?;
    let rows = leader_changes::list(&mut db, &page).await?;
    let rows = cut(rows, params.limit()?, |change| change.id.public());
    Ok(Json(rows.map(view)))
}

async fn page(db: &mut PgConnection, params: &Params) -> Result<Page> {
    params.only(&["resource", "order", "after", "limit", "cursor"])?;
    let resource = params.get("resource").map(resource);
    let after = params.get("after").map(|id| prefixed("after", id));
    let after = after.transpose()?;
    let order = match (params.get("order"), after) {
        (None, None) | (Some("newest"), None) => Order::NewestFirst,
        (None | Some("oldest"), Some(_)) | (Some("oldest"), None) => Order::OldestFirst,
        (Some("newest"), Some(_)) => {
            return Err(wrong("order", "must be oldest together with after"));
        }
        (Some(_), _) => return Err(wrong("order", "must be newest or oldest")),
    };
    // Behind an event that never was, nothing would ever come.
    if let Some(id) = after
        && leader_changes::load(db, id).await?.is_none()
    {
        return Err(wrong("after", "must be the id of an event that there is"));
    }
    let cursor = params.cursor(|text| LeaderChangeId::from_public(text).ok())?;
    Ok(Page {
        resource: resource.transpose()?,
        order,
        after: cursor.or(after),
        limit: params.ahead()?,
    })
}

fn resource(text: &str) -> Result<SubjectId> {
    match public_id("resource", text)? {
        PublicId {
            kind: Kind::Resource,
            id,
        } => Ok(id),
        PublicId {
            kind: Kind::Server, ..
        } => Err(wrong("resource", "must be a resource's id: db_…")),
    }
}

async fn show(State(web): State<Web>, Id(id): Id<LeaderChangeId>) -> Result<Json<api::Event>> {
    let mut db = web.pool.acquire().await?;
    let found = leader_changes::load(&mut db, id).await?;
    Ok(Json(view(found.ok_or_else(|| none_such("event", id))?)))
}
