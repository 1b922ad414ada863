//! `resize`: a server gets another size. It is stopped for that, and never left so:
//! where its cloud has no room for the new size, or will not have it, the server gets
//! the old one back and is started; only then a human is told.

use drover::model::OperationKind;
use serde::{Deserialize, Serialize};

use super::instance::{self, Machine, Marked, POWER, SOON};
use super::kind::{Context, Ended, Operation, Outcome, Step, Turn, Work, step};
use super::{await_available, certificates, hand_over};
use crate::cloud::{Cloud as _, CloudAction, CloudError, InstanceState};

/// A server gets another size.
pub(super) struct Resize;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// Its cloud's name for the size.
    size: String,
}

/// The size that it had, and what became of the one that it is to have.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    #[serde(flatten)]
    marked: Marked,
    /// Why the new size is not to be had, once that is known.
    refused: Option<String>,
    /// Whether a human has been told.
    told: bool,
}

impl Operation for Resize {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Resize;
    const STEPS: &'static [Step<Self>] = &[
        step!("mark", "look how its instance is" => mark),
        hand_over::step(),
        step!("stop", "stop it" => stop).within(POWER),
        step!("set_size", "give it its size" => set_size).within(POWER),
        step!("start", "start it" => start).within(POWER),
        step!("await_running", "wait until it runs" => await_running).within(POWER),
        certificates::step(),
        await_available::step(),
        Step::new("conclude", "see which size it has", |turn| {
            Box::pin(async { conclude(turn) })
        }),
    ];
}

/// So often the cloud may fail with the new size before the old one is taken back.
const TRIES: u32 = 4;

fn machine<'a>(turn: &Context<'a>) -> Result<Machine<'a>, Outcome> {
    instance::able(turn, CloudAction::StopStart)
}

/// Where it runs with that size already, nothing is disturbed.
async fn mark(turn: &mut Turn<'_, Resize>) -> Work {
    let machine = machine(turn)?;
    let wanted = turn.params.size.as_str();
    let instance = machine.there().await?;
    let runs = instance.state == InstanceState::Running;
    let marked = machine.mark(&instance, &mut turn.memo.marked);
    if runs && instance.size.as_deref() == Some(wanted) {
        return Ok(Outcome {
            ended: Ended::Then("await_running"),
            note: format!("{}, with the size {wanted}", marked.note),
            ..marked
        });
    }
    if instance.size.is_none() && machine.server.size.is_none() {
        // Without it there would be no way back.
        return Err(Outcome::hopeless(format!(
            "the size that {} has now is not known",
            machine.id
        )));
    }
    Ok(marked)
}

async fn stop(turn: &mut Turn<'_, Resize>) -> Work {
    machine(turn)?.stop(turn).await
}

async fn start(turn: &mut Turn<'_, Resize>) -> Work {
    let machine = machine(turn)?;
    let started = machine.start(turn).await?;
    or_the_old_one(turn, started)?;
    Ok(Outcome::done(format!("{} is started", machine.id)))
}

/// The size that it had before.
fn old_size(turn: &Turn<'_, Resize>) -> Option<String> {
    let marked = turn.memo.marked.old_size.clone();
    marked.or_else(|| turn.server().ok()?.size.clone())
}

async fn set_size(turn: &mut Turn<'_, Resize>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    let size = match (&turn.memo.refused, old_size(turn)) {
        (Some(_), Some(old)) => old,
        (Some(_), None) | (None, _) => turn.params.size.clone(),
    };
    let has = format!("{} has the size {size}", machine.id);
    if instance.size.as_ref() == Some(&size) {
        return Ok(Outcome::done(has));
    }
    match instance.state {
        InstanceState::Stopped => {}
        // Somebody else has started it meanwhile.
        InstanceState::Running | InstanceState::Pending => {
            return Ok(Outcome::then("stop", instance.detail));
        }
        InstanceState::Stopping
        | InstanceState::ShuttingDown
        | InstanceState::Terminated
        | InstanceState::Unknown(_) => return Err(Outcome::again(SOON, instance.detail)),
    }
    let asked = machine.cloud.resize(machine.id, &size);
    let resized = machine.act(turn, "resizing it", asked).await?;
    or_the_old_one(turn, resized)?;
    Ok(Outcome::done(has))
}

async fn await_running(turn: &mut Turn<'_, Resize>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    match instance.state {
        InstanceState::Running => Ok(machine.running(&turn.memo.marked, &instance)),
        // The cloud says only now that it has no room.
        InstanceState::Stopped => {
            let started = machine.start(turn).await?;
            or_the_old_one(turn, started)?;
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

/// A cloud that will not have the new size gets the old one again. With that, its
/// word is passed on: it is asked for as long as it takes.
fn or_the_old_one(
    turn: &mut Turn<'_, Resize>,
    answer: Result<(), CloudError>,
) -> Result<(), Outcome> {
    let Err(error) = answer else { return Ok(()) };
    let final_word = match &error {
        CloudError::NoCapacity(_) | CloudError::Refused(_) | CloudError::Unsupported(_) => true,
        CloudError::Failed(_) => turn.operation.failures >= TRIES,
        CloudError::Throttled(_) => false,
    };
    match (final_word && turn.memo.refused.is_none(), old_size(turn)) {
        (true, Some(old)) if old != turn.params.size => {
            let why = error.to_string();
            let back = format!("{why}; it gets its old size {old} back");
            turn.memo.refused = Some(why);
            Err(Outcome::then("set_size", back))
        }
        (true | false, _) => Err(error.into()),
    }
}

/// It is in service, with the one size or the other. When a human has been told and
/// says `retry`, all of it begins anew; by itself it does not, for the server would
/// be stopped each time.
fn conclude(turn: &mut Turn<'_, Resize>) -> Work {
    let Some(why) = &turn.memo.refused else {
        return Ok(Outcome::done(format!(
            "it has the size {}",
            turn.params.size
        )));
    };
    let kept = format!("{why}; it runs with its old size");
    match (turn.memo.told, turn.operation.stuck_at) {
        (false, _) => {
            turn.memo.told = true;
            Err(Outcome::hopeless(kept))
        }
        (true, Some(_)) => Err(Outcome::again(SOON, kept)),
        (true, None) => {
            turn.memo.told = false;
            turn.memo.refused = None;
            Ok(Outcome::then("mark", "the new size is tried once more"))
        }
    }
}
