//! Where clients connect: all nodes of a resource in one address, so that they find
//! the leader by themselves, whichever it is by now. No secret is in it.

use axum::Json;
use axum::extract::State;
use sqlx::PgConnection;

use super::Web;
use super::credentials::percent;
use super::error::{ApiError, Result};
use super::params::{Params, unknown, wrong};
use super::subjects::find;
use crate::api::{self, ConnectionUrl, Role};
use crate::model::{PublicId, Resource, Server, State as SubjectState};
use crate::store::creation;
use crate::store::subjects::{self, Known};

/// libpq's `target_session_attrs` for who writes, and for who only reads (a leader will
/// do where there is no follower).
const fn session(role: Role) -> &'static str {
    match role {
        Role::Leader => "primary",
        Role::Follower => "prefer-standby",
    }
}

/// `GET /v1/resources/{id}/url`.
pub async fn show(
    State(web): State<Web>,
    named: PublicId,
    params: Params,
) -> Result<Json<ConnectionUrl>> {
    params.only(&["role"])?;
    let role = match params.get("role") {
        None | Some("leader") => Role::Leader,
        Some("follower") => Role::Follower,
        Some(_) => return Err(wrong("role", "must be leader or follower")),
    };
    let mut db = web.pool.acquire().await?;
    let known = find(&mut db, named).await?;
    let Known::Resource(resource, _) = known else {
        return Err(unknown(named));
    };
    let leader = resource.leader.unwrap_or(named.id);
    let nodes = nodes(&mut db, leader).await?;
    if nodes.is_empty() {
        let message = "the resource has no address yet: its server is being made; \
                       GET /v1/operations shows how far it is";
        return Err(ApiError::conflict("not_ready", message));
    }
    Ok(Json(ConnectionUrl {
        url: url(&resource, &nodes, role, None),
        nodes: nodes.iter().map(view).collect(),
        tls_root_certs: certificates(&nodes),
    }))
}

/// A node with its server.
pub type Node = (Box<Resource>, Box<Server>);

/// The nodes of a resource that have an address, its leader first.
pub async fn nodes(db: &mut PgConnection, leader: crate::model::SubjectId) -> Result<Vec<Node>> {
    let mut ids = vec![leader];
    ids.extend(creation::followers_of(db, leader).await?);
    let mut found = Vec::new();
    for row in subjects::load(db, &ids).await? {
        if let Known::Resource(resource, server) = row.without_secrets()? {
            found.push((resource, server));
        }
    }
    found.retain(|(resource, server)| {
        let on_its_way = match resource.subject.state {
            SubjectState::Creating => resource.leader.is_some(),
            SubjectState::Destroying | SubjectState::Destroyed => true,
            SubjectState::Available | SubjectState::Uncertain | SubjectState::Unavailable => false,
        };
        !server.address.is_empty() && !on_its_way
    });
    found.sort_by_key(|(resource, _)| (resource.leader.is_some(), resource.subject.id));
    Ok(found)
}

/// What each node's certificate is checked against, all in one (PEM).
pub fn certificates(nodes: &[Node]) -> Option<String> {
    let known: Vec<&str> = nodes
        .iter()
        .filter_map(|(resource, _)| resource.tls_root_cert.as_deref())
        .collect();
    (!known.is_empty()).then(|| known.concat())
}

/// The address of all these nodes, as libpq and its kin read it.
pub fn url(resource: &Resource, nodes: &[Node], role: Role, password: Option<&str>) -> String {
    let (user, database) = match &resource.customer {
        Some(customer) => (customer.role.as_str(), customer.database.as_str()),
        None => (resource.role.as_str(), resource.database.as_str()),
    };
    let host = |address: &str| match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    };
    let hosts: Vec<String> = nodes
        .iter()
        .map(|(node, server)| format!("{}:{}", host(&server.address), node.port))
        .collect();
    let pinned = nodes.iter().all(|(node, _)| node.tls_root_cert.is_some());
    let sslmode = if pinned { "verify-full" } else { "require" };
    let secret = password.map_or(String::new(), |text| format!(":{}", percent(text)));
    let mut url = format!(
        "postgresql://{}{secret}@{}/{}?sslmode={sslmode}",
        percent(user),
        hosts.join(","),
        percent(database),
    );
    // Of a single node there is nothing to choose.
    if nodes.len() > 1 || role == Role::Follower {
        url.push_str(&format!("&target_session_attrs={}", session(role)));
    }
    url
}

fn view((resource, server): &Node) -> api::Node {
    api::Node {
        id: PublicId::new(resource.subject.kind, resource.subject.id),
        name: resource.subject.name.clone(),
        role: match resource.leader {
            Some(_) => Role::Follower,
            None => Role::Leader,
        },
        state: resource.subject.state,
        host: server.address.clone(),
        port: resource.port,
        zone: server.zone.clone(),
    }
}
