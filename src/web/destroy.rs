//! How a subject leaves the herd: what was adopted is forgotten, what drover made is
//! destroyed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Result};
use super::params::{Params, unknown};
use super::subjects::{find, view};
use super::{Web, change};
use crate::model::{Kind, Origin, PublicId, Subject};
use crate::store::creation::{self, DestroyError};
use crate::store::subjects::{self, ForgetError};

/// `DELETE` of a server or a resource.
pub async fn remove(State(web): State<Web>, named: PublicId, params: Params) -> Result<Response> {
    params.only(&["confirm"])?;
    let mut db = web.pool.begin().await?;
    let subject = find(&mut db, named).await?.subject().clone();
    confirmed(&subject, params.get("confirm"))?;
    match subject.origin {
        Origin::Adopted => {
            subjects::forget(&mut db, named.kind, named.id)
                .await
                .map_err(|error| not_forgotten(named, error))?;
            db.commit().await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Origin::Created => {
            change::not_the_last(&mut db, named.id).await?;
            let operation = creation::destroy(&mut db, named.kind, named.id, "api")
                .await
                .map_err(|error| not_destroyed(named, error))?;
            let view = view(&mut db, named).await?;
            db.commit().await?;
            let (kind, id) = (named.kind, named.id);
            tracing::info!(%kind, %id, operation = %operation.public(), "it is to be destroyed");
            Ok((StatusCode::ACCEPTED, Json(view)).into_response())
        }
    }
}

/// What is destroyed is destroyed with its data, so whoever asks has to name it.
fn confirmed(subject: &Subject, given: Option<&str>) -> Result<()> {
    let name = &subject.name;
    match (given, subject.origin) {
        (Some(given), _) if given == name => Ok(()),
        (None, Origin::Adopted) => Ok(()),
        (Some(_), _) => Err(unconfirmed(format!(
            "confirm is not its name: this {} is named {name}",
            subject.kind
        ))),
        (None, Origin::Created) => Err(unconfirmed(format!(
            "this destroys the {} and all that is on it; if that is what you want, add \
             ?confirm={name} (drover destroy {name} --confirm {name})",
            subject.kind
        ))),
    }
}

fn unconfirmed(message: String) -> ApiError {
    ApiError::conflict("confirmation_needed", message).field("confirm")
}

fn not_forgotten(named: PublicId, error: ForgetError) -> ApiError {
    match error {
        ForgetError::NotFound => unknown(named),
        ForgetError::HasResources(n) => has_resources(n, "forget"),
        ForgetError::Database(error) => error.into(),
    }
}

fn not_destroyed(named: PublicId, error: DestroyError) -> ApiError {
    match error {
        DestroyError::NotFound => unknown(named),
        DestroyError::Adopted => ApiError::conflict(
            "adopted",
            format!(
                "the {} was adopted; it is forgotten, never destroyed",
                named.kind
            ),
        ),
        DestroyError::HasResources(n) => has_resources(n, "destroy"),
        DestroyError::Database(error) => error.into(),
    }
}

fn has_resources(n: i64, verb: &str) -> ApiError {
    let message = format!(
        "the server still has {n} resources; {verb} those first: GET /v1/{}s?server=…",
        Kind::Resource
    );
    ApiError::conflict("has_resources", message).field("id")
}
