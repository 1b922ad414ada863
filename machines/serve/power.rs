//! On, off, frozen; and what is done in a machine that is on.

use std::sync::Arc;
use std::time::Duration;

use super::world::{Kept, World, now, power_of};
use crate::machine::{Reboot, Stopping};
use crate::protocol::{Answer, Exec, Power, Problem};

/// What an orderly shutdown may take before the power is cut.
const SHUTDOWN: Duration = Duration::from_secs(90);
/// How often a machine that shuts down is looked at.
const LOOK: Duration = Duration::from_millis(100);

fn must_be(kept: &Kept, fit: &[Power]) -> Result<(), Problem> {
    let power = power_of(kept);
    if fit.contains(&power) {
        return Ok(());
    }
    let name = &kept.record.name;
    Err(Problem::conflict(format!("machine {name} is {power}")))
}

impl World {
    pub(super) async fn start(&self, name: &str) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut kept = kept.lock().await;
        match power_of(&kept) {
            Power::On => return Ok(()),
            power @ (Power::Frozen | Power::Stopping) => {
                return Err(Problem::conflict(format!("machine {name} is {power}")));
            }
            Power::Off => {}
        }
        self.boot(&mut kept).await
    }

    async fn boot(&self, kept: &mut Kept) -> Result<(), Problem> {
        kept.record.stopping = None;
        kept.machine.write_record(&kept.record)?;
        self.restore(kept).await?;
        let devices = self.plug_in(kept).await?;
        self.mounted_anew(&kept.record.name).await?;
        kept.machine.write_boot(&kept.record, &devices)?;
        kept.machine.start().await?;
        Ok(())
    }

    /// Returns at once; the machine is off when it is.
    pub(super) async fn stop(self: &Arc<Self>, name: &str, takes: u64) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut kept = kept.lock().await;
        match power_of(&kept) {
            Power::Off | Power::Stopping => return Ok(()),
            Power::On | Power::Frozen => {}
        }
        let takes = Duration::from_secs(takes);
        let after =
            |time: Duration| now() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        kept.record.stopping = Some(Stopping {
            until: after(takes),
            cut: after(takes.max(SHUTDOWN)),
        });
        kept.record.reboot_is_over();
        kept.machine.write_record(&kept.record)?;
        // One that is frozen does not hear it, until its power is cut.
        self.see_it_off(&kept.record.name);
        Ok(kept.machine.shut_down().await?)
    }

    /// Waits for a machine that shuts down, and cuts its power when its time is up.
    pub(super) fn see_it_off(self: &Arc<Self>, name: &str) {
        let (world, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            while let Ok(kept) = world.find(&name).await {
                let mut kept = kept.lock().await;
                let Some(stopping) = kept.record.stopping else {
                    return;
                };
                let on = kept.machine.is_on();
                if on && now() >= stopping.cut {
                    tracing::warn!(machine = name, "it did not shut down: its power is cut");
                    if let Err(error) = kept.machine.cut_power().await {
                        tracing::error!(machine = name, error = format!("{error:#}"), "not off");
                    }
                } else if !on && now() >= stopping.until {
                    kept.record.stopping = None;
                    if let Err(error) = kept.machine.write_record(&kept.record) {
                        tracing::error!(machine = name, error = format!("{error:#}"), "not noted");
                    }
                    return;
                }
                drop(kept);
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Restarts it; with the token of the last reboot, only if that one has not come about.
    pub(super) async fn reboot(&self, name: &str, token: Option<String>) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut kept = kept.lock().await;
        let boot = kept.machine.boot();
        let asked_before = kept.record.reboot.as_ref();
        let asked_before = asked_before.filter(|last| Some(&last.token) == token.as_ref());
        match asked_before.map(|last| last.from.clone()) {
            // The power was cut for it, and the daemon ended before it was back.
            Some(Some(_)) if !kept.machine.is_on() => return self.boot(&mut kept).await,
            Some(from) if from.is_none() || from != boot => return Ok(()),
            Some(_) => {}
            None => must_be(&kept, &[Power::On, Power::Frozen])?,
        }
        let is_frozen = kept.machine.is_frozen();
        if !is_frozen {
            kept.machine.until_it_listens().await?;
        }
        if let Some(token) = token {
            let from = kept.machine.boot();
            kept.record.reboot = Some(Reboot { token, from });
            kept.machine.write_record(&kept.record)?;
        }
        if is_frozen {
            kept.machine.cut_power().await?;
            return self.boot(&mut kept).await;
        }
        Ok(kept.machine.reboot().await?)
    }

    pub(super) async fn kill(&self, name: &str) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut kept = kept.lock().await;
        kept.machine.cut_power().await?;
        kept.record.stopping = None;
        kept.record.reboot_is_over();
        Ok(kept.machine.write_record(&kept.record)?)
    }

    pub(super) async fn freeze(&self, name: &str, frozen: bool) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let kept = kept.lock().await;
        if power_of(&kept) == Power::Off {
            return Err(Problem::conflict(format!("machine {name} is off")));
        }
        Ok(kept.machine.freeze(frozen).await?)
    }

    pub(super) async fn exec(&self, exec: Exec) -> Result<Answer, Problem> {
        if exec.command.is_empty() {
            return Err(Problem::invalid("there is no command"));
        }
        let kept = self.find(&exec.machine).await?;
        // Not held while the command runs: a machine may be killed meanwhile.
        let machine = {
            let kept = kept.lock().await;
            must_be(&kept, &[Power::On, Power::Stopping])?;
            kept.machine.clone()
        };
        let limit = Duration::from_secs(exec.limit.clamp(1, 3600));
        Ok(Answer::Output(
            machine.exec(&exec.command, exec.input, limit).await?,
        ))
    }

    pub(super) async fn set_clock(&self, name: &str, offset: i64) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut kept = kept.lock().await;
        kept.machine.restore(&kept.record).await?;
        kept.machine.set_clock(offset).await?;
        kept.record.clock = offset;
        Ok(kept.machine.write_record(&kept.record)?)
    }
}
