//! Runs a command within a machine.

use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::Machine;
use crate::protocol::Output;
use crate::run::{Tool, tool};

impl Machine {
    /// A tool of the machine's own, run there as root, among its processes: frozen and
    /// killed with them.
    ///
    /// # Errors
    /// If it is not on.
    pub fn tool(&self) -> anyhow::Result<Tool> {
        let init = self.init().context("it is not on")?;
        let procs = self.cgroup.path().join("cgroup.procs");
        let enter = "echo $$ >\"$1\" && shift && exec nsenter \"$@\"";
        Ok(tool("sh")
            .args(["-c", enter, "sh"])
            .args([procs])
            .args(["--target", &init.to_string()])
            .line("--mount --uts --ipc --net --pid --root --wd -- env -i HOME=/root LANG=C.UTF-8")
            .line("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
    }

    /// # Errors
    /// If it is not on, or does not answer.
    pub async fn exec(
        &self,
        command: &[String],
        input: String,
        limit: Duration,
    ) -> anyhow::Result<Output> {
        let seconds = limit.as_secs().to_string();
        let output = self
            .tool()?
            // Within, because nobody kills from outside what runs in there.
            .args(["timeout", "-k", "2", &seconds])
            .args(command)
            .input(input)
            .limit(limit + Duration::from_secs(5))
            .output()
            .await
            .map_err(|e| match self.cgroup.waits() {
                none if none.is_empty() => e,
                waits => anyhow!("{e:#}; in the kernel wait {waits}"),
            })?;
        Ok(output.into())
    }

    /// Runs a script of ours there.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub async fn script(&self, script: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.tool()?
            .args(["sh", "-euc", script, "sh"])
            .args(arguments)
            .run()
            .await
    }
}
