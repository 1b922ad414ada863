//! `reboot`: a server is rebooted, once: the operation's id is the token by which its
//! cloud knows the intention.

use std::time::Duration;

use drover::model::OperationKind;
use serde::{Deserialize, Serialize};

use super::instance::{self, Machine, Marked, POWER, SOON, TRIES};
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::look_round::{self, Looks, Params};
use super::{await_available, certificates, hand_over};
use crate::cloud::{Cloud as _, CloudAction, Instance, InstanceState};
use crate::host;
use crate::host::scripts::BOOT_ID;

/// A server is rebooted.
pub(super) struct Reboot;

/// The boot that it ends.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    #[serde(flatten)]
    marked: Marked,
    looks: Looks,
    /// Whether it ran.
    running: bool,
    /// The boot, where its cloud tells them apart.
    boot: Option<String>,
    /// The boot, as the server itself said.
    boot_id: Option<String>,
}

impl Operation for Reboot {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Reboot;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "see whether it lives" => look).may_end(),
        step!("mark", "remember the boot that it ends" => mark)
            .may_end()
            .tries(TRIES),
        hand_over::step(),
        step!("reboot", "reboot it" => reboot)
            .within(POWER)
            .may_end()
            .tries(TRIES),
        step!("await_boot", "wait for another boot" => await_boot)
            .within(POWER)
            .may_end()
            .tries(TRIES),
        certificates::step(),
        await_available::step(),
    ];
}

/// How long the server may take to say which boot it is in.
const ASK: Duration = Duration::from_secs(6);
fn machine<'a>(turn: &Context<'a>) -> Result<Machine<'a>, Outcome> {
    instance::able(turn, CloudAction::Reboot)
}

async fn look(turn: &mut Turn<'_, Reboot>) -> Work {
    let machine = machine(turn)?;
    let (context, memo) = (turn.context, &mut turn.memo);
    look_round::unless_it_lives(&context, &machine, &turn.params, &mut memo.looks).await
}

async fn mark(turn: &mut Turn<'_, Reboot>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    if let Some(moved) = machine.moved(&instance) {
        return Ok(moved);
    }
    turn.memo.running = instance.state == InstanceState::Running;
    turn.memo.boot_id = match instance.boot {
        None if turn.memo.running => boot_id(turn, &machine).await,
        Some(_) | None => None,
    };
    turn.memo.boot.clone_from(&instance.boot);
    Ok(machine.mark(&instance, &mut turn.memo.marked))
}

/// The boot that it is in, as the server itself says; `None` if it does not.
async fn boot_id(turn: &Context<'_>, machine: &Machine<'_>) -> Option<String> {
    let host = turn.tools.context.host(machine.server, ASK).ok()?;
    let said = host::look(&host, BOOT_ID, &[], b"").await.ok()?;
    let id = said.value("boot_id").ok()?;
    let is_one = |c: char| c.is_ascii_hexdigit() || c == '-';
    (id.len() == 36 && id.chars().all(is_one)).then(|| id.to_owned())
}

/// Whether it is in another boot than the marked one; `None`: nobody can tell yet.
/// One that did not run when it was marked, or did not answer, is in another as soon
/// as it does; so is one that is at another address by now, where nobody asks it yet.
async fn has_booted(
    turn: &Turn<'_, Reboot>,
    machine: &Machine<'_>,
    instance: &Instance,
) -> Option<bool> {
    let memo = &turn.memo;
    if instance.state != InstanceState::Running {
        return None;
    }
    if !memo.running || machine.has_moved(instance, &memo.marked) {
        return Some(true);
    }
    if let (Some(marked), Some(now)) = (&memo.boot, &instance.boot) {
        return Some(marked != now);
    }
    let now = boot_id(turn, machine).await?;
    Some(memo.boot_id.as_ref().is_none_or(|marked| *marked != now))
}

async fn reboot(turn: &mut Turn<'_, Reboot>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    let name = &machine.server.subject.name;
    let memo = &turn.memo;
    // A cloud that tells its boots apart carries a reboot out that was cut off, and does
    // none twice. Of another one's, the server's own word is asked for first; where it
    // had none, nobody can tell.
    let carries_on = memo.boot.is_some();
    let told = memo.boot_id.is_some() || machine.has_moved(&instance, &memo.marked);
    if told && has_booted(turn, &machine, &instance).await == Some(true) {
        return Ok(machine.touched(Outcome::done(format!("{name} has booted since"))));
    }
    match instance.state {
        // A cloud reboots only what runs.
        InstanceState::Running | InstanceState::Stopped if !memo.running => {
            machine.start(turn).await??;
            let done = Outcome::done(format!("{name} was stopped; it is started"));
            return Ok(machine.touched(done));
        }
        InstanceState::Stopped if !carries_on => {
            machine.start(turn).await??;
            let done = Outcome::done(format!("{name} is stopped; it is started"));
            return Ok(machine.touched(done));
        }
        InstanceState::Stopped => {}
        InstanceState::Stopping => return Err(Outcome::again(SOON, instance.detail)),
        InstanceState::Pending => return Ok(Outcome::done(instance.detail)),
        InstanceState::Running
        | InstanceState::ShuttingDown
        | InstanceState::Terminated
        | InstanceState::Unknown(_) => {}
    }
    let token = turn.operation.id.to_string();
    let asked = machine.cloud.reboot(machine.id, &token);
    machine.act(turn, "rebooting it", asked).await??;
    Ok(machine.touched(Outcome::done(format!("{name} is rebooted"))))
}

/// One that has stopped since, for whatever reason, is started: nobody else touches it.
async fn await_boot(turn: &mut Turn<'_, Reboot>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    if instance.state == InstanceState::Stopped {
        machine.start(turn).await??;
        let again = format!("{}; it is started once more", instance.detail);
        return Err(Outcome::again(SOON, again));
    }
    match has_booted(turn, &machine, &instance).await {
        Some(true) => Ok(machine.running(&turn.memo.marked, &instance)),
        Some(false) => Err(Outcome::again(SOON, "it has not gone down yet")),
        None => Err(Outcome::again(SOON, instance.detail)),
    }
}
