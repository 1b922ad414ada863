//! The local herd's way into the record: through the API, like anybody's.

use anyhow::{Context, bail};
use drover::client::{Client, ClientError};
use drover::model::{ExposeSecret, PublicId};
use serde_json::{Value, json};

use crate::cloud::local::{Cluster, DATABASE, LocalServer, ROLE, SSH_PORT};

/// Adopts a server, unless it is in the herd already, and keeps its id.
pub(super) async fn server(
    client: &Client,
    server: &mut LocalServer,
    key: Option<&str>,
) -> anyhow::Result<String> {
    let address = server.settings.address.to_string();
    if let Some(id) = &server.settings.id
        && knows(client, "servers", id, "address", &json!(address)).await?
    {
        return Ok(id.clone());
    }
    let target = server.target()?;
    let mut body = json!({
        "name": server.name,
        "address": address,
        "ssh_port": SSH_PORT,
        "ssh_user": target.user,
        "host_key": target.host_key,
        "cloud": "local",
        "instance_id": server.name,
        "zone": server.settings.zone,
    });
    if let Some(key) = key {
        body["ssh_key"] = key.into();
    }
    // No waiting for the first contact: the host key is known for certain.
    let posted = client.post("/v1/servers?wait=false", &body).await;
    let id = match posted {
        Ok(answer) => id_in(&answer)?,
        Err(refused) => adopted(client, "servers", refused, "address", &json!(address))
            .await
            .with_context(|| format!("cannot adopt {}", server.name))?,
    };
    server.settings.id = Some(id.clone());
    server.save()?;
    Ok(id)
}

/// Adopts a database, unless it is in the herd already, and keeps its id.
pub(super) async fn resource(
    client: &Client,
    server: &LocalServer,
    server_id: &str,
    cluster: &Cluster,
) -> anyhow::Result<String> {
    if let Some(id) = &cluster.id
        && knows(client, "resources", id, "server", &json!(server_id)).await?
    {
        return Ok(id.clone());
    }
    let body = json!({
        "server": server_id,
        "name": cluster.name,
        "port": cluster.port,
        "database": DATABASE,
        "user": ROLE,
        "password": cluster.password.expose_secret(),
        "tls_mode": "prefer",
        "plan": "standard",
    });
    let id = match client.post("/v1/resources", &body).await {
        Ok(answer) => id_in(&answer)?,
        Err(refused) => adopted(client, "resources", refused, "server", &json!(server_id))
            .await
            .with_context(|| format!("cannot adopt {}", cluster.name))?,
    };
    let mut clusters = server.clusters()?;
    for one in clusters.iter_mut().filter(|c| c.name == cluster.name) {
        one.id = Some(id.clone());
    }
    server.keep(&clusters)?;
    Ok(id)
}

/// Forgets a server and its databases. `Some` says why the API still knows them;
/// a herd whose API is gone must still be destroyable.
pub(super) async fn forget(
    client: Option<&Client>,
    server: &LocalServer,
) -> anyhow::Result<Option<String>> {
    let clusters = server.clusters()?;
    let databases = clusters
        .iter()
        .filter_map(|c| Some(("resources", c.id.as_ref()?)));
    let servers = server.settings.id.iter().map(|id| ("servers", id));
    for (kind, id) in databases.chain(servers) {
        let Some(client) = client else {
            return Ok(Some("DROVER_API_TOKEN is not set".into()));
        };
        match client.delete(&format!("/v1/{kind}/{id}")).await {
            Ok(_) | Err(ClientError::Refused { status: 404, .. }) => {}
            Err(e) => return Ok(Some(e.to_string())),
        }
    }
    Ok(None)
}

/// Whether the API knows this id as what we mean: a control database that was
/// made anew knows none of the ids we kept.
async fn knows(
    client: &Client,
    kind: &str,
    id: &str,
    field: &str,
    value: &Value,
) -> anyhow::Result<bool> {
    match client.get(&format!("/v1/{kind}/{id}")).await {
        Ok(known) => Ok(known[field] == *value),
        Err(ClientError::Refused { status: 404, .. }) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The id in a refusal, if it says that just this is in the herd already: then an
/// earlier run was cut off after the API's answer.
async fn adopted(
    client: &Client,
    kind: &str,
    refused: ClientError,
    field: &str,
    value: &Value,
) -> anyhow::Result<String> {
    let ClientError::Refused {
        status: 409,
        message,
        ..
    } = &refused
    else {
        return Err(refused.into());
    };
    if let Some(id) = id_named_in(message)
        && knows(client, kind, &id, field, value).await?
    {
        return Ok(id);
    }
    bail!(refused)
}

fn id_named_in(message: &str) -> Option<String> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter_map(|w| w.parse::<PublicId>().ok())
        .map(|id| id.to_string())
        .next()
}

fn id_in(answer: &Value) -> anyhow::Result<String> {
    let id = answer["id"]
        .as_str()
        .context("the API's answer has no id")?;
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_in_a_refusal() {
        let id = "srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
        let message = format!("the name is taken: {id} bears it; choose another");
        assert_eq!(id_named_in(&message).as_deref(), Some(id));
        assert_eq!(id_named_in("in the herd already: srv_nonsense"), None);
    }
}
