//! `stop_start`: a server is stopped and started, which moves it to other hardware
//! where there is any. Whatever goes wrong behind `stop`, it is started for as long
//! as it takes.

use drover::model::OperationKind;
use serde::{Deserialize, Serialize};

use super::instance::{self, Marked, POWER, Stops, TRIES, machine};
use super::kind::{Operation, Step, Turn, Work, step};
use super::look_round::{self, Looks, Params};
use super::{await_available, certificates, hand_over};
use crate::cloud::CloudAction;

/// A server is stopped and started.
pub(super) struct StopStart;

/// How it was before.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    #[serde(flatten)]
    marked: Marked,
    looks: Looks,
}

impl Operation for StopStart {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::StopStart;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "see whether it lives" => look).may_end(),
        step!("mark", "look how its instance is" => mark)
            .may_end()
            .tries(TRIES),
        hand_over::step(),
        step!("stop", "stop it" => instance::stop).within(POWER),
        step!("start", "start it" => instance::start).within(POWER),
        step!("await_running", "wait until it runs" => instance::await_running).within(POWER),
        certificates::step(),
        await_available::step(),
    ];
}

impl Stops for StopStart {
    const NEEDS: CloudAction = CloudAction::StopStart;

    fn marked(memo: &mut Memo) -> &mut Marked {
        &mut memo.marked
    }
}

async fn look(turn: &mut Turn<'_, StopStart>) -> Work {
    let machine = machine(turn)?;
    let (context, memo) = (turn.context, &mut turn.memo);
    look_round::unless_it_lives(&context, &machine, &turn.params, &mut memo.looks).await
}

async fn mark(turn: &mut Turn<'_, StopStart>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    Ok(machine.mark(&instance, &mut turn.memo.marked))
}
