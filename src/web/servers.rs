//! Servers: what is theirs alone, which is how they come into the herd.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::first_contact::{self, Contact};
use super::params::{Params, wrong};
use super::{Web, adopt, check, create, subjects};
use crate::api::{AdoptServer, AdoptedServer, Server, Subject};
use crate::model::{Cloud, Kind, PublicId, SubjectId, secret};
use crate::store;
use crate::store::subjects::NewServer;

/// Everything below `/v1/servers`.
pub fn routes() -> Router<Web> {
    subjects::routes(Kind::Server).route("/", post(post_server))
}

/// With an address it is an adoption, without one a creation.
async fn post_server(State(web): State<Web>, params: Params, body: Body) -> Result<Response> {
    params.only(&["wait"])?;
    if body.value("address").is_none() {
        if params.get("wait").is_some() {
            let message = "is for adoptions, which have an `address`; a creation never waits";
            return Err(wrong("wait", message));
        }
        return create::server(&web, &body)
            .await
            .map(IntoResponse::into_response);
    }
    let wait = match params.get("wait") {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(wrong("wait", "must be true or false")),
    };
    let new = checked(read(&body)?)?;
    // On its own task: a caller that hangs up must not leave a server behind
    // whose host key was about to be refused.
    let work = tokio::spawn(async move { run(&web, new, wait).await });
    let adopted = work.await.map_err(|_| ApiError::internal())??;
    Ok((StatusCode::CREATED, Json(adopted)).into_response())
}

async fn run(web: &Web, new: NewServer, wait: bool) -> Result<AdoptedServer> {
    let id = insert(web, &new).await?;
    let contact = if wait {
        first_contact::wait(web, id).await?
    } else {
        Contact::Unseen
    };
    let note = match contact {
        Contact::Unseen if wait => Some(
            "no worker has seen this server yet; is `drover-worker feel,think` running?".into(),
        ),
        Contact::Unseen => None,
        Contact::Seen if new.host_key.is_none() => Some(
            "its host key was fetched once and is pinned now; \
             compare the fingerprint with the server's own"
                .into(),
        ),
        Contact::Seen => None,
        Contact::Failed(why) => Some(format!("it did not answer at the first try: {why}")),
        Contact::WrongHostKey(why) => {
            if first_contact::undo(web, id).await? {
                return Err(ApiError::unprocessable(
                    "host_key_mismatch",
                    format!("the server's host key is not the one given; {why}"),
                )
                .field("host_key"));
            }
            Some(format!("the server's host key is not the one given; {why}"))
        }
    };
    let mut db = web.pool.acquire().await?;
    let named = PublicId::new(Kind::Server, id);
    match subjects::view(&mut db, named).await? {
        Subject::Server(server) => Ok(AdoptedServer {
            helper: helper(&server, &new),
            server: *server,
            note,
        }),
        Subject::Resource(_) => Err(ApiError::internal()),
    }
}

/// What root runs there once, unless a drover-root was felt, or root itself logs in.
fn helper(server: &Server, new: &NewServer) -> Option<String> {
    let seen = server.standing.last_observation.as_ref();
    let felt = seen.and_then(|seen| seen.attributes.server.drover_root.as_ref());
    if new.ssh_user == "root" || felt.is_some_and(|felt| felt.version.is_some()) {
        return None;
    }
    let key = match new.ssh_key {
        Some(_) => " --ssh-key FILE",
        None => "",
    };
    let (login, address) = (&new.ssh_user, &new.address);
    Some(format!(
        "drover-worker helper {login}{key} | ssh root@{address} sh"
    ))
}

async fn insert(web: &Web, new: &NewServer) -> Result<SubjectId> {
    let mut db = web.pool.begin().await?;
    let id = store::subjects::adopt_server(&mut db, &web.config.secret_key, new)
        .await
        .map_err(|e| adopt::refused(Kind::Server, "address", e))?;
    db.commit().await?;
    Ok(id)
}

/// Reads what server is to be adopted.
///
/// # Errors
/// If something of it is missing, or no such thing.
pub fn read(body: &Body) -> Result<AdoptServer> {
    body.only(&[
        "name",
        "address",
        "ssh_port",
        "ssh_user",
        "ssh_key",
        "host_key",
        "tier",
        "cloud",
        "instance_id",
        "zone",
    ])?;
    Ok(AdoptServer {
        name: check::name("name", body.required("name")?)?,
        address: check::address("address", body.required("address")?)?,
        ssh_port: body.port("ssh_port")?,
        ssh_user: check::optional(check::login, "ssh_user", body.text("ssh_user")?)?,
        ssh_key: check::optional(check::private_key, "ssh_key", body.text("ssh_key")?)?,
        host_key: check::optional(check::host_key, "host_key", body.text("host_key")?)?,
        tier: check::optional(check::name, "tier", body.text("tier")?)?,
        cloud: body.word("cloud")?,
        instance_id: body.owned("instance_id")?,
        zone: check::optional(|f, t| check::line(f, t, 63), "zone", body.text("zone")?)?,
    })
}

fn checked(asked: AdoptServer) -> Result<NewServer> {
    Ok(NewServer {
        name: asked.name,
        address: asked.address,
        ssh_port: asked.ssh_port.unwrap_or(22),
        ssh_user: asked.ssh_user.unwrap_or_else(|| "postgres".into()),
        ssh_key: asked.ssh_key.map(secret),
        host_key: asked.host_key,
        tier: asked.tier.unwrap_or_else(|| "standard".into()),
        instance: instance(asked.cloud, asked.instance_id)?,
        zone: asked.zone,
    })
}

/// A cloud is of use only with what it calls the server, and the other way
/// round.
fn instance(cloud: Option<Cloud>, id: Option<String>) -> Result<Option<(Cloud, String)>> {
    match (cloud, id) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing("instance_id")),
        (None, Some(_)) => Err(missing("cloud")),
        (Some(cloud), Some(id)) => Ok(Some((cloud, check::line("instance_id", &id, 255)?))),
    }
}
