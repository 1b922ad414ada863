//! Whether machines can be had on this host, and what is missing if not.

use std::fs;
use std::path::Path;

use crate::machine::cgroups;
use crate::run::{package_of, tool};

const TOOLS: [&str; 10] = [
    "systemd-nspawn",
    "debootstrap",
    "ip",
    "tc",
    "bridge",
    "nft",
    "losetup",
    "nsenter",
    "unshare",
    "mount",
];

/// What is missing, in words for people, each with what helps. None: machines can be had.
pub async fn missing(folder: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    for name in TOOLS {
        if !is_installed(name) {
            let package = package_of(name).unwrap_or(name);
            missing.push(format!(
                "{name} is not installed: apt-get install {package}"
            ));
        }
    }
    if !nix::unistd::geteuid().is_root() {
        missing.push("not root: run it through sudo".into());
        return missing;
    }
    if missing.is_empty() {
        missing.extend(of_kernel(folder).await);
    }
    missing
}

fn is_installed(name: &str) -> bool {
    crate::run::path()
        .split(':')
        .any(|folder| Path::new(folder).join(name).exists())
}

/// Each tried, because a container may forbid what its kernel can do.
async fn of_kernel(folder: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    let name = format!("dmtry{:06x}", rand::random::<u32>() >> 8);
    let mut attempt = |what: &str, result: anyhow::Result<String>| {
        if let Err(error) = result {
            missing.push(format!("{what}: {error:#}"));
        }
    };
    let netns = tool("ip").args(["netns", "add", &name]).run().await;
    let has_netns = netns.is_ok();
    attempt("no network namespaces (they need CAP_SYS_ADMIN)", netns);
    if has_netns {
        let bridge = format!("link add {name} type bridge");
        let made = tool("ip").args(["-n", &name]).line(&bridge).run().await;
        attempt("no bridges (kernel module bridge, CAP_NET_ADMIN)", made);
        let cable = format!("link add {name}v type veth");
        let made = tool("ip").args(["-n", &name]).line(&cable).run().await;
        attempt("no virtual cables (kernel module veth)", made);
        let rules = "add table bridge try\nadd chain bridge try f { type filter hook forward priority 0; }\n\
             add rule bridge try f numgen random mod 100 < 5 drop\n";
        let ruled = tool("ip")
            .args(["netns", "exec", &name, "nft", "-f", "-"])
            .input(rules)
            .run()
            .await;
        attempt("no nftables for bridges (kernel module nf_tables)", ruled);
        let _ = tool("ip").args(["netns", "delete", &name]).run().await;
    }
    attempt(
        "no overlayfs here (kernel module overlay; the folder may lie on one itself)",
        overlay(folder).await,
    );
    attempt(
        "no loop devices (kernel module loop)",
        tool("losetup").args(["--find"]).run().await,
    );
    match cgroups() {
        None => missing.push("no cgroups of version 2 are mounted".into()),
        Some(root) => {
            let try_out = root.join(&name);
            if fs::create_dir(&try_out).is_err() {
                missing.push(format!("{} cannot be written", root.display()));
            } else if !try_out.join("cgroup.kill").exists() {
                missing.push("the kernel is older than 5.14 (no cgroup.kill)".into());
            }
            let _ = fs::remove_dir(try_out);
        }
    }
    missing
}

/// In a mount namespace of its own, so that it leaves nothing.
async fn overlay(folder: &Path) -> anyhow::Result<String> {
    let place = folder.join(format!(".try{:08x}", rand::random::<u32>()));
    for part in ["lower", "upper", "work", "root"] {
        fs::create_dir_all(place.join(part))?;
    }
    let script =
        "cd \"$1\" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root";
    let tried = tool("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&place])
        .run()
        .await;
    fs::remove_dir_all(place)?;
    tried
}
