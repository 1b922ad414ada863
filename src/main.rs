//! The `drover` command: the processes that need no access to the herd, and a
//! client of the API.

mod cli;
#[cfg(test)]
mod documents;

use std::process::ExitCode;

use clap::Parser;
use drover::config::Env;

use cli::{Cli, Failure};

#[tokio::main]
async fn main() -> ExitCode {
    let parsed = match Cli::try_parse() {
        Ok(parsed) => parsed,
        Err(error) => return cli::wrong_arguments(&error),
    };
    // Two providers are in the graph of some builds; which one is used is said
    // here and not left to chance. It can only be installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::run(parsed, Env::process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, message) = match failure {
                Failure::Failed(message) => (1, message),
                Failure::WrongUse(message) => (2, message),
            };
            eprintln!("drover: {}", cli::one_line(&message));
            ExitCode::from(code)
        }
    }
}
