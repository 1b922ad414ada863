//! Runs the system's tools (ip, nft, losetup …), each with a time limit.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What a tool may take unless its caller says otherwise.
const LIMIT: Duration = Duration::from_secs(20);

/// One call of a tool. It is killed when its time is up, or when its caller goes away.
pub struct Tool {
    name: String,
    command: Command,
    shown: String,
    input: Option<Vec<u8>>,
    limit: Duration,
}

pub fn tool(name: &str) -> Tool {
    let mut command = Command::new(name);
    // `sbin` is not in everybody's PATH, and messages are read by us.
    command
        .env("PATH", path())
        .env("LC_ALL", "C.UTF-8")
        .kill_on_drop(true);
    Tool {
        name: name.into(),
        command,
        shown: name.into(),
        input: None,
        limit: LIMIT,
    }
}

/// A tool that needs root: through sudo, where we are not.
pub fn as_root(name: &str) -> Tool {
    if nix::unistd::geteuid().is_root() {
        return tool(name);
    }
    tool("sudo").args(["-n", "--", name])
}

impl Tool {
    /// It runs as this user, and in no other group than this.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.command.uid(uid).gid(gid);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.shown += " ";
            self.shown += &arg.as_ref().to_string_lossy();
            self.command.arg(arg);
        }
        self
    }

    /// One argument that ends with a path.
    pub fn arg_path(self, option: &str, path: &std::path::Path) -> Self {
        self.args([format!("{option}{}", path.display())])
    }

    /// The arguments of a line that has no blanks within any of them.
    pub fn line(self, line: &str) -> Self {
        self.args(line.split_whitespace())
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn input(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.input = Some(text.into());
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Its whole output, whatever its exit status.
    ///
    /// # Errors
    /// If it is not installed or takes too long.
    pub async fn output(mut self) -> anyhow::Result<std::process::Output> {
        let stdin = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| match package_of(&self.name) {
                Some(package) => format!("{} cannot be run; install {package}", self.name),
                None => format!("{} cannot be run", self.name),
            })?;
        let feed = child.stdin.take().zip(self.input);
        let all = async {
            if let Some((mut stdin, text)) = feed {
                // A tool that ends before it has read everything says why itself.
                let _ = stdin.write_all(&text).await;
            }
            child.wait_with_output().await
        };
        match tokio::time::timeout(self.limit, all).await {
            Ok(output) => output.with_context(|| self.shown),
            Err(_) => bail!("{} took longer than {:?}", self.shown, self.limit),
        }
    }

    /// What it prints.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub async fn run(self) -> anyhow::Result<String> {
        let shown = self.shown.clone();
        let output = self.output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{shown}: {} ({})", said.trim(), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// PATH, with the folders of the administrator's tools.
pub fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Debian's package of a tool.
pub fn package_of(tool: &str) -> Option<&'static str> {
    Some(match tool {
        "systemd-nspawn" => "systemd-container",
        "debootstrap" => "debootstrap",
        "ip" | "tc" | "bridge" => "iproute2",
        "nft" => "nftables",
        "mkfs.ext4" => "e2fsprogs",
        "losetup" | "nsenter" | "unshare" | "blockdev" => "util-linux",
        "mount" | "umount" => "mount",
        "cc" => "gcc",
        _ => return None,
    })
}
