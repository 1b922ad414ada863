//! Modes: what resolvers may do in the herd, a tier, or with one subject.

use axum::extract::State;
use axum::routing::{get, put};
use axum::{Json, Router};

use super::Web;
use super::body::{Body, missing};
use super::check;
use super::error::{ApiError, Result};
use super::params::{Params, Word, public_id, unknown};
use crate::api::{ModeSet, Page, SetMode};
use crate::model::Mode;
use crate::store::modes::{self, Scope, Set};
use crate::store::{subjects, tiers};

/// Everything below `/v1/modes`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list))
        .route("/herd", put(set_herd))
        .route("/tiers/{name}", put(set_tier))
        .route("/subjects/{id}", put(set_subject))
}

/// Shows what holds; if nothing was set, resolvers act.
pub fn mode_set(set: Option<Set>) -> ModeSet {
    match set {
        Some(set) => ModeSet {
            mode: set.mode,
            scope: Some(set.scope.to_string()),
            name: set.name,
            reason: Some(set.reason),
            set_at: Some(set.set_at),
        },
        None => ModeSet::act(None),
    }
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<Page<ModeSet>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let set = modes::all(&mut db).await?;
    let mut items = Vec::new();
    if set.first().is_none_or(|first| first.scope != Scope::Herd) {
        items.push(ModeSet::act(Some(Scope::Herd.to_string())));
    }
    items.extend(set.into_iter().map(|set| mode_set(Some(set))));
    Ok(Json(Page::whole(items)))
}

async fn set_herd(State(web): State<Web>, body: Body) -> Result<Json<ModeSet>> {
    set(&web, Scope::Herd, &body).await
}

async fn set_tier(State(web): State<Web>, Word(name): Word, body: Body) -> Result<Json<ModeSet>> {
    let name = check::name("name", &name)?;
    set(&web, Scope::Tier(name), &body).await
}

async fn set_subject(State(web): State<Web>, Word(id): Word, body: Body) -> Result<Json<ModeSet>> {
    let id = public_id("id", &id)?;
    set(&web, Scope::Subject(id), &body).await
}

async fn set(web: &Web, scope: Scope, body: &Body) -> Result<Json<ModeSet>> {
    let SetMode { mode, reason } = read(body)?;
    let reason = reason.unwrap_or_default();
    let mut db = web.pool.begin().await?;
    match &scope {
        Scope::Herd => {}
        Scope::Tier(name) => {
            let known = tiers::all(&mut db).await?;
            if known.iter().all(|(tier, _)| tier != name) {
                let message = format!("there is no tier {name}; GET /v1/tiers lists them");
                return Err(ApiError::not_found(message).field("name"));
            }
        }
        Scope::Subject(id) => {
            let found = subjects::find(&mut db, id.kind, id.id).await?;
            found.ok_or_else(|| unknown(*id))?;
        }
    }
    modes::set(&mut db, &scope.stored(), mode, &reason).await?;
    let now = modes::all(&mut db).await?;
    let now = now.into_iter().find(|set| set.scope == scope);
    modes::wake(&mut db, &scope).await?;
    db.commit().await?;
    tracing::info!(%scope, %mode, %reason, "a mode was set");
    let act = ModeSet::act(Some(scope.to_string()));
    Ok(Json(now.map_or(act, |set| mode_set(Some(set)))))
}

/// Reads the mode that is to be set.
///
/// # Errors
/// If there is no such mode, or one that keeps things from being mended has no reason.
pub fn read(body: &Body) -> Result<SetMode> {
    body.only(&["mode", "reason"])?;
    let mode = body.word("mode")?.ok_or_else(|| missing("mode"))?;
    let reason = body.text("reason")?;
    let reason = reason
        .map(|text| check::reason("reason", text))
        .transpose()?;
    match (mode, &reason) {
        (Mode::Act, _) | (Mode::Advise | Mode::Hold, Some(_)) => Ok(SetMode { mode, reason }),
        (Mode::Advise | Mode::Hold, None) => Err(missing("reason")),
    }
}
