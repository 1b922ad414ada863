//! What can be bought, and where it can be made.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::Web;
use super::error::{ApiError, Result};
use super::params::{Params, Word};
use super::views::PageView;
use crate::store::places::{self, Region, Size};
use crate::store::plans::{self, Plan};

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

async fn list(State(web): State<Web>, params: Params) -> Result<Json<PageView<Plan>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    Ok(Json(PageView {
        items: plans::all(&mut db).await?,
        next_cursor: None,
    }))
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

/// A region with the sizes that servers can have there.
#[derive(Serialize)]
struct RegionView {
    #[serde(flatten)]
    region: Region,
    sizes: Vec<SizeView>,
}

#[derive(Serialize)]
struct SizeView {
    name: String,
    vcpus: i32,
    memory_mib: i32,
}

async fn regions(State(web): State<Web>, params: Params) -> Result<Json<PageView<RegionView>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let sizes = places::sizes(&mut db).await?;
    let items = places::regions(&mut db).await?;
    let items = items.into_iter().map(|region| RegionView {
        sizes: of_cloud(&sizes, &region.cloud),
        region,
    });
    Ok(Json(PageView {
        items: items.collect(),
        next_cursor: None,
    }))
}

fn of_cloud(sizes: &[Size], cloud: &str) -> Vec<SizeView> {
    let there = sizes.iter().filter(|size| size.cloud == cloud);
    there
        .map(|size| SizeView {
            name: size.name.clone(),
            vcpus: size.vcpus,
            memory_mib: size.memory_mib,
        })
        .collect()
}
