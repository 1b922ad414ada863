//! What is kept of a run that broke a law: everything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::customers::Customer;
use crate::plan::Which;
use crate::world::{QUICK, World};

/// Writes the processes' logs, the control database, the record's timeline, the ledgers, and
/// what the machines' own PostgreSQL logged into a new folder. Gives its path.
///
/// # Errors
/// If it cannot be written; parts that cannot be had are left out.
pub async fn keep(world: &World, customers: &[Arc<Customer>], seed: u64) -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("drover-chaos-{seed}-"))
        .tempdir_in("/tmp")?
        .keep();
    std::fs::write(folder.join("processes.log"), world.processes().logs())?;
    std::fs::write(
        folder.join("control-database.log"),
        world.drover.postgres.log(),
    )?;
    for customer in customers {
        let mut lines = String::new();
        for write in customer.writes(world) {
            let _ = writeln!(lines, "{write}");
        }
        std::fs::write(folder.join(format!("{}.ledger", customer.which)), lines)?;
    }
    if let Err(e) = world
        .drover
        .postgres
        .dump("drover", &folder.join("record.sql"))
    {
        println!("the control database cannot be dumped: {e:#}");
    }
    if let Ok(timeline) = timeline(world).await {
        std::fs::write(folder.join("timeline"), timeline)?;
    }
    machines(world, &folder).await;
    Ok(folder)
}

/// What the record says of all operations and incidents.
async fn timeline(world: &World) -> Result<String> {
    let sql = "select to_char(e.created_at, 'HH24:MI:SS.MS') || ' ' || o.kind || ' of '
                   || coalesce(s.name, '') || ' ' || right(o.id, 6) || ': ' || e.text
             from operation_events e join operations o on o.id = e.operation_id
                  left join subjects s on s.id = o.subject_id
             where o.kind <> 'reconcile'
             union all
             select to_char(e.created_at, 'HH24:MI:SS.MS') || ' ' || i.kind || ' of '
                   || coalesce(s.name, 'the herd') || ' ' || right(i.id, 6) || ': ' || e.text
             from incident_events e join incidents i on i.id = e.incident_id
                  left join subjects s on s.id = i.subject_id
             order by 1";
    let asked = sqlx::query_scalar(sql).fetch_all(&world.drover.pool);
    let lines: Vec<String> = tokio::time::timeout(QUICK, asked).await??;
    Ok(lines.join("\n"))
}

async fn machines(world: &World, folder: &Path) {
    let script = "date -u; pg_lsclusters; tail -n 400 /var/log/postgresql/*.log";
    for which in Which::ALL {
        for node in world.nodes(which) {
            let said = world
                .machines()
                .sh(&node.instance, script, Duration::from_secs(5))
                .await;
            let said = match said {
                Ok(said) => said.stdout + &said.stderr,
                Err(e) => e.to_string(),
            };
            let name = format!("{which}-{}-{}.log", node.address, node.instance);
            let _ = std::fs::write(folder.join(name), said);
        }
    }
}
