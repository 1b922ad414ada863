//! Modes: what resolvers may do in the herd, a tier, or with one subject.

use axum::extract::State;
use axum::routing::{get, put};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Web;
use super::body::{Body, missing};
use super::check;
use super::error::{ApiError, Result};
use super::params::{Params, Word, public_id, unknown};
use super::views::PageView;
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

/// A mode: one that was set, or the one that holds somewhere.
#[derive(Serialize)]
pub struct ModeView {
    mode: Mode,
    /// Who it was set for: `herd`, `tier:<name>`, a subject's id; null: for nobody.
    scope: Option<String>,
    /// That subject's name.
    name: Option<String>,
    reason: Option<String>,
    set_at: Option<DateTime<Utc>>,
}

impl ModeView {
    /// Shows what holds; if nothing was set, resolvers act.
    pub fn new(set: Option<Set>) -> Self {
        match set {
            Some(set) => Self {
                mode: set.mode,
                scope: Some(set.scope.to_string()),
                name: set.name,
                reason: Some(set.reason),
                set_at: Some(set.set_at),
            },
            None => Self {
                mode: Mode::Act,
                scope: None,
                name: None,
                reason: None,
                set_at: None,
            },
        }
    }

    fn act(scope: &Scope) -> Self {
        Self {
            scope: Some(scope.to_string()),
            ..Self::new(None)
        }
    }
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<PageView<ModeView>>> {
    params.only(&[])?;
    let mut db = web.pool.acquire().await?;
    let set = modes::all(&mut db).await?;
    let mut items = Vec::new();
    if set.first().is_none_or(|first| first.scope != Scope::Herd) {
        items.push(ModeView::act(&Scope::Herd));
    }
    items.extend(set.into_iter().map(|set| ModeView::new(Some(set))));
    Ok(Json(PageView {
        items,
        next_cursor: None,
    }))
}

async fn set_herd(State(web): State<Web>, body: Body) -> Result<Json<ModeView>> {
    set(&web, Scope::Herd, &body).await
}

async fn set_tier(State(web): State<Web>, Word(name): Word, body: Body) -> Result<Json<ModeView>> {
    let name = check::name("name", &name)?;
    set(&web, Scope::Tier(name), &body).await
}

async fn set_subject(State(web): State<Web>, Word(id): Word, body: Body) -> Result<Json<ModeView>> {
    let id = public_id("id", &id)?;
    set(&web, Scope::Subject(id), &body).await
}

async fn set(web: &Web, scope: Scope, body: &Body) -> Result<Json<ModeView>> {
    let (mode, reason) = read(body)?;
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
            found.ok_or_else(|| unknown(*id).field("id"))?;
        }
    }
    modes::set(&mut db, &scope.stored(), mode, &reason).await?;
    let now = modes::all(&mut db).await?;
    let now = now.into_iter().find(|set| set.scope == scope);
    modes::wake(&mut db, &scope).await?;
    db.commit().await?;
    tracing::info!(%scope, %mode, %reason, "a mode was set");
    let act = ModeView::act(&scope);
    Ok(Json(now.map_or(act, |set| ModeView::new(Some(set)))))
}

fn read(body: &Body) -> Result<(Mode, String)> {
    body.only(&["mode", "reason"])?;
    let mode = body.required("mode")?.parse();
    let mode = mode.map_err(|known: String| ApiError::invalid("mode", format!("mode {known}")))?;
    let reason = body.text("reason")?;
    let reason = reason
        .map(|text| check::reason("reason", text))
        .transpose()?;
    match (mode, reason) {
        (Mode::Act, reason) => Ok((mode, reason.unwrap_or_default())),
        (Mode::Advise | Mode::Hold, Some(reason)) => Ok((mode, reason)),
        (Mode::Advise | Mode::Hold, None) => Err(missing("reason")),
    }
}
