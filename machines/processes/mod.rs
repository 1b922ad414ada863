//! Machines that are processes of one user: for hosts that cannot have a Debian in each.
//! Asked in the same way, they do what processes can.

mod address;
mod disks;
mod filter;
mod machine;
mod make;
mod owner;
mod power;
mod proc;
mod user_data;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use nix::fcntl::Flock;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use self::disks::Store;
use self::filter::Filter;
use self::machine::{Machine, Record};
use self::owner::Owner;
use crate::network::{End, Fault, What};
use crate::protocol::{self, About, Answer, Kind, Power, Problem, Request};
use crate::run::path;
use crate::serve::lock_folder;
use crate::{record, volume};

/// Where sshd listens, unless user data say otherwise: nobody but root may listen at 22.
const SSH_PORT: u16 = 2222;

/// What machines need here, and the package that has it.
const PROGRAMS: [(&str, &str); 6] = [
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("pg_createcluster", "postgresql-common"),
    ("pg_ctlcluster", "postgresql-common"),
    ("setsid", "util-linux"),
    ("findmnt", "util-linux"),
];

/// A machine of the daemon's. Whoever changes it holds its record.
pub(crate) struct Kept {
    pub(super) record: Mutex<Record>,
    pub(super) machine: Machine,
}

/// All machines and volumes of a daemon. Locks are taken in this order: a machine's, the
/// volumes'. The list of machines is held for a look-up only.
pub struct Processes {
    folder: PathBuf,
    owner: Owner,
    machines: Mutex<BTreeMap<String, Arc<Kept>>>,
    volumes: Mutex<BTreeMap<String, volume::Record>>,
    store: Store,
    filter: Filter,
    /// If machines can have no volumes: why
    may_mount: Result<(), String>,
    /// One at a time is given its place
    making: Mutex<()>,
    _lock: Flock<File>,
}

/// What is missing for such machines, in words for people.
pub fn missing() -> Vec<String> {
    let is_there = |name: &str| {
        path()
            .split(':')
            .any(|folder| Path::new(folder).join(name).exists())
    };
    let missing = PROGRAMS.iter().filter(|(name, _)| !is_there(name));
    missing
        .map(|(name, package)| format!("{name} is not installed: apt-get install {package}"))
        .collect()
}

/// Where the machines of a daemon's folder are.
pub fn machines_in(folder: &Path) -> PathBuf {
    folder.join("processes")
}

impl Processes {
    /// Reads what there is. One daemon at a time has a folder.
    ///
    /// # Errors
    /// If another has it, its owner cannot reach it, or a record cannot be read.
    pub async fn open(folder: &Path) -> anyhow::Result<Arc<Self>> {
        let owner = Owner::find()?;
        let (places, disks) = (machines_in(folder), folder.join("disks"));
        fs::create_dir_all(&places)?;
        fs::create_dir_all(&disks)?;
        // `/proc` shows the real paths of what runs there.
        let folder = fs::canonicalize(folder)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+".contains(c);
        if !folder.to_str().is_some_and(|text| text.chars().all(plain)) {
            bail!(
                "{} has letters that sshd would misread; choose another --dir",
                folder.display()
            );
        }
        let (places, disks) = (machines_in(&folder), folder.join("disks"));
        if !owner.reaches(&places).await {
            bail!(
                "user `{}` that machines run as cannot reach {}; choose another --dir, such as \
                 /var/lib/drover/machines",
                owner.name,
                folder.display()
            );
        }
        let lock = lock_folder(&folder)?;
        let store = Store {
            folder: disks,
            owner: owner.clone(),
        };
        let volumes = store.load()?.into_iter();
        let mut machines = BTreeMap::new();
        for entry in fs::read_dir(&places)?.flatten() {
            let path = entry.path();
            match record::read::<Record>(&path.join("record.json"))? {
                Some(record) if path.extension().is_none() => {
                    let name = record.name.clone();
                    let machine = Machine {
                        folder: path,
                        owner: owner.clone(),
                    };
                    let record = Mutex::new(record);
                    machines.insert(name, Arc::new(Kept { record, machine }));
                }
                // It was being made or destroyed when the daemon ended.
                _ => machine::remove(&owner, &path).await?,
            }
        }
        let may_mount = disks::may_mount(&folder).await;
        Ok(Arc::new(Self {
            filter: Filter::of(&folder),
            machines: Mutex::new(machines),
            volumes: Mutex::new(volumes.map(|own| (own.id.clone(), own)).collect()),
            may_mount: may_mount.map_err(|why| format!("{why:#}")),
            making: Mutex::new(()),
            _lock: lock,
            store,
            owner,
            folder,
        }))
    }

