//! Tiers: groups of subjects that go by rules of their own.

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;

use super::Web;
use super::body::{Body, missing};
use super::check;
use super::error::{ApiError, Result};
use super::views::PageView;
use crate::model::Rules;
use crate::store::tiers;

/// Everything below `/v1/tiers`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/{name}", put(replace))
}

#[derive(Serialize)]
struct TierView {
    name: String,
    /// What differs from the deployment's rules.
    rules: Value,
}

async fn list(State(web): State<Web>) -> Result<Json<PageView<TierView>>> {
    let mut db = web.pool.acquire().await?;
    let items = tiers::all(&mut db).await?;
    Ok(Json(PageView {
        items: items
            .into_iter()
            .map(|(name, rules)| TierView { name, rules })
            .collect(),
        next_cursor: None,
    }))
}

async fn replace(
    State(web): State<Web>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<TierView>> {
    let name = tier_name(&name)?;
    body.only(&["rules"])?;
    let rules = body.value("rules").ok_or_else(|| missing("rules"))?.clone();
    Rules::layered(&[&web.config.rules, &rules]).map_err(|e| ApiError::invalid("rules", e))?;
    let mut db = web.pool.acquire().await?;
    tiers::put(&mut db, &name, &rules).await?;
    Ok(Json(TierView { name, rules }))
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
