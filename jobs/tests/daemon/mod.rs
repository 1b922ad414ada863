//! A daemon of `drover-machines` for one test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// A daemon of `drover-machines`, with all its machines.
pub struct Daemon {
    pub folder: PathBuf,
    process: Option<Child>,
}

impl Daemon {
    /// One that answers.
    pub async fn start() -> Self {
        static MADE: AtomicU16 = AtomicU16::new(0);
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = tmp.join(format!("l{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut daemon = Self {
            folder,
            process: None,
        };
        let log = std::fs::File::create(daemon.folder.join("log")).unwrap();
        let mut serve = daemon.command(&["serve"]);
        let serve = serve.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        daemon.process = Some(serve.unwrap());
        while !daemon.folder.join("socket").exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        daemon
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::current_exe().unwrap();
        let program = program.ancestors().nth(2).unwrap().join("drover-machines");
        assert!(
            program.exists(),
            "{} is not there: cargo build -p drover-machines",
            program.display()
        );
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("DROVER_MACHINES_DIR", &self.folder);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = self.command(&["destroy", "--all"]).status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
