//! Servers: what is theirs alone, which is how they come into the herd.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;

use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::first_contact::{self, Contact};
use super::params::{Named, Params, wrong};
use super::views::SubjectView;
use super::{Web, adopt, check, create, subjects};
use crate::model::{Cloud, Kind, SubjectId, secret};
use crate::store;
use crate::store::subjects::NewServer;

/// Everything below `/v1/servers`.
pub fn routes() -> Router<Web> {
    subjects::routes(Kind::Server).route("/", post(post_server))
}

/// A server just adopted, and what a person should know of it.
#[derive(Serialize)]
struct Adopted {
    #[serde(flatten)]
    server: SubjectView,
    note: Option<String>,
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
    let new = read(&body)?;
    // On its own task: a caller that hangs up must not leave a server behind
    // whose host key was about to be refused.
    let work = tokio::spawn(async move { run(&web, new, wait).await });
    let adopted = work.await.map_err(|_| ApiError::internal())??;
    Ok((StatusCode::CREATED, Json(adopted)).into_response())
}

async fn run(web: &Web, new: NewServer, wait: bool) -> Result<Adopted> {
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
    let named = Named {
        kind: Kind::Server,
        id,
    };
    Ok(Adopted {
        server: subjects::view(&mut db, named).await?,
        note,
    })
}

async fn insert(web: &Web, new: &NewServer) -> Result<SubjectId> {
    let mut db = web.pool.begin().await?;
    let id = store::subjects::adopt_server(&mut db, &web.config.secret_key, new)
        .await
        .map_err(|e| adopt::refused(Kind::Server, "address", e))?;
    db.commit().await?;
    Ok(id)
}

fn read(body: &Body) -> Result<NewServer> {
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
    let ssh_key = body.text("ssh_key")?;
    let host_key = body.text("host_key")?;
    let zone = body.text("zone")?;
    Ok(NewServer {
        name: check::name("name", body.required("name")?)?,
        address: check::address("address", body.required("address")?)?,
        ssh_port: body.port("ssh_port")?.unwrap_or(22),
        ssh_user: check::login("ssh_user", body.text("ssh_user")?.unwrap_or("postgres"))?,
        ssh_key: ssh_key
            .map(|text| check::private_key("ssh_key", text).map(secret))
            .transpose()?,
        host_key: host_key
            .map(|text| check::host_key("host_key", text))
            .transpose()?,
        tier: check::name("tier", body.text("tier")?.unwrap_or("standard"))?,
        instance: instance(body)?,
        zone: zone.map(|text| check::line("zone", text, 63)).transpose()?,
    })
}

/// A cloud is of use only with what it calls the server, and the other way
/// round.
fn instance(body: &Body) -> Result<Option<(Cloud, String)>> {
    match (body.text("cloud")?, body.text("instance_id")?) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing("instance_id")),
        (None, Some(_)) => Err(missing("cloud")),
        (Some(cloud), Some(instance)) => {
            let cloud = cloud
                .parse()
                .map_err(|known: String| ApiError::invalid("cloud", format!("cloud {known}")))?;
            Ok(Some((cloud, check::line("instance_id", instance, 255)?)))
        }
    }
}
