//! Jobs that a person asks for.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};

use super::Web;
use super::body::Body;
use super::error::{ApiError, Result};
use super::params::{public_id, unknown};
use crate::api::{AskForJob, JobAskedFor};
use crate::store::{queue, subjects};

/// Everything below `/v1/jobs`.
pub fn routes() -> Router<Web> {
    Router::new().route("/", post(create))
}

async fn create(State(web): State<Web>, body: Body) -> Result<(StatusCode, Json<JobAskedFor>)> {
    let AskForJob::Feel { subject } = read(&body)?;
    let mut db = web.pool.acquire().await?;
    subjects::find(&mut db, subject.kind, subject.id)
        .await?
        .ok_or_else(|| unknown(subject).field("subject"))?;
    let brought_forward = queue::bring_forward(&mut db, &[subject.id]).await? > 0;
    Ok((StatusCode::ACCEPTED, Json(JobAskedFor { brought_forward })))
}

/// Reads what is asked for.
///
/// # Errors
/// If there is no such job.
pub fn read(body: &Body) -> Result<AskForJob> {
    body.only(&["job", "subject"])?;
    if body.required("job")? != "feel" {
        let message = "there is no such job to ask for; there is: feel";
        return Err(ApiError::unprocessable("unknown_job", message).field("job"));
    }
    let subject = public_id("subject", body.required("subject")?)?;
    Ok(AskForJob::Feel { subject })
}
