//! A daemon's network: one bridge, and for each machine a namespace and a cable.
//!
//! Everything has a name that begins with the bridge's (`dm7`: namespace and cable of its
//! third machine are `dm7-3`), so that two daemons never touch each other's.

mod faults;
mod subnet;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

pub use self::faults::{End, Fault, What};
pub use self::subnet::{FOR_TESTS, Range};
use crate::record;
use crate::run::tool;

/// Held while a network is chosen, by whichever daemon of this host.
const LOCK: &str = "/run/drover-machines.lock";

/// The metadata service's address, in every machine.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Where a daemon's network is, and what is wrong with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    index: u16,
    range: Range,
    faults: Vec<Fault>,
}

#[derive(Debug)]
pub struct Network {
    path: PathBuf,
    within: Range,
    record: Option<Record>,
}

/// A machine's place in the network.
#[derive(Clone, Debug)]
pub struct Port {
    /// Names the namespace and the host's side of the cable
    pub link: String,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub second: Option<Ipv4Addr>,
}

impl Port {
    /// The hardware address, which says the machine's address.
    pub fn mac(&self) -> String {
        let [a, b, c, d] = self.address.octets();
        format!("02:64:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    pub fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.link)
    }
}

impl Network {
    /// # Errors
    /// If its record cannot be read.
    pub fn load(folder: &Path, within: Range) -> anyhow::Result<Self> {
        let path = folder.join("network.json");
        let record = record::read(&path)?;
        Ok(Self {
            path,
            within,
            record,
        })
    }

    pub fn range(&self) -> Option<Range> {
        self.record.as_ref().map(|record| record.range)
    }

    fn bridge_of(index: u16) -> String {
        format!("dm{index}")
    }

    pub fn bridge(&self) -> Option<String> {
        self.record
            .as_ref()
            .map(|record| Self::bridge_of(record.index))
    }

    fn table_of(index: u16) -> String {
        format!("drover-machines-{index}")
    }

    /// The bridge is there. Without machines, a network that somebody else has taken
    /// meanwhile is changed for another.
    ///
    /// # Errors
    /// If no network is free, or the one that machines have addresses of is not.
    pub async fn ensure(&mut self, has_machines: bool) -> anyhow::Result<()> {
        if let Some(record) = &self.record
            && Path::new("/sys/class/net")
                .join(Self::bridge_of(record.index))
                .exists()
        {
            return Ok(());
        }
        let lock = lock().await?;
        let said = tool("ip").line("-4 address show").run().await?
            + &tool("ip").line("-4 route show table all").run().await?;
        let kept = self
            .record
            .clone()
            .filter(|record| record.range.is_free(&said));
        let record = match (kept, &self.record) {
            (Some(record), _) => record,
            (None, Some(record)) if has_machines => {
                bail!("{} is in use by something else on this host", record.range)
            }
            (None, _) => {
                let (index, range) = self
                    .within
                    .first_free(&said)
                    .with_context(|| format!("no network of {} is free", self.within))?;
                Record {
                    index,
                    range,
                    faults: Vec::new(),
                }
            }
        };
        record::write(&self.path, &record)?;
        let bridge = Self::bridge_of(record.index);
        let address = format!("{}/{}", record.range.host(), record.range.prefix());
        tool("ip")
            .line("-batch -")
            .input(format!(
                "link add {bridge} type bridge stp_state 0 forward_delay 0\n\
                 address add {address} dev {bridge}\n\
                 link set {bridge} up\n"
            ))
            .run()
            .await?;
        no_ipv6(&bridge);
        self.record = Some(record);
        drop(lock);
        Ok(())
    }

    /// A machine's place, by its number.
    ///
    /// # Errors
    /// If there is no network yet.
    pub fn port(&self, number: u16, second: Option<Ipv4Addr>) -> anyhow::Result<Port> {
        let record = self
            .record
            .as_ref()
            .context("the daemon has no network yet")?;
        Ok(Port {
            link: format!("{}-{number}", Self::bridge_of(record.index)),
            address: record.range.address(number),
            prefix: record.range.prefix(),
            second,
        })
    }

    /// Lays a machine's cable, or repairs it: addresses, routes and names are then as they
    /// were at first. The cable is up while the machine is on: see [`power`].
    ///
    /// # Errors
    /// If `ip` fails.
    pub async fn connect(&self, port: &Port) -> anyhow::Result<()> {
        let bridge = self.bridge().context("the daemon has no network yet")?;
        let Port {
            link,
            address,
            prefix,
            second,
        } = port;
        let mac = port.mac();
        if !port.namespace().exists() {
            tool("ip").args(["netns", "add", link]).run().await?;
        }
        if !Path::new("/sys/class/net").join(link).exists() {
            let add =
                format!("link add {link} type veth peer name eth0 address {mac} netns {link}");
            tool("ip").line(&add).run().await?;
            no_ipv6(link);
        }
        // The bridge answers for a machine that is off, or cut off: as in a cloud, who
        // calls it hears nothing, rather than that there is no such machine.
        let mut host = format!(
            "link set {link} master {bridge}\n\
             neighbour replace {address} lladdr {mac} dev {bridge} nud permanent\n"
        );
        let mut inside = format!(
            "link set lo up\naddress replace {METADATA}/32 dev lo\n\
             address replace {address}/{prefix} dev eth0\nlink set eth0 up\n"
        );
        let mut source = *address;
        if let Some(second) = second {
            host += &format!(
                "route replace {second}/32 dev {bridge}\n\
                 neighbour replace {second} lladdr {mac} dev {bridge} nud permanent\n"
            );
            inside += &format!("address replace {second}/32 dev eth0\n");
            source = *second;
        }
        inside += &format!("route replace default dev eth0 src {source}\n");
        tool("ip").line("-batch -").input(host).run().await?;
        tool("ip")
            .args(["-n", link, "-batch", "-"])
            .input(inside)
            .run()
            .await?;
        tool("bridge")
            .line("-batch -")
            .input(format!(
                "link set dev {link} neigh_suppress on\nfdb replace {mac} dev {link} master static\n"
            ))
            .run()
            .await?;
        Ok(())
    }

