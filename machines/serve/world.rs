//! All machines and volumes of a daemon, in memory as on disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::Mutex;

use crate::image::Cache;
use crate::machine::{self, Machine};
use crate::metadata::{self, Facts, Serving};
use crate::network::{End, Fault, Network, Range};
use crate::protocol::{self, About, Answer, Kind, Power, Problem};
use crate::record::private_folder;
use crate::{record, volume};

/// What a daemon is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    pub folder: PathBuf,
    pub cache: Cache,
    /// Where its network is taken from
    pub range: Range,
}

/// A machine of the daemon's. Whoever changes it holds its lock.
pub struct Kept {
    pub record: machine::Record,
    pub machine: Machine,
    pub(super) metadata: Option<Serving>,
}

pub(super) type Shared = Arc<Mutex<Kept>>;

/// Locks are taken in this order: a machine's, the volumes', the network's. The list of
/// machines is held for a look-up only.
pub struct World {
    pub settings: Settings,
    pub(super) machines: Mutex<BTreeMap<String, Shared>>,
    pub(super) volumes: Mutex<BTreeMap<String, volume::Record>>,
    pub(super) store: volume::Store,
    pub(super) network: Mutex<Network>,
    /// One at a time is given its place
    pub(super) making: Mutex<()>,
    _lock: Flock<File>,
}

impl World {
    /// Reads what there is. One daemon at a time has a folder.
    ///
    /// # Errors
    /// If another has it, or a record cannot be read.
    pub async fn open(settings: Settings) -> anyhow::Result<Arc<Self>> {
        let folder = &settings.folder;
        // Machines have users of their own, whose numbers are those of this host's users.
        for part in ["machines", "volumes"] {
            private_folder(&folder.join(part))?;
        }
        let lock = lock_folder(folder)?;
        let mut network = Network::load(folder, settings.range)?;
        let store = volume::Store::at(folder.join("volumes"));
        let volumes = store
            .load()?
            .into_iter()
            .map(|volume| (volume.id.clone(), volume));
        let mut machines = BTreeMap::new();
        for entry in fs::read_dir(folder.join("machines"))?.flatten() {
            let path = entry.path();
            match record::read::<machine::Record>(&path.join("record.json"))? {
                Some(record) if path.extension().is_none() => {
                    if network.range().is_none() {
                        network.ensure(true).await?;
                    }
                    let port = network.port(record.number, record.second_address)?;
                    let machine = Machine::at(path, port)?;
                    let name = record.name.clone();
                    let kept = Kept {
                        record,
                        machine,
                        metadata: None,
                    };
                    machines.insert(name, Arc::new(Mutex::new(kept)));
                }
                // It was being made or destroyed when the daemon ended.
                _ => fs::remove_dir_all(&path)?,
            }
        }
        let world = Self {
            volumes: Mutex::new(volumes.collect()),
            machines: Mutex::new(machines),
            network: Mutex::new(network),
            making: Mutex::new(()),
            store,
            _lock: lock,
            settings,
        };
        Ok(Arc::new(world))
    }

    /// Takes up the machines that an earlier daemon left: those that are on stay so, and
    /// what the host lost when it was restarted itself is laid anew.
    pub async fn take_up(self: &Arc<Self>) {
        for kept in self.all().await {
            let mut kept = kept.lock().await;
            if let Err(error) = self.restore(&mut kept).await {
                tracing::error!(
                    machine = kept.record.name,
                    error = format!("{error:#}"),
                    "not taken up"
                );
            }
            if kept.record.stopping.is_some() {
                self.see_it_off(&kept.record.name);
            }
        }
        if let Err(error) = self.apply_faults().await {
            tracing::error!(error = format!("{error:#}"), "the network is not as it was");
        }
    }

    /// Network, root and metadata of a machine are there.
    pub(super) async fn restore(&self, kept: &mut Kept) -> anyhow::Result<()> {
        {
            let mut network = self.network.lock().await;
            network.ensure(true).await?;
            network.connect(&kept.machine.port).await?;
        }
        kept.machine.restore(&kept.record).await?;
        let facts = facts(kept);
        match &kept.metadata {
            Some(serving) => serving.tell(facts),
            None => {
                let namespace = kept.machine.port.namespace();
                kept.metadata = Some(metadata::serve(namespace, facts).await?);
            }
        }
        Ok(())
    }

    pub(super) async fn all(&self) -> Vec<Shared> {
        self.machines.lock().await.values().cloned().collect()
    }

    /// A machine by name or instance id.
    pub(super) async fn find(&self, name: &str) -> Result<Shared, Problem> {
        if let Some(kept) = self.machines.lock().await.get(name) {
            return Ok(Arc::clone(kept));
        }
        for kept in self.all().await {
            if kept.lock().await.record.instance_id == name {
                return Ok(kept);
            }
        }
        Err(Problem::not_found(format!("there is no machine {name}")))
    }

