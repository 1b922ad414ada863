//! A machine is made: its record first, so that whatever ends this half-way leaves
//! something that can be destroyed.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rand::RngExt as _;
use tokio::sync::Mutex;

use super::world::{Kept, Shared, World, folder_of, is_name};
use crate::machine::{Machine, Record};
use crate::protocol::{Answer, Make, Problem};
use crate::run::tool;

/// Where EC2 would have it, unless it is said.
pub const ZONE: &str = "local-1a";

impl World {
    pub(super) async fn make(self: &Arc<Self>, make: Make) -> Result<Answer, Problem> {
        let image_root = self.settings.cache.ensure(make.image).await?;
        let kept = self.place(&make, image_root).await?;
        let made = self.furnish(&kept, &make).await;
        if let Err(problem) = made {
            let name = kept.lock().await.record.name.clone();
            // What was asked for is not there, and nothing of it stays.
            if let Err(error) = self.destroy(&name).await {
                tracing::error!(machine = name, %error, "not destroyed after it could not be made");
            }
            return Err(problem);
        }
        let view = self.view(&*kept.lock().await).await;
        Ok(Answer::Machine(Box::new(view)))
    }

    /// Gives it a name, a number and a record.
    async fn place(
        self: &Arc<Self>,
        make: &Make,
        image_root: std::path::PathBuf,
    ) -> Result<Shared, Problem> {
        let _one = self.making.lock().await;
        let instance_id = make.instance_id.clone().unwrap_or_else(|| new_id("i"));
        let name = make.name.clone().unwrap_or_else(|| instance_id.clone());
        for name in [&name, &instance_id] {
            if !is_name(name) {
                return Err(Problem::invalid(format!(
                    "{name:?} cannot be a name: small letters, digits and hyphens can, up to 63"
                )));
            }
        }
        let others = self.all().await;
        let mut numbers = BTreeSet::new();
        for other in &others {
            let other = other.lock().await;
            numbers.insert(other.record.number);
            if other.record.name == name || other.record.instance_id == instance_id {
                return Err(Problem::conflict(format!(
                    "there is a machine {name} already"
                )));
            }
        }
        let mut network = self.network.lock().await;
        network.ensure(!others.is_empty()).await?;
        let range = network.range().expect("it was ensured");
        let asked = make.address.filter(|address| !range.contains(*address));
        let number = match make.address {
            Some(address) if range.contains(address) => range
                .numbers()
                .find(|number| range.address(*number) == address && !numbers.contains(number))
                .ok_or_else(|| Problem::conflict(format!("{address} is taken")))?,
            _ => free(range.numbers(), &numbers)
                .ok_or_else(|| Problem::conflict("the network has no address left"))?,
        };
        if let Some(address) = asked {
            refuse_hosts_own(address, network.bridge().as_deref()).await?;
        }
        let port = network.port(number, asked)?;
        drop(network);
        let record = Record {
            name: name.clone(),
            instance_id,
            group: make.group.clone(),
            image: make.image,
            image_root,
            number,
            second_address: asked,
            zone: make.zone.clone().unwrap_or_else(|| ZONE.into()),
            user_data: make.user_data.clone(),
            public_keys: make.public_keys.clone(),
            clock: 0,
            stopping: None,
            reboot: None,
        };
        let machine = Machine::at(folder_of(&self.settings, &name), port)?;
        fs::create_dir_all(&machine.folder)?;
        self.settings
            .cache
            .note_user(&record.image_root, &machine.folder)?;
        machine.write_record(&record)?;
        let kept = Arc::new(Mutex::new(Kept {
            record,
            machine,
            metadata: None,
        }));
        self.machines.lock().await.insert(name, Arc::clone(&kept));
        Ok(kept)
    }

    /// Root, volumes, network, power.
    async fn furnish(self: &Arc<Self>, kept: &Shared, make: &Make) -> Result<(), Problem> {
        let (name, group) = {
            let mut kept = kept.lock().await;
            kept.machine.make(&kept.record).await?;
            self.restore(&mut kept).await?;
            (kept.record.name.clone(), kept.record.group.clone())
        };
        for new in &make.volumes {
            let mut new = new.clone();
            new.group.clone_from(&group);
            self.add_volume(new, Some(&name)).await?;
        }
        if !make.off {
            self.start(&name).await?;
        }
        Ok(())
    }
}

/// The number after the highest that is taken, so that an address that was in use a moment
/// ago is not at once another's; else any.
fn free(numbers: std::ops::Range<u16>, taken: &BTreeSet<u16>) -> Option<u16> {
    let next = taken.last().map_or(numbers.start, |last| last + 1);
    (next..numbers.end)
        .chain(numbers.start..next)
        .find(|number| !taken.contains(number))
}

/// An id as EC2 gives them.
pub fn new_id(kind: &str) -> String {
    let random: u128 = rand::rng().random();
    format!("{kind}-{:017x}", random & ((1 << 68) - 1))
}

/// Whoever takes an address of the host, or one that it reaches on a network of its own,
/// cuts the host off from somebody.
pub(super) async fn refuse_hosts_own(
    address: Ipv4Addr,
    bridge: Option<&str>,
) -> Result<(), Problem> {
    let to = address.to_string();
    let said = tool("ip")
        .line("-4 route show match")
        .args([&to])
        .run()
        .await?;
    let local = tool("ip")
        .line("-4 route show table local match")
        .args([&to])
        .run()
        .await?;
    let ours = |line: &&str| bridge.is_some_and(|bridge| line.contains(&format!("dev {bridge} ")));
    let theirs = said
        .lines()
        .chain(local.lines())
        .filter(|line| !line.starts_with("default"))
        .find(|line| !ours(line));
    match theirs {
        Some(route) => Err(Problem::conflict(format!(
            "this host uses {address} itself: {route}"
        ))),
        None if address.is_loopback() || address.is_multicast() => Err(Problem::invalid(format!(
            "{address} is no machine's address"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_used_again_as_late_as_can_be() {
        let taken = |numbers: &[u16]| numbers.iter().copied().collect();
        assert_eq!(free(2..5, &taken(&[])), Some(2));
        assert_eq!(free(2..5, &taken(&[3])), Some(4));
        assert_eq!(free(2..5, &taken(&[3, 4])), Some(2));
        assert_eq!(free(2..5, &taken(&[2, 3, 4])), None);
    }

    #[test]
    fn ids_look_like_amazons() {
        let id = new_id("i");
        assert!(id.starts_with("i-") && id.len() == 19, "{id}");
    }
}