    /// Takes up the machines that an earlier daemon left: those that are on stay so, and
    /// what was begun is ended.
    pub async fn take_up(self: &Arc<Self>) {
        for kept in self.all().await {
            let record = kept.record.lock().await;
            if record.stopping.is_some() || record.rebooting.is_some() {
                self.see_it_through(&record.name);
            }
        }
        let cut = self.cut_off().await;
        if !cut.is_empty()
            && let Err(error) = self.filter.apply(&cut, &[]).await
        {
            tracing::error!(%error, "the network is not as it was");
        }
    }

    async fn all(&self) -> Vec<Arc<Kept>> {
        self.machines.lock().await.values().cloned().collect()
    }

    /// A machine by name or instance id.
    async fn find(&self, name: &str) -> Result<Arc<Kept>, Problem> {
        if let Some(kept) = self.machines.lock().await.get(name) {
            return Ok(Arc::clone(kept));
        }
        for kept in self.all().await {
            if kept.record.lock().await.instance_id == name {
                return Ok(kept);
            }
        }
        Err(Problem::not_found(format!("there is no machine {name}")))
    }

    fn about(&self) -> About {
        About {
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Processes,
            network: Some(address::RANGE.into()),
            login: Some(self.owner.name.clone()),
            ssh_port: SSH_PORT,
            volumes: self.may_mount.is_ok(),
        }
    }

    async fn list(&self, group: Option<&str>) -> Answer {
        let mut all = Vec::new();
        for kept in self.all().await {
            let record = kept.record.lock().await.clone();
            if group.is_none_or(|group| group == record.group) {
                all.push(self.view(&kept, record).await);
            }
        }
        Answer::Machines(all)
    }

    /// A machine as clients see it.
    async fn view(&self, kept: &Kept, record: Record) -> protocol::Machine {
        let power = kept.power(&record);
        let listener = kept.machine.marks().listener();
        let boot = match (power, record.rebooting) {
            (Power::Off, _) => None,
            (_, Some(rebooting)) if rebooting.is_down => None,
            _ => listener.as_ref().and_then(|_| kept.machine.boot_id()),
        };
        let volumes = self.volumes.lock().await;
        let own = volumes
            .values()
            .filter(|volume| volume.machine.as_ref() == Some(&record.name));
        let cut = Fault::cut(End::Machine(record.name.clone()), End::All);
        protocol::Machine {
            volumes: own.map(|volume| volume.id.clone()).collect(),
            faults: record.is_cut_off.then_some(cut).into_iter().collect(),
            name: record.name,
            instance_id: record.instance_id,
            group: record.group,
            image: record.image,
            zone: record.zone,
            address: record.address,
            second_address: None,
            power,
            boot,
            pid: listener.map(|process| process.pid),
            clock: 0,
        }
    }

    async fn show(&self, name: &str) -> Result<Answer, Problem> {
        let kept = self.find(name).await?;
        let record = kept.record.lock().await.clone();
        let seen = self.view(&kept, record).await;
        Ok(Answer::Machine(Box::new(seen)))
    }

    async fn cut_off(&self) -> Vec<std::net::Ipv4Addr> {
        let mut cut = Vec::new();
        for kept in self.all().await {
            let record = kept.record.lock().await;
            cut.extend(record.is_cut_off.then_some(record.address));
        }
        cut
    }

    async fn break_network(&self, fault: Fault) -> Result<(), Problem> {
        fault.check().map_err(Problem::invalid)?;
        let ((End::Machine(name), End::All) | (End::All, End::Machine(name))) =
            (&fault.from, &fault.to)
        else {
            return Err(only_between_machines());
        };
        if fault.what != What::Cut || fault.one_way {
            return Err(only_between_machines());
        }
        self.set_cut_off(name, true).await
    }

