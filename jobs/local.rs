//! `drover-worker local …` (comes from the local cloud's branch).

#[derive(clap::Subcommand)]
pub enum Command {
    /// List them.
    Ls,
}

pub async fn run(_: Command, _: drover::config::Env<'_>) -> anyhow::Result<()> {
    Ok(())
}
