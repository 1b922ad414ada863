//! `stop_start`: a server is stopped and started, which moves it to other hardware
//! where there is any. Whatever goes wrong behind `stop`, it is started for as long
//! as it takes.

use drover::model::OperationKind;

use super::instance::{self, Machine, Marked, POWER, SOON};
use super::kind::{Context, NoParams, Operation, Outcome, Step, Turn, Work};
use super::{await_available, hand_over};
use crate::cloud::{CloudAction, InstanceState};

/// A server is stopped and started.
pub(super) struct StopStart;

impl Operation for StopStart {
    type Params = NoParams;
    type Memo = Marked;
    const KIND: OperationKind = OperationKind::StopStart;
    const STEPS: &'static [Step<Self>] = &[
        Step::new("mark", "look how its instance is", |turn| {
            Box::pin(mark(turn))
        }),
        hand_over::step(),
        Step::new("stop", "stop it", |turn| Box::pin(stop(turn))).within(POWER),
        Step::new("start", "start it", |turn| Box::pin(start(turn))).within(POWER),
        Step::new("await_running", "wait until it runs", |turn| {
            Box::pin(await_running(turn))
        })
        .within(POWER),
        await_available::step(),
    ];
}

fn machine<'a>(turn: &Context<'a>) -> Result<Machine<'a>, Outcome> {
    instance::able(turn, CloudAction::StopStart)
}

async fn mark(turn: &mut Turn<'_, StopStart>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    Ok(machine.mark(&instance, &mut turn.memo))
}

async fn stop(turn: &mut Turn<'_, StopStart>) -> Work {
    machine(turn)?.stop(turn).await
}

async fn start(turn: &mut Turn<'_, StopStart>) -> Work {
    let machine = machine(turn)?;
    machine.start(turn).await??;
    Ok(Outcome::done(format!("{} is started", machine.id)))
}

/// One that has stopped again, as an instance does that the cloud found no room for, is
/// started once more.
async fn await_running(turn: &mut Turn<'_, StopStart>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    match instance.state {
        InstanceState::Running => Ok(machine.running(&turn.memo, &instance)),
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
