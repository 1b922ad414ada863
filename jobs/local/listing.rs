//! `drover-worker local ls`.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::say;
use crate::cloud::local::{LocalServer, SSH_PORT};

/// One object per server.
pub(super) async fn json(servers: &[LocalServer]) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for server in servers {
        all.push(one(server).await?);
    }
    say(&serde_json::to_string_pretty(&all)?)
}

async fn one(server: &LocalServer) -> anyhow::Result<Value> {
    let mut clusters = Vec::new();
    for cluster in server.clusters().await? {
        clusters.push(json!({
            "id": cluster.id,
            "name": cluster.name,
            "version": cluster.version,
            "port": cluster.port,
            "running": server.runs(&cluster).await?,
        }));
    }
    let volume = match server.volume().await? {
        Some(volume) => json!({
            "id": volume.id,
            "device": volume.device,
            "size_bytes": volume.size,
            // Nobody sees it while the server is off.
            "writable": server.volume_is_writable().await.ok(),
        }),
        None => Value::Null,
    };
    Ok(json!({
        "id": server.kept.id,
        "name": server.name,
        "address": server.settings.address,
        "ssh_port": SSH_PORT,
        "zone": server.settings.zone,
        "running": server.is_up().await?,
        "volume": volume,
        "resources": clusters,
    }))
}

/// A line per server, and one per database under it.
pub(super) async fn table(servers: &[LocalServer]) -> anyhow::Result<()> {
    if servers.is_empty() {
        return say("no local servers; `drover-worker local create` makes some");
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["NAME", "ID", "ADDRESS", "PORT", "NOW"]);
    let word = |runs: bool| if runs { "up" } else { "down" }.to_owned();
    for server in servers {
        let address = server.settings.address.to_string();
        table.add_row([
            server.name.clone(),
            server.kept.id.clone().unwrap_or_default(),
            address.clone(),
            SSH_PORT.to_string(),
            server.machine().await?.power.to_string(),
        ]);
        for cluster in server.clusters().await? {
            table.add_row([
                format!("  {}", cluster.name),
                cluster.id.clone().unwrap_or_default(),
                address.clone(),
                cluster.port.to_string(),
                word(server.runs(&cluster).await?),
            ]);
        }
    }
    say(table.to_string().trim_end())
}
