//! What can be bought, and where it can be made.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::Web;
use super::error::{ApiError, Result};
use super::params::{Params, Word};
use crate::api::{Page, Plan, Region};
use crate::store::{places, plans};

/// Everything below `/v1/plans`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{name}", get(show))
}

/// Everything below `/v1/regions`.
pub fn region_routes() -> Router<Web> {
    Router::new().route("/", get(regions))
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<Page<Plan>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    Ok(Json(Page::whole(plans::all(&mut db).await?)))
}

async fn show(State(web): State<Web>, Word(name): Word) -> Result<Json<Plan>> {
    let mut db = web.pool.acquire().await?;
    let all = plans::all(&mut db).await?;
    let names: Vec<&str> = all.iter().map(|plan| plan.name.as_str()).collect();
    let message = format!("there is no such plan; there are: {}", names.join(", "));
    let found = all.iter().find(|plan| plan.name == name).cloned();
    found
        .map(Json)
        .ok_or_else(|| ApiError::not_found(message).field("name"))
}

async fn regions(State(web): State<Web>, params: Params) -> Result<Json<Page<Region>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    Ok(Json(Page::whole(places::regions(&mut db).await?)))
}
