//! Resources: what is theirs alone, which is how they come into the herd.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::params::public_id;
use super::{Web, adopt, check, create, credentials, followers, subjects, url};
use crate::api::{self, AdoptResource};
use crate::model::{Kind, PublicId, RequireAuth, TlsMode, secret};
use crate::store;
use crate::store::subjects::NewResource;

/// Everything below `/v1/resources`.
pub fn routes() -> Router<Web> {
    subjects::routes(Kind::Resource)
        .route("/", post(post_resource))
        .route("/{id}/credentials", get(credentials::show))
        .route("/{id}/url", get(url::show))
        .route("/{id}/followers", post(followers::post))
        .layer(Extension(Kind::Resource))
}

/// With a server it is an adoption, without one a creation.
async fn post_resource(
    State(web): State<Web>,
    body: Body,
) -> Result<(StatusCode, Json<api::Subject>)> {
    if body.value("server").is_none() {
        return create::resource(&web, &body).await;
    }
    let new = checked(read(&body)?)?;
    let mut db = web.pool.begin().await?;
    let id = store::subjects::adopt_resource(&mut db, &web.config.secret_key, &new)
        .await
        .map_err(|e| adopt::refused(Kind::Resource, "database", e))?;
    let named = PublicId::new(Kind::Resource, id);
    let view = subjects::view(&mut db, named).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Reads what resource is to be adopted.
///
/// # Errors
/// If something of it is missing, or no such thing.
pub fn read(body: &Body) -> Result<AdoptResource> {
    body.only(&[
        "server",
        "name",
        "port",
        "database",
        "user",
        "password",
        "tls_mode",
        "tls_root_cert",
        "require_auth",
        "plan",
        "tier",
    ])?;
    let tls_mode = body.word("tls_mode")?;
    Ok(AdoptResource {
        server: server(body.required("server")?)?,
        name: check::name("name", body.required("name")?)?,
        port: body.port("port")?.ok_or_else(|| missing("port"))?,
        // PostgreSQL's own names end at 63 bytes.
        database: check::line("database", body.required("database")?, 63)?,
        user: check::line("user", body.required("user")?, 63)?,
        password: check::password("password", body.required("password")?)?,
        tls_mode,
        tls_root_cert: body.owned("tls_root_cert")?,
        require_auth: body.word("require_auth")?,
        plan: check::optional(check::name, "plan", body.text("plan")?)?,
        tier: check::optional(check::name, "tier", body.text("tier")?)?,
    })
}

fn checked(asked: AdoptResource) -> Result<NewResource> {
    let tls_mode = asked.tls_mode.unwrap_or(TlsMode::Require);
    Ok(NewResource {
        server_id: asked.server.id,
        name: asked.name,
        port: asked.port,
        database: asked.database,
        role: asked.user,
        password: secret(asked.password),
        tls_root_cert: root_cert(asked.tls_root_cert, tls_mode)?,
        tls_mode,
        require_auth: asked.require_auth.unwrap_or(RequireAuth::ScramSha256),
        plan: asked.plan.unwrap_or_else(|| "standard".into()),
        tier: asked.tier.unwrap_or_else(|| "standard".into()),
    })
}

fn server(text: &str) -> Result<PublicId> {
    let id = public_id("server", text)?;
    match id.kind {
        Kind::Server => Ok(id),
        Kind::Resource => Err(ApiError::invalid(
            "server",
            "server must be a server's id: srv_…",
        )),
    }
}

/// Authorities that nothing is checked against would look like safety.
fn root_cert(given: Option<String>, tls_mode: TlsMode) -> Result<Option<String>> {
    let Some(text) = given else {
        return Ok(None);
    };
    match tls_mode {
        TlsMode::VerifyFull => check::certificates("tls_root_cert", &text).map(Some),
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Err(ApiError::invalid(
            "tls_root_cert",
            "tls_root_cert is used with tls_mode verify-full only",
        )),
    }
}
