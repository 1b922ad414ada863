//! `bin/demo --check`: the main job, without a person.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match drover_tests::scenario::run(|line| println!("{line}")).await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("demo failed: {e:#}");
            ExitCode::FAILURE
        }
    }
}
