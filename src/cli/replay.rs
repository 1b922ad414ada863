//! `drover replay`: thinking is the workers' part, so the arguments go to the
//! `drover-worker` that is installed with this command.

use std::env::{current_exe, split_paths, var_os};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::Failure;

const WORKER: &str = "drover-worker";

/// Becomes `drover-worker replay` with these arguments; returns only if it cannot.
pub(super) fn hand_over(arguments: Vec<OsString>, json: bool) -> Result<(), Failure> {
    let worker = beside().or_else(on_path).ok_or_else(|| {
        Failure::Failed(format!(
            "{WORKER}, which does the thinking, is neither beside this command nor on PATH"
        ))
    })?;
    let mut command = Command::new(&worker);
    command.arg("replay").args(arguments);
    if json {
        command.arg("--json");
    }
    let error = command.exec();
    Err(Failure::Failed(format!(
        "{} cannot be run: {error}",
        worker.display()
    )))
}

fn beside() -> Option<PathBuf> {
    let worker = current_exe().ok()?.with_file_name(WORKER);
    worker.is_file().then_some(worker)
}

fn on_path() -> Option<PathBuf> {
    split_paths(&var_os("PATH")?)
        .map(|dir| dir.join(WORKER))
        .find(|worker| worker.is_file())
}
