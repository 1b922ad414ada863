//! `drover-machines`: the daemon and its command.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use drover_machines::client::ClientError;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let result = if let cli::Command::Keep { folder } = &arguments.command {
        // A process for each machine: without the threads of a runtime.
        drover_machines::machine::keep(folder).map(|()| ExitCode::SUCCESS)
    } else {
        tokio::runtime::Runtime::new()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(cli::run(arguments)))
    };
    result.unwrap_or_else(|error| {
        match error.downcast_ref::<ClientError>() {
            Some(refused) => eprintln!("drover-machines: {refused}"),
            None => eprintln!("drover-machines: {error:#}"),
        }
        ExitCode::FAILURE
    })
}
