//! `bin/bench`: measures drover on a database of its own.

mod failover;
mod feel;
mod incidents;
mod mend;
mod ring;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "bench",
    about = "Measures drover on a database of its own",
    after_help = "DROVER_LOCAL_IMAGE=trixie: machines are Debian 13, and not 12."
)]
struct Arguments {
    /// Print one JSON object as the last line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    name: Name,
}

#[derive(Subcommand)]
enum Name {
    /// Laps per second of a ring whose feeler answers at once; the queue,
    /// observations, think and committer are the real ones.
    Ring(ring::Options),
    /// What a real feel process takes: databases of one real PostgreSQL, felt by
    /// the `drover-worker` that was built.
    Feel(feel::Options),
    /// From SIGKILL of a postmaster until its database takes a write again, mended
    /// by drover; and alarms about a healthy herd.
    Mend(mend::Options),
    /// From the end of a leader's server until its follower has accepted a write, under
    /// a steady stream of them; what was lost; and whether the old leader came back.
    Failover(failover::Options),
    /// Many incidents opened at once, and several resolve processes.
    Incidents(incidents::Options),
    /// One of the ring's worker processes.
    #[command(hide = true)]
    RingWorker(ring::WorkerOptions),
}

fn main() -> anyhow::Result<()> {
    drover_tests::init();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        match arguments.name {
            Name::Ring(options) => ring::run(options, arguments.json).await,
            Name::Feel(options) => feel::run(options, arguments.json).await,
            Name::Incidents(options) => incidents::run(options, arguments.json).await,
            Name::Failover(options) => failover::run(options, arguments.json).await,
            Name::Mend(options) => mend::run(options, arguments.json).await,
            Name::RingWorker(options) => ring::worker(options).await,
        }
    })
}

/// The table that people read.
fn print(result: &serde_json::Value) {
    for (name, value) in result.as_object().into_iter().flatten() {
        println!("{name:<24}{value}");
    }
}
