//! Machines that are cut off: packets to and from their addresses are dropped on their way
//! in, by nft or iptables.
//!
//! What a machine asks of others goes out from 127.0.0.1, as loopback has it, and is not cut
//! off: its address is.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::protocol::Problem;
use crate::run::{as_root, path};

/// The rules of one daemon.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of its own, so that daemons do not touch each other's
    table: String,
}

impl Filter {
    /// That of the daemon of this folder.
    pub fn of(folder: &Path) -> Self {
        let hash = super::fingerprint(folder);
        Self {
            table: format!("drover-machines-{hash:016x}"),
        }
    }

    /// These addresses are cut off, and none besides; `healed` are those that were.
    ///
    /// # Errors
    /// If this host has nothing to filter packets with, or does not let us.
    pub async fn apply(&self, cut: &[Ipv4Addr], healed: &[Ipv4Addr]) -> Result<(), Problem> {
        if has("nft") {
            let rules = self.rules(cut);
            as_root("nft").line("-f -").input(rules).run().await?;
            return Ok(());
        }
        if !has("iptables") {
            return Err(Problem::conflict(
                "no machine can be cut off: this host has neither nft nor iptables (Debian \
                 packages nftables, iptables)",
            ));
        }
        for (addresses, cut) in [(cut, true), (healed, false)] {
            for address in addresses {
                for side in ["-d", "-s"] {
                    drop_packets(side, *address, cut).await?;
                }
            }
        }
        Ok(())
    }

    /// One transaction, that may be done again at any time.
    fn rules(&self, cut: &[Ipv4Addr]) -> String {
        let table = format!("table ip {}", self.table);
        let mut rules = format!("{table} {{}}\ndelete {table}\n");
        if !cut.is_empty() {
            let cut: Vec<_> = cut.iter().map(Ipv4Addr::to_string).collect();
            let cut = cut.join(", ");
            rules += &format!(
                "{table} {{ chain in {{ type filter hook input priority 0;\n\
                 ip daddr {{ {cut} }} drop\nip saddr {{ {cut} }} drop\n}}\n}}\n"
            );
        }
        rules
    }
}

async fn drop_packets(side: &str, address: Ipv4Addr, cut: bool) -> anyhow::Result<()> {
    let rule = |verb: &str| {
        as_root("iptables").line(&format!("-w 5 {verb} INPUT {side} {address} -j DROP"))
    };
    let there = rule("-C").run().await.is_ok();
    match (cut, there) {
        (true, false) => drop(rule("-I").run().await?),
        (false, true) => drop(rule("-D").run().await?),
        (true, true) | (false, false) => {}
    }
    Ok(())
}

fn has(program: &str) -> bool {
    path()
        .split(':')
        .any(|folder| Path::new(folder).join(program).exists())
}
