//! The local herd's way into the record: through the API, like anybody's.

use anyhow::{Context, bail};
use drover::api::{self, AdoptResource, AdoptServer, Subject};
use drover::client::{Client, ClientError};
use drover::model::{Cloud, ExposeSecret, PublicId, TlsMode};
use serde::de::DeserializeOwned;

use crate::cloud::local::{Cluster, DATABASE, LocalServer, ROLE};

/// Adopts a server, unless it is in the herd already, and keeps its id.
pub(super) async fn server(
    client: &Client,
    server: &mut LocalServer,
    key: Option<&str>,
) -> anyhow::Result<PublicId> {
    let address = server.settings.address.to_string();
    let is = |known: &api::Server| known.address.as_ref() == Some(&address);
    if let Some(id) = server.kept.id.as_ref().and_then(|id| id.parse().ok())
        && knows(client, id, is).await?
    {
        return Ok(id);
    }
    let target = server.target().await?;
    let body = AdoptServer {
        name: server.name.clone(),
        address: address.clone(),
        ssh_port: Some(target.port),
        ssh_user: Some(target.user),
        ssh_key: key.map(str::to_owned),
        host_key: target.host_key,
        tier: None,
        cloud: Some(Cloud::Local),
        instance_id: Some(server.name.clone()),
        zone: Some(server.settings.zone.clone()),
    };
    // No waiting for the first contact: the host key is known for certain.
    let posted = client.post::<Subject>("/v1/servers?wait=false", &body);
    let id = match posted.await {
        Ok(server) => server.core().id,
        Err(refused) => adopted(client, refused, is)
            .await
            .with_context(|| format!("cannot adopt {}", server.name))?,
    };
    server.kept.id = Some(id.to_string());
    server.keep()?;
    Ok(id)
}

/// Adopts a database, unless it is in the herd already, and keeps its id.
pub(super) async fn resource(
    client: &Client,
    server: &mut LocalServer,
    server_id: PublicId,
    cluster: &Cluster,
) -> anyhow::Result<PublicId> {
    let is = |known: &api::Resource| known.server == server_id;
    if let Some(id) = cluster.id.as_ref().and_then(|id| id.parse().ok())
        && knows(client, id, is).await?
    {
        return Ok(id);
    }
    let body = AdoptResource {
        server: server_id,
        name: cluster.name.clone(),
        port: cluster.port,
        database: DATABASE.into(),
        user: ROLE.into(),
        password: cluster.password.expose_secret().to_owned(),
        tls_mode: Some(TlsMode::Prefer),
        tls_root_cert: None,
        require_auth: None,
        plan: Some("standard".into()),
        tier: None,
    };
    let id = match client.post::<Subject>("/v1/resources", &body).await {
        Ok(resource) => resource.core().id,
        Err(refused) => adopted(client, refused, is)
            .await
            .with_context(|| format!("cannot adopt {}", cluster.name))?,
    };
    let clusters = server.kept.clusters.iter_mut();
    for one in clusters.filter(|c| c.name == cluster.name) {
        one.id = Some(id.to_string());
    }
    server.keep()?;
    Ok(id)
}

/// Forgets a server and its databases. `Some` says why the API still knows them;
/// a herd whose API is gone must still be destroyable.
pub(super) async fn forget(
    client: Option<&Client>,
    server: &LocalServer,
) -> anyhow::Result<Option<String>> {
    let clusters = &server.kept.clusters;
    let databases = clusters
        .iter()
        .filter_map(|c| Some(("resources", c.id.as_ref()?)));
    let servers = server.kept.id.iter().map(|id| ("servers", id));
    for (kind, id) in databases.chain(servers) {
        let Some(client) = client else {
            return Ok(Some("DROVER_API_TOKEN is not set".into()));
        };
        let path = format!("/v1/{kind}/{id}");
        match client.delete::<Option<Subject>>(&path).await {
            Ok(_) | Err(ClientError::Refused { status: 404, .. }) => {}
            Err(e) => return Ok(Some(e.to_string())),
        }
    }
    Ok(None)
}

/// Whether the API knows this id as what we mean: a control database that was
/// made anew knows none of the ids we kept.
async fn knows<T: DeserializeOwned>(
    client: &Client,
    id: PublicId,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<bool> {
    match client.get::<T>(&format!("/v1/{}s/{id}", id.kind)).await {
        Ok(known) => Ok(is(&known)),
        Err(ClientError::Refused { status: 404, .. }) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The id in a refusal, if it says that just this is in the herd already: then an
/// earlier run was cut off after the API's answer.
async fn adopted<T: DeserializeOwned>(
    client: &Client,
    refused: ClientError,
    is: impl Fn(&T) -> bool,
) -> anyhow::Result<PublicId> {
    let ClientError::Refused {
        status: 409,
        message,
        ..
    } = &refused
    else {
        return Err(refused.into());
    };
    if let Some(id) = id_named_in(message)
        && knows(client, id, is).await?
    {
        return Ok(id);
    }
    bail!(refused)
}

fn id_named_in(message: &str) -> Option<PublicId> {
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_in_a_refusal() {
        let id = "srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
        let message = format!("the name is taken: {id} bears it; choose another");
        assert_eq!(id_named_in(&message), id.parse().ok());
        assert_eq!(id_named_in("in the herd already: srv_nonsense"), None);
    }
}
