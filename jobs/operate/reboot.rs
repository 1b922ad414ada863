//! `reboot`: a server is rebooted, once: the operation's id is the token by which its
//! cloud knows the intention.

use std::time::Duration;

use super::instance::{self, Machine, SOON, await_available};
use super::stop_start::power;
use super::{Book, Outcome, Step, Turn, Work, hand_over, unknown};
use crate::cloud::{Cloud as _, CloudAction, Instance, InstanceState};
use crate::ssh::{self, Limits};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("mark", "remember the boot that it ends"),
        hand_over::STEP,
        power("reboot", "reboot it"),
        power("await_boot", "wait for another boot"),
        Step::new("await_available", "wait until it is in service"),
    ],
    creates: false,
};

/// How long the server may take to say which boot it is in.
const ASK: Duration = Duration::from_secs(6);
/// The kernel's own mark of a boot.
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    match turn.step {
        "await_available" => return await_available(turn).await,
        "hand_over" => return hand_over::perform(turn).await,
        _ => {}
    }
    let machine = instance::able(turn, CloudAction::Reboot)?;
    match turn.step {
        "mark" => mark(turn, &machine).await,
        "reboot" => reboot(turn, &machine).await,
        "await_boot" => await_boot(turn, &machine).await,
        step => unknown(step),
    }
}

async fn mark(turn: &Turn<'_>, machine: &Machine<'_>) -> Work {
    let instance = machine.there().await?;
    let boot_id = match instance.boot {
        Some(_) => None,
        None => boot_id(turn, machine).await,
    };
    let running = instance.state == InstanceState::Running;
    Ok(machine
        .mark(&instance)
        .remember("running", running)
        .remember("boot", instance.boot.clone())
        .remember("boot_id", boot_id))
}

/// The boot that it is in, as the server itself says; `None` if it does not.
async fn boot_id(turn: &Turn<'_>, machine: &Machine<'_>) -> Option<String> {
    let target = turn.tools.context.target(machine.server).ok()?;
    let limits = Limits {
        time: ASK,
        ..Limits::default()
    };
    let output = ssh::run(&target, BOOT_ID, limits).await.ok()?;
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_one = |c: char| c.is_ascii_hexdigit() || c == '-';
    (output.status == Some(0) && id.len() == 36 && id.chars().all(is_one)).then_some(id)
}

/// Whether it is in another boot than the marked one; `None`: nobody can tell yet.
/// One that did not run when it was marked, or did not answer, is in another as soon
/// as it does.
async fn has_booted(turn: &Turn<'_>, machine: &Machine<'_>, instance: &Instance) -> Option<bool> {
    let memo = &turn.operation.memo;
    if instance.state != InstanceState::Running {
        return None;
    }
    if memo["running"] == false {
        return Some(true);
    }
    if let (Some(marked), Some(now)) = (memo["boot"].as_str(), &instance.boot) {
        return Some(marked != now);
    }
    let now = boot_id(turn, machine).await?;
    Some(memo["boot_id"].as_str().is_none_or(|marked| marked != now))
}

async fn reboot(turn: &Turn<'_>, machine: &Machine<'_>) -> Work {
    let instance = machine.there().await?;
    let name = &machine.server.subject.name;
    let memo = &turn.operation.memo;
    // A cloud that tells its boots apart carries a reboot out that was cut off, and does
    // none twice. Of another one's, the server's own word is asked for first; where it
    // had none, nobody can tell.
    let carries_on = memo["boot"].is_string();
    let told = memo["boot_id"].is_string();
    if told && has_booted(turn, machine, &instance).await == Some(true) {
        return Ok(Outcome::done(format!("{name} has booted since")));
    }
    match instance.state {
        // A cloud reboots only what runs.
        InstanceState::Running | InstanceState::Stopped if memo["running"] == false => {
            machine.start(turn).await??;
            return Ok(Outcome::done(format!("{name} was stopped; it is started")));
        }
        InstanceState::Stopped if !carries_on => {
            machine.start(turn).await??;
            return Ok(Outcome::done(format!("{name} is stopped; it is started")));
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
    Ok(Outcome::done(format!("{name} is rebooted")))
}

/// One that has stopped since, for whatever reason, is started: nobody else touches it.
async fn await_boot(turn: &Turn<'_>, machine: &Machine<'_>) -> Work {
    let instance = machine.there().await?;
    if instance.state == InstanceState::Stopped {
        machine.start(turn).await??;
        let again = format!("{}; it is started once more", instance.detail);
        return Err(Outcome::again(SOON, again));
    }
    match has_booted(turn, machine, &instance).await {
        Some(true) => Ok(machine.running(turn, &instance)),
        Some(false) => Err(Outcome::again(SOON, "it has not gone down yet")),
        None => Err(Outcome::again(SOON, instance.detail)),
    }
}
