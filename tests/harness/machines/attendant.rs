//! Looks at moto several times a second, and makes the machines follow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use drover_machines::client::Client;
use drover_machines::image::Image;
use drover_machines::protocol::{Make, NewVolume, Power};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Said;
use super::cloud::{self, Instance};
use crate::Moto;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Between two looks at a machine that is being stopped.
const OFTEN: Duration = Duration::from_millis(50);
const GIB: u64 = 1 << 30;

/// Attends to all instances, until it is dropped.
pub(super) async fn attend(moto: Arc<Moto>, client: Client, said: Arc<Said>) {
    let mut attended: HashMap<String, watch::Sender<Instance>> = HashMap::new();
    // One for each, so that nobody waits for another's stop.
    let mut attendants = JoinSet::new();
    loop {
        let mut all = look(&moto, &client).await.unwrap_or_else(|e| {
            eprintln!("machines: {e:#}");
            Vec::new()
        });
        for instance in &mut all {
            instance.reboots = said.lock().of(&instance.id).reboots;
        }
        for instance in all {
            if let Some(known) = attended.get(&instance.id) {
                known.send_if_modified(|known| {
                    let differs = *known != instance;
                    *known = instance;
                    differs
                });
                continue;
            }
            let attendant = Attendant {
                moto: moto.clone(),
                client: client.clone(),
                said: said.clone(),
                id: instance.id.clone(),
                made: false,
                on: false,
                reboots: 0,
            };
            let (sender, wanted) = watch::channel(instance);
            attended.insert(attendant.id.clone(), sender);
            attendants.spawn(attendant.attend(wanted));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What there should be. Volumes are as large as they should be from here on; those that
/// are gone go.
async fn look(moto: &Moto, client: &Client) -> Result<Vec<Instance>> {
    let volumes = cloud::volumes(moto).await?;
    let there = client.volumes(None).await?;
    for volume in &volumes {
        let size = volume.gib * GIB;
        match there.iter().find(|known| known.id == volume.id) {
            Some(known) if known.size < size => drop(client.grow(&volume.id, size).await?),
            Some(_) => {}
            None => {
                let id = Some(volume.id.clone());
                let group = String::new();
                client.make_volume(NewVolume { id, group, size }).await?;
            }
        }
    }
    for known in there {
        if known.machine.is_none() && volumes.iter().all(|volume| volume.id != known.id) {
            client.destroy_volume(&known.id).await?;
        }
    }
    cloud::instances(moto, &volumes).await
}

/// Attends to one instance.
struct Attendant {
    moto: Arc<Moto>,
    client: Client,
    said: Arc<Said>,
    id: String,
    made: bool,
    /// Whether it was turned on, whatever has become of it since: nobody turns a machine on
    /// again that has lost its power.
    on: bool,
    reboots: u32,
}

impl Attendant {
    async fn attend(mut self, mut wanted: watch::Receiver<Instance>) {
        loop {
            let instance = wanted.borrow_and_update().clone();
            match self.follow(&instance).await {
                Ok(()) if instance.state == "terminated" => return,
                Ok(()) => {
                    if wanted.changed().await.is_err() {
                        return;
                    }
                }
                Err(e) => {
                    eprintln!("machines: {} is not {}: {e:#}", self.id, instance.state);
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    async fn follow(&mut self, wanted: &Instance) -> Result<()> {
        match wanted.state.as_str() {
            "pending" | "running" => {
                if !self.made {
                    self.make(wanted).await?;
                }
                self.plug(&wanted.volumes).await?;
                if !self.on {
                    self.client.set_address(&self.id, wanted.public).await?;
                    self.client.start(&self.id).await?;
                    self.reboots = wanted.reboots;
                    self.power(true);
                } else if self.reboots != wanted.reboots {
                    self.reboots = wanted.reboots;
                    // One without power hears nothing of it.
                    if self.client.show(&self.id).await?.power == Power::On {
                        self.client.reboot(&self.id, None).await?;
                    }
                }
            }
            "stopping" | "stopped" => {
                if self.on {
                    self.stop().await?;
                }
                if self.made {
                    self.plug(&wanted.volumes).await?;
                }
            }
            _ => {
                if self.made {
                    match self.client.destroy(&self.id).await {
                        Err(e) if !e.is_not_found() => return Err(e.into()),
                        // What had failed half-way is done.
                        Err(_) | Ok(()) => self.made = false,
                    }
                }
                self.power(false);
            }
        }
        Ok(())
    }

    /// From here on EC2 says so.
    fn power(&mut self, on: bool) {
        self.on = on;
        self.said.lock().of(&self.id).on = on;
    }

    async fn make(&mut self, wanted: &Instance) -> Result<()> {
        let user_data = cloud::user_data(&self.moto, &self.id).await?;
        let make = Make {
            name: Some(self.id.clone()),
            instance_id: Some(self.id.clone()),
            // As Debian's own image for EC2, it has no PostgreSQL.
            image: Image::BookwormBare,
            address: wanted.private,
            zone: Some(wanted.zone.clone()),
            user_data: Some(user_data),
            off: true,
            ..Make::default()
        };
        self.client.make(make).await?;
        self.made = true;
        Ok(())
    }

    /// It has these volumes, and no others.
    async fn plug(&self, wanted: &[String]) -> Result<()> {
        let has = self.client.show(&self.id).await?.volumes;
        for volume in has.iter().filter(|volume| !wanted.contains(volume)) {
            self.client.detach_by_force(volume).await?;
        }
        for volume in wanted.iter().filter(|volume| !has.contains(volume)) {
            self.client.attach(volume, &self.id).await?;
        }
        Ok(())
    }

    /// In an orderly way, or by force as soon as that was asked for; and in no less time
    /// than stops take.
    async fn stop(&mut self) -> Result<()> {
        let begun = Instant::now();
        let takes = self.said.lock().stops_take;
        self.client.stop(&self.id, takes).await?;
        let mut cut = false;
        loop {
            let forced = self.said.lock().of(&self.id).forced;
            if forced && !cut {
                self.client.kill(&self.id).await?;
                cut = true;
            }
            let off = self.client.show(&self.id).await?.power == Power::Off;
            if off && begun.elapsed() >= takes {
                self.power(false);
                return Ok(());
            }
            tokio::time::sleep(OFTEN).await;
        }
    }
}
