//! Many incidents at once: whether each has one resolver at a time, none is
//! forgotten, and the ring keeps its cadence meanwhile.

use anyhow::Result;
use clap::Args;
use drover_tests::flood::{self, CADENCE};
use serde_json::json;

#[derive(Args)]
pub struct Options {
    /// Databases, each of which gets an incident.
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Resolve processes.
    #[arg(long, default_value_t = 8)]
    resolvers: usize,
}

pub async fn run(options: Options, as_json: bool) -> Result<()> {
    let flood = flood::run(options.count, options.resolvers).await?;
    let round = |s: f64| (s * 10.0).round() / 10.0;
    let result = json!({
        "incidents": flood.opened,
        "resolvers": options.resolvers,
        "cadence_s": CADENCE.as_secs(),
        "opened_s": round(flood.opened_s),
        "worked_s": round(flood.worked_s),
        "resolved_s": round(flood.resolved_s),
        "runs": flood.runs,
        "overlaps": flood.overlaps,
        "oldest_observation_s": round(flood.oldest_observation_s),
        "calm_observation_s": round(flood.calm_observation_s),
    });
    crate::print(&result);
    if as_json {
        println!("{result}");
    }
    Ok(())
}
