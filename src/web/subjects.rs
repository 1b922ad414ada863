//! What servers and resources have in common: lists, single ones, their
//! histories.

use std::collections::HashMap;

use axum::extract::{Extension, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Datelike};
use sqlx::PgConnection;

use super::error::Result;
use super::params::{Params, destroyed, public_id, unknown, wrong};
use super::views::{self, Beside};
use super::{Web, act, destroy};
use crate::api::{self, Page};
use crate::model::{Kind, ObservationId, PublicId, SubjectId};
use crate::store::observations::Before;
use crate::store::subjects::Known;
use crate::store::{
    creation, incidents, leader_changes, modes, observations, operations, subjects, transitions,
};

/// The routes that both kinds have, below `/v1/servers` and `/v1/resources`.
pub fn routes(kind: Kind) -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{id}", get(show).delete(destroy::remove))
        .route("/{id}/observations", get(list_observations))
        .route("/{id}/transitions", get(list_transitions))
        .route("/{id}/actions", post(act::act))
        .layer(Extension(kind))
}

async fn list(
    State(web): State<Web>,
    Extension(kind): Extension<Kind>,
    params: Params,
) -> Result<Json<Page<api::Subject>>> {
    let page = page(kind, &params)?;
    let mut db = web.pool.acquire().await?;
    let rows = subjects::list(&mut db, kind, &page).await?;
    let rows = views::cut(rows, params.limit()?, |known| {
        PublicId::new(kind, known.subject().id).to_string()
    });
    let ids: Vec<SubjectId> = rows.items.iter().map(|known| known.subject().id).collect();
    let mut beside = beside(&mut db, &ids).await?;
    Ok(Json(rows.map(|known| {
        let beside = beside.remove(&known.subject().id).unwrap_or_default();
        views::subject(known, beside)
    })))
}

/// What is shown with these subjects.
async fn beside(
    db: &mut PgConnection,
    ids: &[SubjectId],
) -> sqlx::Result<HashMap<SubjectId, Beside>> {
    let mut all: HashMap<SubjectId, Beside> = HashMap::new();
    for (id, seen) in observations::newest(db, ids).await? {
        all.entry(id).or_default().last = Some(seen);
    }
    for (id, set) in modes::holding(db, ids).await? {
        all.entry(id).or_default().mode = Some(set);
    }
    for open in incidents::open_of(db, ids).await? {
        all.entry(open.subject_id).or_default().incidents.push(open);
    }
    for open in operations::running(db, ids).await? {
        if let Some(subject) = open.subject {
            all.entry(subject).or_default().operation = Some(open);
        }
    }
    for (id, change) in leader_changes::last_of(db, ids).await? {
        all.entry(id).or_default().leader_change = Some(change);
    }
    for (leader, follower) in creation::followers(db, ids).await? {
        all.entry(leader).or_default().followers.push(follower);
    }
    Ok(all)
}

fn page(kind: Kind, params: &Params) -> Result<subjects::Page> {
    match kind {
        Kind::Server => params.only(&["name", "state", "limit", "cursor"])?,
        Kind::Resource => params.only(&["name", "state", "server", "limit", "cursor"])?,
    }
    Ok(subjects::Page {
        name: params.get("name").map(str::to_owned),
        state: params.word("state")?,
        server: match params.get("server") {
            None => None,
            Some(text) => match public_id("server", text)? {
                PublicId {
                    kind: Kind::Server,
                    id,
                } => Some(id),
                PublicId {
                    kind: Kind::Resource,
                    ..
                } => return Err(wrong("server", "must be a server's id: srv_…")),
            },
        },
        after: params.cursor(|text| {
            let id: PublicId = text.parse().ok()?;
            (id.kind == kind).then_some(id.id)
        })?,
        limit: params.ahead()?,
    })
}

async fn show(State(web): State<Web>, named: PublicId) -> Result<Json<api::Subject>> {
    let mut db = web.pool.acquire().await?;
    Ok(Json(view(&mut db, named).await?))
}

/// Shows one live subject with what stands beside it.
///
/// # Errors
/// 404 if there is none.
pub async fn view(db: &mut PgConnection, named: PublicId) -> Result<api::Subject> {
    let known = find(db, named).await?;
    let beside = beside(db, &[named.id]).await?.remove(&named.id);
    Ok(views::subject(known, beside.unwrap_or_default()))
}

/// One live subject.
///
/// # Errors
/// 404 if there is none; it tells what was destroyed from what never was.
pub async fn find(db: &mut PgConnection, named: PublicId) -> Result<Known> {
    if let Some(known) = subjects::find(db, named.kind, named.id).await? {
        return Ok(known);
    }
    if subjects::was_destroyed(db, named.kind, named.id).await? {
        return Err(destroyed(named));
    }
    Err(unknown(named))
}

async fn list_observations(
    State(web): State<Web>,
    named: PublicId,
    params: Params,
) -> Result<Json<Page<api::Observation>>> {
    params.only(&["limit", "cursor"])?;
    let (limit, before) = (params.limit()?, params.cursor(read_before)?);
    let mut db = web.pool.acquire().await?;
    find(&mut db, named).await?;
    let rows = observations::list(&mut db, named.id, before, limit + 1).await?;
    let rows = views::cut(rows, limit, |seen| {
        format!("{}-{}", seen.created_at.timestamp_micros(), seen.id)
    });
    Ok(Json(rows.map(views::observation)))
}

fn read_before(text: &str) -> Option<Before> {
    let (micros, id) = text.split_once('-')?;
    let created_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    // A year that PostgreSQL could not take would be an error of the database.
    (2000..10_000)
        .contains(&created_at.year())
        .then_some(Before {
            created_at,
            id: id.parse::<ObservationId>().ok()?,
        })
}

async fn list_transitions(
    State(web): State<Web>,
    named: PublicId,
    params: Params,
) -> Result<Json<Page<api::Transition>>> {
    params.only(&["limit", "cursor"])?;
    let limit = params.limit()?;
    let before = params.cursor(|text| text.strip_prefix("tra_")?.parse().ok())?;
    let mut db = web.pool.acquire().await?;
    // What drover destroyed keeps its history.
    if !subjects::was_destroyed(&mut db, named.kind, named.id).await? {
        find(&mut db, named).await?;
    }
    let rows = transitions::list(&mut db, named.id, before, limit + 1).await?;
    Ok(Json(views::cut(rows, limit, |change| change.id.clone())))
}