    async fn heal_network(&self, from: &End, to: &End) -> Result<(), Problem> {
        for kept in self.all().await {
            let name = {
                let record = kept.record.lock().await;
                let fault = Fault::cut(End::Machine(record.name.clone()), End::All);
                (record.is_cut_off && fault.is_between(from, to)).then(|| record.name.clone())
            };
            if let Some(name) = name {
                self.set_cut_off(&name, false).await?;
            }
        }
        Ok(())
    }

    async fn set_cut_off(&self, name: &str, cut: bool) -> Result<(), Problem> {
        let _one = self.making.lock().await;
        let kept = self.find(name).await?;
        let note = async |cut: bool| {
            let mut record = kept.record.lock().await;
            record.is_cut_off = cut;
            kept.machine.write_record(&record)?;
            Ok::<_, anyhow::Error>(record.address)
        };
        // Kept first: whoever finds it cut off must be able to join it again.
        let address = if cut {
            note(true).await?
        } else {
            kept.record.lock().await.address
        };
        let mut all = self.cut_off().await;
        if !cut {
            all.retain(|own| *own != address);
        }
        let healed = if cut { vec![] } else { vec![address] };
        let applied = self.filter.apply(&all, &healed).await;
        if cut != applied.is_ok() {
            note(false).await?;
        }
        applied
    }

    /// Carries out a request.
    ///
    /// # Errors
    /// If it is refused, or fails.
    pub async fn answer(self: &Arc<Self>, request: Request) -> Result<Answer, Problem> {
        let done = |(): ()| Answer::Done;
        match request {
            Request::About => Ok(Answer::About(self.about())),
            Request::Make(make) => self.make(make).await,
            Request::List { group } => Ok(self.list(group.as_deref()).await),
            Request::Show { machine } => self.show(&machine).await,
            Request::Console { machine } => {
                let kept = self.find(&machine).await?;
                Ok(Answer::Text(crate::machine::console_of(
                    &kept.machine.folder,
                )))
            }
            Request::Exec(exec) => self.exec(exec).await,
            Request::Start { machine } => self.start(&machine).await.map(done),
            Request::Stop { machine, takes } => self.stop(&machine, takes).await.map(done),
            Request::Reboot { machine, token } => self.reboot(&machine, token).await.map(done),
            Request::Kill { machine } => self.kill(&machine).await.map(done),
            Request::Freeze { machine } => self.freeze(&machine, true).await.map(done),
            Request::Thaw { machine } => self.freeze(&machine, false).await.map(done),
            Request::Destroy { machine } => self.destroy(&machine).await.map(done),
            Request::DestroyGroup { group } => self.destroy_group(Some(&group)).await.map(done),
            Request::DestroyAll => self.destroy_group(None).await.map(done),
            Request::Break(fault) => self.break_network(fault).await.map(done),
            Request::Heal { from, to } => self.heal_network(&from, &to).await.map(done),
            Request::SetAddress { .. } => Err(Problem::conflict(
                "what are processes keep the address that they were made with",
            )),
            Request::Clock { .. } => Err(Problem::conflict(
                "machines that are processes have the clock of the host",
            )),
            Request::MakeVolume(new) => self.make_volume(new).await,
            Request::ListVolumes { group } => Ok(self.list_volumes(group.as_deref()).await),
            Request::Attach { volume, machine } => self.attach(&volume, &machine).await,
            Request::Detach { volume, force } => self.detach(&volume, force).await,
            Request::Grow { volume, size } => self.grow(&volume, size).await,
            Request::SetVolume { volume, health } => self.set_volume(&volume, health).await,
            Request::DestroyVolume { volume } => self.destroy_volume(&volume).await.map(done),
            Request::Images => Ok(Answer::Images(vec![])),
            Request::MakeImage { .. } => Err(Problem::conflict(
                "machines that are processes have no images: they are of the host",
            )),
        }
    }
}

fn only_between_machines() -> Problem {
    Problem::conflict(
        "only machines that are each a Debian have such a network between them: one that is \
         processes can be cut off from `all`, and no more",
    )
}

/// The same for a path in every process.
fn fingerprint(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt as _;
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |all, byte| (all << 8) | u64::from(*byte))
}
