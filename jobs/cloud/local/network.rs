//! A local server's network: cut off from everybody, and joined again.
//!
//! Packets to and from the server's own address are dropped on their way in, by nft or
//! iptables. What a server asks of others goes out from 127.0.0.1, as loopback has it,
//! and is not cut off: its address is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::Uid;
use tokio::io::AsyncWriteExt;

use super::server::LocalServer;

const TIME: Duration = Duration::from_secs(10);
const NEEDS: &str = "cutting a local server off needs root, or sudo without a password, on a \
    machine that lets it filter packets";

/// What can filter packets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Nft,
    Iptables,
}

impl Filter {
    const ALL: [Self; 2] = [Self::Nft, Self::Iptables];

    const fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
        }
    }

    fn program(self) -> Option<PathBuf> {
        let places = ["/usr/sbin", "/sbin", "/usr/bin"];
        let mut found = places.iter().map(|dir| Path::new(dir).join(self.name()));
        found.find(|program| program.exists())
    }
}

impl LocalServer {
    /// Lies there while it is cut off, and says by what.
    fn cut_off(&self) -> PathBuf {
        self.path("cut-off")
    }

    /// Whether it is cut off.
    pub fn is_partitioned(&self) -> bool {
        self.cut_off().exists()
    }

    /// Cuts it off: nobody reaches its address any more, and what is open there goes
    /// silent. It lasts over reboots, until [`LocalServer::heal`].
    ///
    /// # Errors
    /// If this machine has nothing to filter packets with, or does not let us.
    pub async fn partition(&self) -> anyhow::Result<()> {
        let found = Filter::ALL.into_iter().find(|f| f.program().is_some());
        let filter = found.context(
            "this machine has neither nft nor iptables (Debian packages nftables, iptables), so \
             no server can be cut off here",
        )?;
        // Kept first: whoever finds it cut off must be able to join it again.
        self.owner.write(&self.cut_off(), filter.name(), 0o644)?;
        let cut = self.filter(filter, Rule::Drop).await;
        if cut.is_err() {
            let _ = std::fs::remove_file(self.cut_off());
        }
        cut.with_context(|| format!("server {} cannot be cut off", self.name))
    }

    /// Undoes [`LocalServer::partition`]; one that is not cut off stays as it is.
    ///
    /// # Errors
    /// If the filter cannot be changed.
    pub async fn heal(&self) -> anyhow::Result<()> {
        let path = self.cut_off();
        let by = match std::fs::read_to_string(&path) {
            Ok(by) => by,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let filter = match by.trim() {
            "iptables" => Filter::Iptables,
            _ => Filter::Nft,
        };
        self.filter(filter, Rule::Pass)
            .await
            .with_context(|| format!("server {} cannot be joined again", self.name))?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    async fn filter(&self, filter: Filter, rule: Rule) -> anyhow::Result<()> {
        let address = self.settings.address.to_string();
        let program = filter
            .program()
            .with_context(|| format!("{} is gone from this machine", filter.name()))?;
        match filter {
            // One transaction, that may be done again at any time.
            Filter::Nft => {
                let element = format!("element ip drover cut_off {{ {address} }}\n");
                let change = match rule {
                    Rule::Drop => format!("add {element}"),
                    Rule::Pass => format!("add {element}delete {element}"),
                };
                privileged(&program, &["-f", "-"], &format!("{TABLE}{change}")).await
            }
            Filter::Iptables => {
                for side in ["-d", "-s"] {
                    let rule_is = |verb| ["-w", "5", verb, "INPUT", side, &address, "-j", "DROP"];
                    let there = privileged(&program, &rule_is("-C"), "").await.is_ok();
                    match (rule, there) {
                        (Rule::Drop, false) => {
                            privileged(&program, &rule_is("-I"), "").await?;
                        }
                        (Rule::Pass, true) => {
                            privileged(&program, &rule_is("-D"), "").await?;
                        }
                        (Rule::Drop, true) | (Rule::Pass, false) => {}
                    }
                }
                Ok(())
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Drop,
    Pass,
}

/// Of this machine, for all local clouds on it.
const TABLE: &str = "add table ip drover
add set ip drover cut_off { type ipv4_addr; }
add chain ip drover input { type filter hook input priority 0; }
flush chain ip drover input
add rule ip drover input ip daddr @cut_off drop
add rule ip drover input ip saddr @cut_off drop
";

/// Runs it as root or through sudo.
async fn privileged(program: &Path, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut command = if Uid::effective().is_root() {
        tokio::process::Command::new(program)
    } else {
        let mut sudo = tokio::process::Command::new("sudo");
        sudo.args(["-n", "--"]).arg(program);
        sudo
    };
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let run = async {
        let mut child = command.spawn().context(NEEDS)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        Ok::<_, anyhow::Error>(child.wait_with_output().await?)
    };
    let done = tokio::time::timeout(TIME, run).await;
    let done = done.with_context(|| format!("{} hangs", program.display()))??;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.lines().next().unwrap_or_default().trim().to_owned();
        bail!("{}: {said}; {NEEDS}", program.display());
    }
    Ok(())
}
