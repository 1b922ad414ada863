//! What is made enters the ring: the last steps of whatever makes a subject.

use std::time::Duration;

use drover::model::State;
use drover::store::operations::Fact;

use super::kind::{Context, Operation, Outcome, Step, Work};

/// So long between two looks at the record.
const LOOK: Duration = Duration::from_millis(500);

/// It is felt from now on, and thought about.
pub(super) const fn step<O: Operation>() -> Step<O> {
    Step::new("enter", "let it enter the ring", |_| {
        Box::pin(async { enter() })
    })
}

/// Only a fresh observation says that it is well.
pub(super) const fn first_look<O: Operation>() -> Step<O> {
    Step::new(
        "first_look",
        "wait until it is felt to be in service",
        |turn| Box::pin(async { is_seen(turn) }),
    )
}

fn enter() -> Work {
    let enters = Fact::State {
        from: State::Creating,
        to: State::Uncertain,
        reason: "it is made; nobody has seen it yet".into(),
    };
    Ok(Outcome::done("it is made; now it is felt").with(enters))
}

fn is_seen(turn: &Context<'_>) -> Work {
    if turn.known.map(|known| known.subject().state) == Some(State::Available) {
        return Ok(Outcome::done("it was felt to be in service"));
    }
    let waits = "it has not been felt to be in service yet";
    Err(Outcome::again(LOOK, waits))
}
