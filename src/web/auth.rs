//! Who may ask: whoever presents `DROVER_API_TOKEN`.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Web;
use super::error::{ApiError, Result};
use crate::model::ExposeSecret;

/// Lets a request through that bears the token.
///
/// # Errors
/// 401, which does not tell a missing token from a wrong one by its timing.
pub async fn require(State(web): State<Web>, request: Request, next: Next) -> Result<Response> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    let message = match given {
        Some((_, token)) if bool::from(expected(&web).ct_eq(token)) => {
            return Ok(next.run(request).await);
        }
        Some(_) => "this is not the deployment's token; present DROVER_API_TOKEN",
        None => "present the deployment's token: `Authorization: Bearer $DROVER_API_TOKEN`",
    };
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        message,
    ))
}

fn expected(web: &Web) -> &[u8] {
    web.config.token.expose_secret().as_bytes()
}
