//! What a customer connects with.
//!
//! Architecture Invariant: this is the one answer that holds a secret. A customer
//! has to get the password somewhere; nothing else ever shows one.

use axum::Json;
use axum::extract::State;

use super::Web;
use super::error::{ApiError, Result};
use super::params::unknown;
use super::subjects::find;
use super::url::{self, Node};
use crate::api::{Credentials, Role};
use crate::model::{Customer, ExposeSecret, PublicId, Resource, Server};
use crate::store::subjects::{self, Known};

/// `GET /v1/resources/{id}/credentials`.
pub async fn show(State(web): State<Web>, named: PublicId) -> Result<Json<Credentials>> {
    let mut db = web.pool.acquire().await?;
    // Whether there is one, and what it was if there is none.
    find(&mut db, named).await?;
    let row = subjects::load(&mut db, &[named.id]).await?.pop();
    let row = row.ok_or_else(|| unknown(named))?;
    let known = row.open(&web.config.secret_key).map_err(|error| {
        tracing::error!(id = %named.id, %error, "the credentials cannot be opened");
        ApiError::internal()
    })?;
    let Known::Resource(resource, server) = known else {
        return Err(unknown(named));
    };
    let Some(customer) = &resource.customer else {
        let message = "the resource was adopted: whoever made it has its credentials";
        return Err(ApiError::conflict("adopted", message));
    };
    if server.address.is_empty() {
        let message = "the resource has no address yet: its server is being made; \
                       GET /v1/operations shows how far it is";
        return Err(ApiError::conflict("not_ready", message));
    }
    // A follower's customer is its leader's.
    let leader = match resource.leader {
        None => None,
        Some(id) => subjects::load(&mut db, &[id]).await?.pop(),
    };
    let opened = leader
        .map(|row| row.open(&web.config.secret_key))
        .transpose();
    let leader = opened.map_err(|error| {
        tracing::error!(id = %named.id, %error, "the leader's credentials cannot be opened");
        ApiError::internal()
    })?;
    let customer = match &leader {
        Some(Known::Resource(leader, _)) => leader.customer.as_ref().unwrap_or(customer),
        Some(Known::Server(_)) | None => customer,
    };
    let nodes = url::nodes(&mut db, resource.leader.unwrap_or(named.id)).await?;
    let shown = view(&resource, &server, customer, &nodes);
    tracing::info!(id = %named, "its credentials were shown");
    Ok(Json(shown))
}

fn view(resource: &Resource, server: &Server, customer: &Customer, nodes: &[Node]) -> Credentials {
    let password = customer.password.expose_secret();
    // While its leader is being made, a follower is all there is, and is no node.
    let alone = [(Box::new(resource.clone()), Box::new(server.clone()))];
    let nodes = if nodes.is_empty() { &alone } else { nodes };
    let role = match resource.leader {
        Some(_) => Role::Follower,
        None => Role::Leader,
    };
    Credentials {
        host: server.address.clone(),
        port: resource.port,
        database: customer.database.clone(),
        user: customer.role.clone(),
        password: password.to_owned(),
        tls_root_cert: url::certificates(nodes),
        url: url::url(resource, nodes, role, Some(password)),
    }
}

/// Everything that has a meaning of its own in a URL, encoded.
pub fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn what_a_url_would_take_apart_is_encoded() {
        assert_eq!(percent("u_a-b.c~9"), "u_a-b.c~9");
        assert_eq!(
            percent("p@s:/?#[]%& ü"),
            "p%40s%3A%2F%3F%23%5B%5D%25%26%20%C3%BC"
        );
    }
}
