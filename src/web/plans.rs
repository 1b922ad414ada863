//! What can be bought, and where it can be made.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::Web;
use super::error::{ApiError, Result};
use super::params::{Params, Word};
use crate::api::{self, Page};
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

async fn list(State(web): State<Web>, params: Params) -> Result<Json<Page<api::Plan>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let all = plans::all(&mut db).await?.into_iter();
    Ok(Json(Page::whole(all.map(view).collect())))
}

async fn show(State(web): State<Web>, Word(name): Word) -> Result<Json<api::Plan>> {
    let mut db = web.pool.acquire().await?;
    let all = plans::all(&mut db).await?;
    let names: Vec<&str> = all.iter().map(|plan| plan.name.as_str()).collect();
    let message = format!("there is no such plan; there are: {}", names.join(", "));
    let found = all.iter().find(|plan| plan.name == name).cloned();
    found
        .map(|plan| Json(view(plan)))
        .ok_or_else(|| ApiError::not_found(message).field("name"))
}

fn view(plan: Plan) -> api::Plan {
    api::Plan {
        name: plan.name,
        title: plan.title,
        shared: plan.shared,
        tier: plan.tier,
        sizes: plan.sizes.0,
        volume_gib: plan.volume_gib,
        volume_type: plan.volume_type,
        connections: plan.connections,
        storage_gib: plan.storage_gib,
        per_server: plan.per_server,
        postgres: plan.postgres,
        extensions: plan.extensions,
        retention_days: plan.retention_days,
        remedies: plan.remedies,
        followers: plan.followers,
        durability: plan.durability,
        max_lag_bytes: plan.max_lag_bytes,
        slot_wal_mib: plan.slot_wal_mib,
        backup_rate_mib: plan.backup_rate_mib,
        failover_patience_s: plan.failover_patience_s,
        failover_unfenced: plan.failover_unfenced,
        max_resources: plan.max_resources,
    }
}

async fn regions(State(web): State<Web>, params: Params) -> Result<Json<Page<api::Region>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let sizes = places::sizes(&mut db).await?;
    let all = places::regions(&mut db).await?.into_iter();
    let all = all.map(|region| region_view(region, &sizes));
    Ok(Json(Page::whole(all.collect())))
}

fn region_view(region: Region, sizes: &[Size]) -> api::Region {
    let there = sizes.iter().filter(|size| size.cloud == region.cloud);
    let sizes = there.map(|size| api::Size {
        name: size.name.clone(),
        vcpus: size.vcpus,
        memory_mib: size.memory_mib,
    });
    api::Region {
        sizes: sizes.collect(),
        cloud: region.cloud,
        name: region.name,
        zones: region.zones,
        problem: region.problem,
        published_at: region.published_at,
    }
}
