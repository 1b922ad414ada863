//! What the clouds have that bears this deployment's mark and is nobody's.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::Web;
use super::error::Result;
use super::params::Params;
use crate::api::{Orphan, Page};
use crate::store::orphans;

/// Everything below `/v1/orphans`.
pub fn routes() -> Router<Web> {
    Router::new().route("/", get(list))
}

/// As the last comparison with the clouds saw them, all on one page.
async fn list(State(web): State<Web>, params: Params) -> Result<Json<Page<Orphan>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    Ok(Json(Page::whole(orphans::all(&mut db).await?)))
}
