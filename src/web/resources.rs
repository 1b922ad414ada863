//! Resources: what is theirs alone, which is how they come into the herd.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::body::Body;
use super::error::{ApiError, Result};
use super::params::{Named, public_id};
use super::views::SubjectView;
use super::{Web, adopt, check, create, credentials, followers, subjects, url};
use crate::model::{Kind, PublicId, SubjectId, TlsMode, secret};
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
) -> Result<(StatusCode, Json<SubjectView>)> {
    if body.value("server").is_none() {
        return create::resource(&web, &body).await;
    }
    let new = read(&body)?;
    let mut db = web.pool.begin().await?;
    let id = store::subjects::adopt_resource(&mut db, &web.config.secret_key, &new)
        .await
        .map_err(|e| adopt::refused(Kind::Resource, "database", e))?;
    let named = Named {
        kind: Kind::Resource,
        id,
    };
    let view = subjects::view(&mut db, named).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(view)))
}

fn read(body: &Body) -> Result<NewResource> {
    body.only(&[
        "server",
        "name",
        "port",
        "database",
        "user",
        "password",
        "tls_mode",
        "tls_root_cert",
        "plan",
        "tier",
    ])?;
    let tls_mode = body.text("tls_mode")?.unwrap_or("prefer").parse();
    let tls_mode = tls_mode
        .map_err(|known: String| ApiError::invalid("tls_mode", format!("tls_mode {known}")))?;
    Ok(NewResource {
        server_id: server(body.required("server")?)?,
        name: check::name("name", body.required("name")?)?,
        port: body
            .port("port")?
            .ok_or_else(|| super::body::missing("port"))?,
        // PostgreSQL's own names end at 63 bytes.
        database: check::line("database", body.required("database")?, 63)?,
        role: check::line("user", body.required("user")?, 63)?,
        password: secret(check::password("password", body.required("password")?)?),
        tls_root_cert: root_cert(body, tls_mode)?,
        tls_mode,
        plan: check::name("plan", body.text("plan")?.unwrap_or("standard"))?,
        tier: check::name("tier", body.text("tier")?.unwrap_or("standard"))?,
    })
}

fn server(text: &str) -> Result<SubjectId> {
    match public_id("server", text)? {
        PublicId {
            kind: Kind::Server,
            id,
        } => Ok(id),
        PublicId {
            kind: Kind::Resource,
            ..
        } => Err(ApiError::invalid(
            "server",
            "server must be a server's id: srv_…",
        )),
    }
}

/// Authorities that nothing is checked against would look like safety.
fn root_cert(body: &Body, tls_mode: TlsMode) -> Result<Option<String>> {
    let Some(text) = body.text("tls_root_cert")? else {
        return Ok(None);
    };
    match tls_mode {
        TlsMode::VerifyFull => check::certificates("tls_root_cert", text).map(Some),
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Err(ApiError::invalid(
            "tls_root_cert",
            "tls_root_cert is used with tls_mode verify-full only",
        )),
    }
}
