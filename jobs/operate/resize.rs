//! `resize`: a server gets another size. It is stopped for that, and never left so:
//! where its cloud has no room for the new size, or will not have it, the server gets
//! the old one back and is started; only then a human is told.

use drover::model::OperationKind;
use serde_json::Value;

use super::instance::{self, Machine, SOON, await_available, param};
use super::stop_start::power;
use super::{Book, Ended, Outcome, Step, Turn, Work, hand_over, unknown};
use crate::cloud::{Cloud as _, CloudAction, CloudError, InstanceState};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("mark", "look how its instance is"),
        hand_over::STEP,
        power("stop", "stop it"),
        power("set_size", "give it its size"),
        power("start", "start it"),
        power("await_running", "wait until it runs"),
        Step::new("await_available", "wait until it is in service"),
        Step::new("conclude", "see which size it has"),
    ],
    creates: false,
};

/// So often the cloud may fail with the new size before the old one is taken back.
const TRIES: u32 = 4;

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    match turn.step {
        "await_available" => return await_available(turn).await,
        "hand_over" => return hand_over::perform(turn).await,
        _ => {}
    }
    let wanted = param(turn, "size")?.as_str();
    let wanted = wanted.ok_or_else(|| Outcome::hopeless("the size is no text"))?;
    if turn.step == "conclude" {
        return conclude(turn, wanted);
    }
    let machine = instance::able(turn, CloudAction::StopStart)?;
    match turn.step {
        "mark" => mark(&machine, wanted).await,
        "stop" => machine.stop(turn).await,
        "set_size" => set_size(turn, &machine, wanted).await,
        "start" => {
            let started = machine.start(turn).await?;
            or_the_old_one(turn, wanted, started)?;
            Ok(Outcome::done(format!("{} is started", machine.id)))
        }
        "await_running" => await_running(turn, &machine, wanted).await,
        step => unknown(step),
    }
}

/// Where it runs with that size already, nothing is disturbed.
async fn mark(machine: &Machine<'_>, wanted: &str) -> Work {
    let instance = machine.there().await?;
    let runs = instance.state == InstanceState::Running;
    let marked = machine.mark(&instance);
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

/// The size that it had before.
fn old_size<'a>(turn: &Turn<'a>) -> Option<&'a str> {
    let marked = turn.operation.memo["old_size"].as_str();
    marked.or_else(|| turn.server().ok()?.size.as_deref())
}

/// Why the new size is not to be had, once that is known.
fn refused<'a>(turn: &Turn<'a>) -> Option<&'a str> {
    turn.operation.memo["refused"].as_str()
}

async fn set_size(turn: &Turn<'_>, machine: &Machine<'_>, wanted: &str) -> Work {
    let instance = machine.there().await?;
    let size = match (refused(turn), old_size(turn)) {
        (Some(_), Some(old)) => old,
        (Some(_), None) | (None, _) => wanted,
    };
    if instance.size.as_deref() == Some(size) {
        return Ok(Outcome::done(format!("{} has the size {size}", machine.id)));
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
    let asked = machine.cloud.resize(machine.id, size);
    let resized = machine.act(turn, "resizing it", asked).await?;
    or_the_old_one(turn, wanted, resized)?;
    Ok(Outcome::done(format!("{} has the size {size}", machine.id)))
}

async fn await_running(turn: &Turn<'_>, machine: &Machine<'_>, wanted: &str) -> Work {
    let instance = machine.there().await?;
    match instance.state {
        InstanceState::Running => Ok(machine.running(turn, &instance)),
        // The cloud says only now that it has no room.
        InstanceState::Stopped => {
            let started = machine.start(turn).await?;
            or_the_old_one(turn, wanted, started)?;
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
    turn: &Turn<'_>,
    wanted: &str,
    answer: Result<(), CloudError>,
) -> Result<(), Outcome> {
    let Err(error) = answer else { return Ok(()) };
    let final_word = match &error {
        CloudError::NoCapacity(_) | CloudError::Refused(_) | CloudError::Unsupported(_) => true,
        CloudError::Failed(_) => turn.operation.failures >= TRIES,
        CloudError::Throttled(_) => false,
    };
    match (final_word && refused(turn).is_none(), old_size(turn)) {
        (true, Some(old)) if old != wanted => {
            let why = error.to_string();
            let back = format!("{why}; it gets its old size {old} back");
            Err(Outcome::then("set_size", back).remember("refused", why))
        }
        (true | false, _) => Err(error.into()),
    }
}

/// It is in service, with the one size or the other. When a human has been told and
/// says `retry`, all of it begins anew; by itself it does not, for the server would
/// be stopped each time.
fn conclude(turn: &Turn<'_>, wanted: &str) -> Work {
    let Some(why) = refused(turn) else {
        return Ok(Outcome::done(format!("it has the size {wanted}")));
    };
    let kept = format!("{why}; it runs with its old size");
    let told = turn.operation.memo["told"] == Value::Bool(true);
    match (told, turn.operation.stuck_at) {
        (false, _) => Err(Outcome::hopeless(kept).remember("told", true)),
        (true, Some(_)) => Err(Outcome::again(SOON, kept)),
        (true, None) => Ok(Outcome::then(
            "mark",
            format!("the {} is tried once more", OperationKind::Resize),
        )
        .remember("told", Value::Null)
        .remember("refused", Value::Null)),
    }
}
