//! moto's server: an EC2 that forgets everything when it ends.

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::aws::{Aws, REGION, text};
use crate::postgres::free_port;
use crate::until;

/// How long it may take to answer for the first time.
const STARTS: Duration = Duration::from_secs(60);

/// Runs moto until stdin ends, which it does with the process that holds the other
/// end, however that went.
const GUARD: &str = r#"
trap '' INT TERM HUP
"$1" -H 127.0.0.1 -p "$2" >"$3/log" 2>&1 </dev/null &
moto=$!
cat >/dev/null
kill -9 $moto
wait $moto 2>/dev/null
rm -rf "$3"
"#;

/// Two images of Debian's, so that one is the newest.
const IMAGES: &str = r#"[
 {"ami_id": "ami-0d00000000000001", "name": "debian-12-amd64-20250101-1", "creation_date": "2025-01-01T00:00:00.000Z",
  "owner_id": "136693071363", "state": "available", "public": true, "architecture": "x86_64", "virtualization_type": "hvm",
  "hypervisor": "xen", "description": "Debian 12", "image_type": "machine", "root_device_name": "/dev/xvda", "root_device_type": "ebs"},
 {"ami_id": "ami-0d00000000000002", "name": "debian-12-amd64-20260101-1", "creation_date": "2026-01-01T00:00:00.000Z",
  "owner_id": "136693071363", "state": "available", "public": true, "architecture": "x86_64", "virtualization_type": "hvm",
  "hypervisor": "xen", "description": "Debian 12", "image_type": "machine", "root_device_name": "/dev/xvda", "root_device_type": "ebs"}
]"#;

/// The newest of its images.
pub const IMAGE: &str = "ami-0d00000000000002";

/// A running moto, with a stand-in before it that counts; both stop when this is
/// dropped.
pub struct Moto {
    aws: Aws,
    guard: Child,
}

impl Deref for Moto {
    type Target = Aws;

    fn deref(&self) -> &Aws {
        &self.aws
    }
}

impl Moto {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// If moto is not there or does not answer.
    pub async fn start() -> Result<Self> {
        let port = free_port()?;
        let dir = tempfile::Builder::new().prefix("drover-moto-").tempdir()?;
        // From here on it is the guard's.
        let dir = dir.keep();
        std::fs::write(dir.join("images.json"), IMAGES)?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "moto"])
            .arg(program()?)
            .arg(port.to_string())
            .arg(&dir)
            .env("MOTO_AMIS_PATH", dir.join("images.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a shell")?;
        let url = format!("http://127.0.0.1:{port}");
        let aws = Aws::start(Some(url.clone())).await?;
        let moto = Self { aws, guard };
        let client = reqwest::Client::builder().no_proxy().build()?;
        until("moto answers", STARTS, || async {
            let answer = client.get(format!("{url}/moto-api/data.json")).send().await;
            Ok(match answer {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(e) => Err(e.to_string()),
            })
        })
        .await?;
        // Each region's first answer takes seconds: longer than drover waits for one
        // where the machine is busy.
        for region in [REGION, "eu-west-1"] {
            moto.ask_in(region, "DescribeInstances", &[]).await?;
            moto.ask_in(region, "DescribeImages", &[]).await?;
        }
        moto.forget();
        Ok(moto)
    }

    /// A network of these addresses, and in it a subnet for each of these zones: of
    /// 198.18.8.0/22 the first three are 198.18.8.0/24, 198.18.9.0/24 and 198.18.10.0/24.
    /// Gives the subnets.
    pub async fn subnets(&self, block: &str, zones: &[&str]) -> Result<Vec<String>> {
        let base: Ipv4Addr = block.split('/').next().unwrap_or_default().parse()?;
        let made = self.ask("CreateVpc", &[("CidrBlock", block)]).await?;
        let vpc = text(&made, "vpcId")?.to_owned();
        let mut subnets = Vec::new();
        for (n, zone) in (0..).zip(zones) {
            let block = format!("{}/24", Ipv4Addr::from_bits(base.to_bits() + (n << 8)));
            let parameters = [
                ("VpcId", vpc.as_str()),
                ("CidrBlock", &block),
                ("AvailabilityZone", zone),
            ];
            let made = self.ask("CreateSubnet", &parameters).await?;
            subnets.push(text(&made, "subnetId")?.to_owned());
        }
        Ok(subnets)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// `bin/test` says where it is; by itself it is where `bin/test` puts it.
fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DROVER_MOTO") {
        return Ok(path.into());
    }
    let me = std::env::current_exe()?;
    let venvs = me
        .ancestors()
        .map(|dir| dir.join("moto-venv/bin/moto_server"));
    venvs.into_iter().find(|program| program.is_file()).context(
        "moto is not there, which stands in for EC2: run bin/test, which installs it, or set \
         DROVER_MOTO to the program moto_server",
    )
}