    /// Takes a machine's cable and namespace away, as far as they are there.
    ///
    /// # Errors
    /// If `ip` fails.
    pub async fn disconnect(&mut self, name: &str, port: &Port) -> anyhow::Result<()> {
        if Path::new("/sys/class/net").join(&port.link).exists() {
            tool("ip")
                .args(["link", "delete", &port.link])
                .run()
                .await?;
        }
        if port.namespace().exists() {
            tool("ip")
                .args(["netns", "delete", &port.link])
                .run()
                .await?;
        }
        self.forget_second(port).await;
        if let Some(bridge) = self.bridge() {
            let neighbour = format!("neighbour delete {} dev {bridge}", port.address);
            let _ = tool("ip").line(&neighbour).run().await;
        }
        if let Some(record) = &mut self.record
            && record.faults.iter().any(|fault| fault.touches(name))
        {
            record.faults.retain(|fault| !fault.touches(name));
            record::write(&self.path, record)?;
        }
        Ok(())
    }

    /// A machine's second address is nobody's any more.
    pub async fn forget_second(&self, port: &Port) {
        let (Some(second), Some(bridge)) = (port.second, self.bridge()) else {
            return;
        };
        // What is gone already, with its cable or namespace, is gone.
        for line in [
            format!("route delete {second}/32 dev {bridge}"),
            format!("neighbour delete {second} dev {bridge}"),
            format!("-n {} address delete {second}/32 dev eth0", port.link),
        ] {
            let _ = tool("ip").line(&line).run().await;
        }
    }

    pub fn faults(&self) -> &[Fault] {
        self.record.as_ref().map_or(&[], |record| &record.faults)
    }

    /// Notes what is wrong from now on; [`Network::apply`] makes it so.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn set_faults(&mut self, faults: Vec<Fault>) -> anyhow::Result<()> {
        let record = self
            .record
            .as_mut()
            .context("the daemon has no network yet")?;
        record.faults = faults;
        record::write(&self.path, record)
    }

    /// What is wrong is so, and nothing else is.
    ///
    /// # Errors
    /// If nft or tc fails.
    pub async fn apply(&self, links: &[(String, String)]) -> anyhow::Result<()> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        let link_of = |name: &str| {
            let found = links.iter().find(|(own, _)| own == name);
            found.map(|(_, link)| link.clone())
        };
        let rules = faults::ruleset(&Self::table_of(record.index), &record.faults, link_of);
        tool("nft").line("-f -").input(rules).run().await?;
        for (name, link) in links {
            let rate = record.faults.iter().find_map(|fault| match fault.what {
                What::Slow(rate) if fault.touches(name) && !fault.one_way => Some(rate),
                What::Slow(_) | What::Cut | What::Loss(_) => None,
            });
            queue(link, rate).await?;
        }
        Ok(())
    }

    /// Takes the bridge and the rules away.
    ///
    /// # Errors
    /// If `ip` or nft fails.
    pub async fn remove(&mut self) -> anyhow::Result<()> {
        let Some(record) = self.record.take() else {
            return Ok(());
        };
        let lock = lock().await?;
        let bridge = Self::bridge_of(record.index);
        if Path::new("/sys/class/net").join(&bridge).exists() {
            tool("ip").args(["link", "delete", &bridge]).run().await?;
        }
        let table = Self::table_of(record.index);
        let rules = format!("table bridge {table} {{}}\ndelete table bridge {table}\n");
        tool("nft").line("-f -").input(rules).run().await?;
        fs::remove_file(&self.path)?;
        drop(lock);
        Ok(())
    }
}

/// Plugs a machine's cable in or out, with its power.
///
/// # Errors
/// If `ip` fails.
pub async fn power(link: &str, up: bool) -> anyhow::Result<()> {
    let state = if up { "up" } else { "down" };
    tool("ip").args(["link", "set", link, state]).run().await?;
    Ok(())
}

/// What waits for a machine waits in a bucket of this rate, in kbit/s.
async fn queue(link: &str, rate: Option<u32>) -> anyhow::Result<()> {
    let shown = tool("tc").args(["qdisc", "show", "dev", link]).run().await;
    let now = match shown {
        Ok(now) => now,
        // Its machine is being destroyed meanwhile.
        Err(_) if !Path::new("/sys/class/net").join(link).exists() => return Ok(()),
        Err(e) => return Err(e),
    };
    match rate {
        Some(rate) => {
            let bucket = format!(
                "qdisc replace dev {link} root tbf rate {rate}kbit burst 16kb latency 400ms"
            );
            tool("tc").line(&bucket).run().await?;
        }
        None if now.contains("qdisc tbf") => {
            tool("tc")
                .args(["qdisc", "delete", "dev", link, "root"])
                .run()
                .await?;
        }
        None => {}
    }
    Ok(())
}

/// Machines speak IPv4 alone: no link-local way past what is cut.
fn no_ipv6(link: &str) {
    // A kernel without IPv6 has no such file.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "1");
}

async fn lock() -> anyhow::Result<Flock<File>> {
    let file = File::create(LOCK).with_context(|| LOCK.to_owned())?;
    tokio::task::spawn_blocking(|| {
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| anyhow!(errno))
    })
    .await?
}
