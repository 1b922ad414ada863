//! Tiers: groups of subjects that go by rules of their own.

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};

use super::Web;
use super::body::{Body, missing};
use super::check;
use super::error::{ApiError, Result};
use crate::api::{Page, PutTier, Tier};
use crate::model::Rules;
use crate::store::tiers;

/// Everything below `/v1/tiers`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{name}", put(replace))
}

async fn list(State(web): State<Web>) -> Result<Json<Page<Tier>>> {
    let mut db = web.pool.acquire().await?;
    let all = tiers::all(&mut db).await?.into_iter();
    let all = all.map(|(name, rules)| Tier { name, rules });
    Ok(Json(Page::whole(all.collect())))
}

async fn replace(
    State(web): State<Web>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Tier>> {
    let name = tier_name(&name)?;
    let PutTier { rules } = read(&body)?;
    Rules::layered(&[&web.config.rules, &rules]).map_err(|e| ApiError::invalid("rules", e))?;
    let mut db = web.pool.acquire().await?;
    tiers::put(&mut db, &name, &rules).await?;
    Ok(Json(Tier { name, rules }))
}

/// Reads the rules that a tier is to have.
///
/// # Errors
/// If there are none.
pub fn read(body: &Body) -> Result<PutTier> {
    body.only(&["rules"])?;
    let rules = body.value("rules").ok_or_else(|| missing("rules"))?.clone();
    Ok(PutTier { rules })
}

/// Tiers' names are stricter than others: they begin with a letter and have no
/// dots.
fn tier_name(text: &str) -> Result<String> {
    let name = check::name("name", text)?;
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains('.') {
        return Ok(name);
    }
    let message = "name must begin with a lower-case letter and have no dots";
    Err(ApiError::invalid("name", message))
}
