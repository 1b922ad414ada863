//! `bin/bench`: measures drover on a database of its own.

mod ring;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "Measures drover on a database of its own")]
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
            Name::RingWorker(options) => ring::worker(options).await,
        }
    })
}
