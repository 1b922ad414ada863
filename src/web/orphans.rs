//! What the clouds have that bears this deployment's mark and is nobody's.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::Web;
use super::error::Result;
use super::params::Params;
use super::views::PageView;
use crate::store::orphans::{self, Recorded};

/// Everything below `/v1/orphans`.
pub fn routes() -> Router<Web> {
    Router::new().route("/", get(list))
}

/// As the last comparison with the clouds saw them, all on one page.
async fn list(State(web): State<Web>, params: Params) -> Result<Json<PageView<Recorded>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    Ok(Json(PageView {
        items: orphans::all(&mut db).await?,
        next_cursor: None,
    }))
}
