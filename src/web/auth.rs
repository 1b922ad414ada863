//! Who may ask, and for what: whoever presents `DROVER_API_TOKEN` or
//! `DROVER_ADMIN_TOKEN`.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Web;
use super::error::{ApiError, Result};
use crate::model::ExposeSecret;

/// What whoever asks may do. It is among the extensions of every request that gets
/// through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Everything but what asks for [`Admin`].
    Usual,
    /// Everything.
    Admin,
}

/// Among the arguments of a handler: the route needs the admin scope.
pub struct Admin;

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        match parts.extensions.get::<Scope>() {
            Some(Scope::Admin) => Ok(Self),
            // Without a scope nobody has looked at the token.
            Some(Scope::Usual) | None => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "this needs the admin scope: present DROVER_ADMIN_TOKEN, which web was started \
                 with, in place of DROVER_API_TOKEN",
            )),
        }
    }
}

/// Lets a request through that bears a token of the deployment's, with its scope.
///
/// # Errors
/// 401, which tells neither a missing token from a wrong one nor one token from
/// the other by its timing.
pub async fn require(State(web): State<Web>, mut request: Request, next: Next) -> Result<Response> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    let message = match given {
        Some((_, token)) => match scope(&web, token) {
            Some(scope) => {
                request.extensions_mut().insert(scope);
                return Ok(next.run(request).await);
            }
            None => "this is not the deployment's token; present DROVER_API_TOKEN",
        },
        None => "present the deployment's token: `Authorization: Bearer $DROVER_API_TOKEN`",
    };
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        message,
    ))
}

/// Both tokens are always compared, and by digests of one length: a comparison of the
/// tokens themselves would end early for one of another length.
fn scope(web: &Web, given: &[u8]) -> Option<Scope> {
    let config = &web.config;
    let digest = |token: &[u8]| config.secret_key.digest(token, "bearer token");
    let api = config.token.expose_secret();
    // The only token there is has every scope.
    let admin = config.admin_token.as_ref().unwrap_or(&config.token);
    let given = digest(given);
    let is_api = digest(api.as_bytes()).ct_eq(&given);
    let is_admin = digest(admin.expose_secret().as_bytes()).ct_eq(&given);
    match (bool::from(is_admin), bool::from(is_api)) {
        (true, _) => Some(Scope::Admin),
        (false, true) => Some(Scope::Usual),
        (false, false) => None,
    }
}
