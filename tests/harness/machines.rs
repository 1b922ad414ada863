//! The machines behind moto's instances, which are rows of a table there: behind each of
//! them is one of `drover-machines`, a Debian of its own with the user data, the volumes and
//! the addresses that EC2's API speaks of.
//!
//! moto changes an instance's state at once. A machine takes its time, so what the API says
//! of a state is put right on its way: nobody is told that a machine is stopped while it
//! runs.

mod attendant;
mod cloud;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use drover_machines::protocol::Make;
use tokio::task::JoinHandle;

use crate::aws::Behind;
use crate::{Daemon, Moto};

/// A daemon, whose machines stand behind moto's instances once it attends to them.
pub struct Machines {
    /// Makes them, and breaks them.
    pub daemon: Daemon,
    /// Where they have their addresses, as in `198.18.8.0/22`.
    pub network: String,
    said: Arc<Said>,
    attending: Option<JoinHandle<()>>,
}

/// Keeps the network: a daemon has one for as long as it has a machine.
const KEEPER: &str = "keeper";

impl Machines {
    /// The daemon alone, and its network.
    ///
    /// # Errors
    /// If no machines can be had here.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("drover-ec2-").tempdir()?;
        // From here on it is the daemon's.
        let daemon = Daemon::start(&folder.keep()).await?;
        let keeper = Make {
            name: Some(KEEPER.into()),
            image: drover_machines::image::Image::BookwormBare,
            off: true,
            ..Make::default()
        };
        daemon.client.make(keeper).await?;
        let network = daemon.client.about().await?.network;
        Ok(Self {
            daemon,
            network: network.context("a daemon with a machine has a network")?,
            said: Arc::default(),
            attending: None,
        })
    }

    /// Attends to moto's instances from now on.
    pub fn attend(&mut self, moto: Arc<Moto>) {
        moto.stands_before(self.said.clone());
        let attend = attendant::attend(moto, self.daemon.client.clone(), self.said.clone());
        self.attending = Some(tokio::spawn(attend));
    }

    /// Machines and volumes that there are.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub async fn count(&self) -> Result<usize> {
        let machines = self.daemon.client.list(None).await?.len();
        Ok(machines - 1 + self.daemon.client.volumes(None).await?.len())
    }

    /// Whatever is stopped from now on is stopped only after so long.
    pub fn stops_take(&self, time: Duration) {
        self.said.lock().stops_take = time;
    }

    /// From now on EC2 says that this check fails; `None`: that all are well.
    pub fn impair(&self, instance: &str, check: Option<Check>) {
        self.said.lock().of(instance).impaired = check;
    }

    /// The machine has no power any more, and EC2 has not seen it.
    ///
    /// # Errors
    /// If the daemon refuses.
    pub async fn cut_power(&self, instance: &str) -> Result<()> {
        Ok(self.daemon.client.kill(instance).await?)
    }

    /// EC2 takes an instance away without being asked, as it does with spot instances.
    ///
    /// # Errors
    /// If the daemon or moto refuses.
    pub async fn reclaim(&self, moto: &Moto, instance: &str) -> Result<()> {
        self.cut_power(instance).await?;
        let which = [("InstanceId.1", instance)];
        moto.ask_moto("TerminateInstances", &which).await?;
        Ok(())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if let Some(attending) = &self.attending {
            attending.abort();
        }
    }
}

/// What EC2 checks of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// What runs in it.
    Instance,
    /// What it runs on.
    System,
}

impl Check {
    const fn element(self) -> &'static str {
        match self {
            Self::Instance => "instanceStatus",
            Self::System => "systemStatus",
        }
    }
}

/// What EC2 was asked and says, beside moto.
#[derive(Default)]
struct Said(Mutex<Words>);

#[derive(Default)]
struct Words {
    instances: HashMap<String, Word>,
    stops_take: Duration,
}

/// Of one instance.
#[derive(Default)]
struct Word {
    /// Whether EC2 gives its machine power.
    on: bool,
    /// Whether the last stop was asked for by force.
    forced: bool,
    /// How often a reboot was asked for.
    reboots: u32,
    impaired: Option<Check>,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Words> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Words {
    fn of(&mut self, instance: &str) -> &mut Word {
        self.instances.entry(instance.to_owned()).or_default()
    }
}

impl Behind for Said {
    fn asked(&self, action: &str, parameters: &HashMap<String, String>) {
        let mut words = self.lock();
        let named = parameters
            .iter()
            .filter(|(name, _)| name.starts_with("InstanceId"));
        for (_, instance) in named {
            let word = words.of(instance);
            match action {
                "RebootInstances" => word.reboots += 1,
                "StopInstances" => {
                    word.forced = parameters.get("Force").is_some_and(|force| force == "true");
                }
                _ => {}
            }
        }
    }

    fn answered(&self, action: &str, document: String) -> String {
        if !["DescribeInstances", "DescribeInstanceStatus"].contains(&action) {
            return document;
        }
        let mut words = self.lock();
        let document = cloud::with_harmless_addresses(&document);
        let mut parts = document.split("<instanceId>");
        let mut told = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let instance = part.split("</instanceId>").next().unwrap_or_default();
            told += "<instanceId>";
            told += &words.of(instance).put_right(part);
        }
        told
    }
}

impl Word {
    /// What moto says of this instance, as its machine is.
    fn put_right(&self, part: &str) -> String {
        let state = |code: u8, name: &str| {
            format!("<instanceState><code>{code}</code><name>{name}</name></instanceState>")
        };
        let told = match self.on {
            true => part
                .replacen(&state(80, "stopped"), &state(64, "stopping"), 1)
                .replacen(&state(48, "terminated"), &state(32, "shutting-down"), 1),
            false => part.replacen(&state(16, "running"), &state(0, "pending"), 1),
        };
        let Some(check) = self.impaired else {
            return told;
        };
        let (open, close) = (
            format!("<{}>", check.element()),
            format!("</{}>", check.element()),
        );
        match told.split_once(&open).and_then(|(before, rest)| {
            let (inside, after) = rest.split_once(&close)?;
            let inside = inside
                .replace("passed", "failed")
                .replace(">ok<", ">impaired<");
            Some(format!("{before}{open}{inside}{close}{after}"))
        }) {
            Some(impaired) => impaired,
            None => told,
        }
    }
}
