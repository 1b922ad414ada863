//! `drover-worker local ls`.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::say;
use crate::cloud::local::{LocalServer, MIB, SSH_PORT};

/// One object per server.
pub(super) fn json(servers: &[LocalServer]) -> anyhow::Result<()> {
    let servers = servers
        .iter()
        .map(one)
        .collect::<anyhow::Result<Vec<_>>>()?;
    say(&serde_json::to_string_pretty(&servers)?)
}

fn one(server: &LocalServer) -> anyhow::Result<Value> {
    let clusters = server.clusters()?;
    let clusters = clusters.iter().map(|c| {
        json!({
            "id": c.id,
            "name": c.name,
            "version": c.version,
            "port": c.port,
            "running": server.runs(c),
        })
    });
    // One that is not mounted is a size without a place.
    let volume = server.settings.volume_mib.map(|mib| match server.volume() {
        Ok(volume) => json!({
            "id": volume.as_ref().map(|v| &v.id),
            "mount": volume.as_ref().and_then(|v| v.mount.as_deref()),
            "size_bytes": volume.as_ref().map(|v| v.size_bytes),
            "writable": server.volume_is_writable().ok(),
        }),
        Err(_) => json!({"size_bytes": u64::from(mib) * MIB}),
    });
    Ok(json!({
        "id": server.settings.id,
        "name": server.name,
        "address": server.settings.address,
        "ssh_port": SSH_PORT,
        "zone": server.settings.zone,
        "running": server.is_up(),
        "volume": volume,
        "resources": clusters.collect::<Vec<_>>(),
    }))
}

/// A line per server, and one per database under it.
pub(super) fn table(servers: &[LocalServer]) -> anyhow::Result<()> {
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
            server.settings.id.clone().unwrap_or_default(),
            address.clone(),
            SSH_PORT.to_string(),
            word(server.is_up()),
        ]);
        for cluster in server.clusters()? {
            table.add_row([
                format!("  {}", cluster.name),
                cluster.id.clone().unwrap_or_default(),
                address.clone(),
                cluster.port.to_string(),
                word(server.runs(&cluster)),
            ]);
        }
    }
    say(table.to_string().trim_end())
}
