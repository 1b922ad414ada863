//! On, off, frozen; and what is done in a machine that is on.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::machine::{Rebooting, Record};
use super::{Kept, Processes};
use crate::machine::{Stopping, until};
use crate::protocol::{Answer, Exec, Power, Problem};
use crate::serve::now;

/// What its clusters may take to shut down before they are killed.
const SHUTDOWN: Duration = Duration::from_secs(20);
/// How often a machine that shuts down is looked at.
const LOOK: Duration = Duration::from_millis(50);

fn after(time: Duration) -> u64 {
    now() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

impl Kept {
    /// Seen, not remembered.
    pub(super) fn power(&self, record: &Record) -> Power {
        let family = self.machine.marks().family();
        let is_on = !family.is_empty();
        match (record.stopping, record.rebooting) {
            (Some(stopping), _) if is_on || now() < stopping.until => Power::Stopping,
            // It is on its way up again.
            (_, Some(_)) => Power::On,
            _ if !is_on => Power::Off,
            _ if family.iter().all(|process| process.is_stopped) => Power::Frozen,
            _ => Power::On,
        }
    }

    pub(super) fn must_be(&self, record: &Record, fit: &[Power]) -> Result<(), Problem> {
        let power = self.power(record);
        if fit.contains(&power) {
            return Ok(());
        }
        let name = &record.name;
        Err(Problem::conflict(format!("machine {name} is {power}")))
    }
}

impl Processes {
    pub(super) async fn start(&self, name: &str) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut record = kept.record.lock().await;
        if kept.power(&record) == Power::On {
            return Ok(());
        }
        kept.must_be(&record, &[Power::Off])?;
        record.stopping = None;
        kept.machine.write_record(&record)?;
        Ok(self.boot(&kept, &record).await?)
    }

    async fn boot(&self, kept: &Kept, record: &Record) -> anyhow::Result<()> {
        self.plug_in(&kept.machine, record).await?;
        kept.machine.boot(record).await
    }

    /// Returns at once; the machine is off when it is.
    pub(super) async fn stop(self: &Arc<Self>, name: &str, takes: u64) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut record = kept.record.lock().await;
        if matches!(kept.power(&record), Power::Off | Power::Stopping) {
            return Ok(());
        }
        let takes = Duration::from_secs(takes);
        record.rebooting = None;
        record.stopping = Some(Stopping {
            until: after(takes),
            cut: after(takes.max(SHUTDOWN)),
        });
        kept.machine.write_record(&record)?;
        kept.machine.say("-- shutdown --")?;
        self.see_it_through(&record.name);
        Ok(())
    }

    /// Returns at once, and so with the token of the last reboot: that is done, or under way.
    pub(super) async fn reboot(
        self: &Arc<Self>,
        name: &str,
        token: Option<String>,
    ) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut record = kept.record.lock().await;
        if token.is_some() && token == record.token {
            return Ok(());
        }
        kept.must_be(&record, &[Power::On, Power::Frozen])?;
        record.token = token.or(record.token.take());
        if record.rebooting.is_none() {
            record.rebooting = Some(Rebooting {
                cut: after(SHUTDOWN),
                is_down: false,
            });
        }
        kept.machine.write_record(&record)?;
        kept.machine.say("-- reboot --")?;
        self.see_it_through(&record.name);
        Ok(())
    }

    /// Goes on with a stop or a reboot until it is done, also after the daemon was.
    pub(super) fn see_it_through(self: &Arc<Self>, name: &str) {
        let (world, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            while let Ok(kept) = world.find(&name).await {
                let stepped = world.step(&kept).await;
                if let Err(error) = &stepped {
                    let error = format!("{error:#}");
                    tracing::error!(machine = name, error, "not as it was asked to be");
                }
                if stepped.unwrap_or(true) {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Whether it is done.
    async fn step(&self, kept: &Kept) -> anyhow::Result<bool> {
        let mut record = kept.record.lock().await;
        let machine = &kept.machine;
        if let Some(stopping) = record.stopping {
            if !machine.marks().family().is_empty() {
                if machine.shut_clusters_down() || now() >= stopping.cut {
                    machine.marks().kill().await?;
                }
            } else if now() >= stopping.until {
                record.stopping = None;
                machine.write_record(&record)?;
                return Ok(true);
            }
            return Ok(false);
        }
        match record.rebooting {
            None => Ok(true),
            Some(rebooting) if !rebooting.is_down => {
                if machine.shut_clusters_down() || now() >= rebooting.cut {
                    machine.marks().kill().await?;
                    let is_down = true;
                    record.rebooting = Some(Rebooting {
                        is_down,
                        ..rebooting
                    });
                    machine.write_record(&record)?;
                }
                Ok(false)
            }
            Some(_) => {
                let booted = match machine.marks().listener() {
                    Some(_) => Ok(()),
                    None => self.boot(kept, &record).await,
                };
                record.rebooting = None;
                machine.write_record(&record)?;
                booted.map(|()| true)
            }
        }
    }

    /// Cuts its power.
    pub(super) async fn kill(&self, name: &str) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut record = kept.record.lock().await;
        kept.machine.marks().kill().await?;
        record.stopping = None;
        record.rebooting = None;
        Ok(kept.machine.write_record(&record)?)
    }

    pub(super) async fn freeze(&self, name: &str, frozen: bool) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let record = kept.record.lock().await;
        if kept.power(&record) == Power::Off {
            return Err(Problem::conflict(format!("machine {name} is off")));
        }
        let signal = if frozen {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        // A signal is taken when the process next runs.
        let shows = until("the machine's processes to hear it", || {
            kept.machine.marks().signal(signal);
            let family = kept.machine.marks().family();
            family.iter().all(|process| process.is_stopped == frozen)
        });
        Ok(shows.await?)
    }

    pub(super) async fn exec(&self, exec: Exec) -> Result<Answer, Problem> {
        if exec.command.is_empty() {
            return Err(Problem::invalid("there is no command"));
        }
        let kept = self.find(&exec.machine).await?;
        // Not held while the command runs: a machine may be killed meanwhile.
        kept.must_be(&*kept.record.lock().await, &[Power::On, Power::Stopping])?;
        let limit = Duration::from_secs(exec.limit.clamp(1, 3600));
        let output = kept
            .machine
            .tool()
            .args(["timeout", "-k", "2", &limit.as_secs().to_string()])
            .args(&exec.command)
            .input(exec.input)
            .limit(limit + Duration::from_secs(5))
            .output()
            .await?;
        Ok(Answer::Output(output.into()))
    }
}
