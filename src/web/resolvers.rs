//! The catalogue of playbooks, as the workers that have them published it.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Web;
use super::error::{ApiError, Result};
use super::params::{Params, Word};
use super::views::PageView;
use crate::model::IncidentKind;
use crate::store::resolvers::{self, Published};

/// Everything below `/v1/resolvers`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{kind}", get(show))
}

/// A playbook.
#[derive(Serialize)]
struct PlaybookView {
    kind: String,
    #[serde(flatten)]
    book: Map<String, Value>,
    release: String,
    published_at: DateTime<Utc>,
}

impl PlaybookView {
    fn new(published: Published) -> Self {
        let mut book = match published.playbook {
            Value::Object(book) => book,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        for ours in ["kind", "release", "published_at"] {
            book.remove(ours);
        }
        Self {
            kind: published.kind,
            book,
            release: published.release,
            published_at: published.published_at,
        }
    }
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<PageView<PlaybookView>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let items = resolvers::all(&mut db).await?;
    Ok(Json(PageView {
        items: items.into_iter().map(PlaybookView::new).collect(),
        next_cursor: None,
    }))
}

async fn show(State(web): State<Web>, Word(kind): Word) -> Result<Json<PlaybookView>> {
    let kind: IncidentKind = kind.parse().map_err(|known: String| {
        ApiError::not_found(format!("there is no such kind of incident; it {known}")).field("kind")
    })?;
    let mut db = web.pool.acquire().await?;
    let items = resolvers::all(&mut db).await?;
    let found = items.into_iter().find(|p| p.kind == kind.as_str());
    found.map(PlaybookView::new).map(Json).ok_or_else(|| {
        ApiError::not_found(format!(
            "the playbook of {kind} is not published: no `drover-worker resolve` has started yet"
        ))
        .field("kind")
    })
}
