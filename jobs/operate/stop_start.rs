//! `stop_start`: a server is stopped and started, which moves it to other hardware
//! where there is any. Whatever goes wrong behind `stop`, it is started for as long
//! as it takes.

use std::time::Duration;

use super::instance::{self, Machine, SOON, await_available};
use super::{Book, Outcome, Step, Turn, Work, hand_over, unknown};
use crate::cloud::{CloudAction, InstanceState};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("mark", "look how its instance is"),
        hand_over::STEP,
        power("stop", "stop it"),
        power("start", "start it"),
        power("await_running", "wait until it runs"),
        Step::new("await_available", "wait until it is in service"),
    ],
    creates: false,
};

/// A step in which a cloud may have to wait for clusters.
pub(super) const fn power(name: &'static str, does: &'static str) -> Step {
    Step {
        limit: Duration::from_secs(25),
        ..Step::new(name, does)
    }
}

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    match turn.step {
        "await_available" => return await_available(turn).await,
        "hand_over" => return hand_over::perform(turn).await,
        _ => {}
    }
    let machine = instance::able(turn, CloudAction::StopStart)?;
    match turn.step {
        "mark" => Ok(machine.mark(&machine.there().await?)),
        "stop" => machine.stop(turn).await,
        "start" => {
            machine.start(turn).await??;
            Ok(Outcome::done(format!("{} is started", machine.id)))
        }
        "await_running" => await_running(turn, &machine).await,
        step => unknown(step),
    }
}

/// Waits until it runs. One that has stopped again, as an instance does that the
/// cloud found no room for, is started once more.
async fn await_running(turn: &Turn<'_>, machine: &Machine<'_>) -> Work {
    let instance = machine.there().await?;
    match instance.state {
        InstanceState::Running => Ok(machine.running(turn, &instance)),
        InstanceState::Stopped => {
            machine.start(turn).await??;
            let again = format!("{}; it is started once more", instance.detail);
            Err(Outcome::again(SOON, again))
        }
        InstanceState::Pending
        | InstanceState::Stopping
        | InstanceState::ShuttingDown
        | InstanceState::Terminated
        | InstanceState::Unknown(_) => Err(Outcome::again(SOON, instance.detail)),
    }
}