    pub(super) async fn about(&self) -> Answer {
        let network = self
            .network
            .lock()
            .await
            .range()
            .map(|range| range.to_string());
        Answer::About(About {
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Machines,
            network,
            login: None,
            ssh_port: 22,
            volumes: true,
        })
    }

    pub(super) async fn list(&self, group: Option<&str>) -> Result<Answer, Problem> {
        let mut all = Vec::new();
        for kept in self.all().await {
            let kept = kept.lock().await;
            if group.is_none_or(|group| group == kept.record.group) {
                all.push(self.view(&kept).await);
            }
        }
        Ok(Answer::Machines(all))
    }

    /// A machine as clients see it.
    pub(super) async fn view(&self, kept: &Kept) -> protocol::Machine {
        let record = &kept.record;
        let volumes = self.volumes.lock().await;
        let volumes = volumes
            .values()
            .filter(|volume| volume.machine.as_ref() == Some(&record.name))
            .map(|volume| volume.id.clone())
            .collect();
        let network = self.network.lock().await;
        let faults = network
            .faults()
            .iter()
            .filter(|fault| fault.touches(&record.name));
        protocol::Machine {
            name: record.name.clone(),
            instance_id: record.instance_id.clone(),
            group: record.group.clone(),
            image: record.image,
            zone: record.zone.clone(),
            address: kept.machine.port.address,
            second_address: record.second_address,
            power: power_of(kept),
            boot: kept.machine.boot(),
            pid: kept.machine.init(),
            volumes,
            clock: record.clock,
            faults: faults.cloned().collect(),
        }
    }

    /// From now on this is wrong with the network.
    pub(super) async fn break_network(&self, fault: Fault) -> Result<(), Problem> {
        fault.check().map_err(Problem::invalid)?;
        for end in [&fault.from, &fault.to] {
            if let End::Machine(name) = end
                && !self.machines.lock().await.contains_key(name)
            {
                return Err(Problem::not_found(format!("there is no machine {name}")));
            }
        }
        {
            let mut network = self.network.lock().await;
            let mut faults = network.faults().to_vec();
            faults.retain(|own| *own != fault);
            faults.push(fault);
            network.set_faults(faults)?;
        }
        Ok(self.apply_faults().await?)
    }

    pub(super) async fn heal(&self, from: &End, to: &End) -> Result<(), Problem> {
        {
            let mut network = self.network.lock().await;
            let mut faults = network.faults().to_vec();
            let before = faults.len();
            faults.retain(|fault| !fault.is_between(from, to));
            if faults.len() == before {
                return Ok(());
            }
            network.set_faults(faults)?;
        }
        Ok(self.apply_faults().await?)
    }

    pub(super) async fn apply_faults(&self) -> anyhow::Result<()> {
        let mut links = Vec::new();
        for kept in self.all().await {
            let kept = kept.lock().await;
            links.push((kept.record.name.clone(), kept.machine.port.link.clone()));
        }
        self.network.lock().await.apply(&links).await
    }
}

/// One daemon at a time has a folder.
///
/// # Errors
/// If another has it.
pub fn lock_folder(folder: &Path) -> anyhow::Result<Flock<File>> {
    let lock = File::create(folder.join("lock"))?;
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow!(
            "another daemon has {}; choose another --dir",
            folder.display()
        )
    })
}

/// What a machine's cloud-init is told.
fn facts(kept: &Kept) -> Facts {
    let record = &kept.record;
    Facts {
        instance_id: record.instance_id.clone(),
        host_name: record.name.clone(),
        address: record.second_address.unwrap_or(kept.machine.port.address),
        mac: kept.machine.port.mac(),
        zone: record.zone.clone(),
        public_keys: record.public_keys.clone(),
        user_data: record.user_data.clone(),
    }
}

/// Seen, not remembered: a machine may turn itself off.
pub(super) fn power_of(kept: &Kept) -> Power {
    let stopping = kept.record.stopping;
    match (kept.machine.is_on(), stopping) {
        (_, Some(stopping)) if now() < stopping.until => Power::Stopping,
        (true, Some(_)) => Power::Stopping,
        (true, None) if kept.machine.is_frozen() => Power::Frozen,
        (true, None) => Power::On,
        (false, _) => Power::Off,
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether this may name a machine, a volume or an instance: it becomes a file's name, a
/// host's, and part of a rule.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !["host", "all"].contains(&name)
}

/// The folder of a machine.
pub(super) fn folder_of(settings: &Settings, name: &str) -> PathBuf {
    Path::new(&settings.folder).join("machines").join(name)
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_fit_for_a_file_a_host_and_a_rule() {
        for good in ["a", "pg1", "i-0abc", "vol-01"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "", "host", "all", "-a", "a-", "A", "a.b", "../x", "a b", "a\"", "ä",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(!is_name(&"a".repeat(64)));
    }
}
