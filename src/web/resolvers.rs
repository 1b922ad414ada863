//! The catalogue of playbooks, as the workers that have them published it.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value};

use super::Web;
use super::error::{ApiError, Result};
use super::params::{Params, Word};
use crate::api::{Page, Published};
use crate::model::IncidentKind;
use crate::store::resolvers;

/// Everything below `/v1/resolvers`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{kind}", get(show))
}

/// A playbook as it was published, by whichever release.
type Book = Map<String, Value>;

fn view(published: resolvers::Published) -> Published<Book> {
    let mut playbook = match published.playbook {
        Value::Object(book) => book,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    for ours in ["kind", "release", "published_at"] {
        playbook.remove(ours);
    }
    Published {
        kind: published.kind,
        playbook,
        release: published.release,
        published_at: published.published_at,
    }
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<Page<Published<Book>>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let items = resolvers::all(&mut db).await?;
    Ok(Json(Page::whole(items.into_iter().map(view).collect())))
}

async fn show(State(web): State<Web>, Word(kind): Word) -> Result<Json<Published<Book>>> {
    let kind: IncidentKind = kind.parse().map_err(|known: String| {
        ApiError::not_found(format!("no such kind; it {known}")).field("kind")
    })?;
    let mut db = web.pool.acquire().await?;
    let items = resolvers::all(&mut db).await?;
    let found = items.into_iter().find(|p| p.kind == kind.as_str());
    found.map(view).map(Json).ok_or_else(|| {
        ApiError::not_found(format!(
            "the playbook of {kind} is not published: no `drover-worker resolve` has started yet"
        ))
        .field("kind")
    })
}
