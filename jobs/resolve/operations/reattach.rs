//! `reattach`: a volume that takes no writes is taken off its server and attached again.
//! Whatever goes wrong behind `stop`, the server is started for as long as it takes.

use drover::model::{Fsync, OperationKind};
use serde::{Deserialize, Serialize};

use super::await_available;
use super::instance::{self, Machine, Marked, POWER, Stops, TRIES, machine};
use super::kind::{Context, NoParams, Operation, Outcome, Step, Turn, Work, step};
use crate::cloud::{Cloud as _, CloudAction, Volume};

/// A stuck volume is attached again.
pub(super) struct Reattach;

/// How it was before.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    #[serde(flatten)]
    marked: Marked,
    /// The cloud's ids of what is stuck.
    volumes: Vec<String>,
}

impl Operation for Reattach {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Reattach;
    const STEPS: &'static [Step<Self>] = &[
        step!("mark", "see which volumes are stuck" => mark)
            .may_end()
            .tries(TRIES),
        step!("stop", "stop the server" => instance::stop).within(POWER),
        step!("detach", "take the volumes off" => detach).within(POWER),
        step!("attach", "attach them again" => attach).within(POWER),
        step!("start", "start the server" => instance::start).within(POWER),
        step!("await_running", "wait until it runs" => instance::await_running).within(POWER),
        await_available::step(),
    ];
}

impl Stops for Reattach {
    const NEEDS: CloudAction = CloudAction::ReattachVolume;

    fn marked(memo: &mut Memo) -> &mut Marked {
        &mut memo.marked
    }
}

/// Remembers which volumes it is about.
async fn mark(turn: &mut Turn<'_, Reattach>) -> Work {
    let machine = machine(turn)?;
    let instance = machine.there().await?;
    let volumes = machine.cloud.volumes(machine.id).await?;
    let stuck = stuck(turn);
    let named = |volume: &&Volume| {
        stuck.iter().any(|(mount, device)| {
            volume.mount.as_deref() == Some(mount) || volume.device.as_deref() == Some(device)
        })
    };
    let mut found: Vec<&Volume> = volumes.iter().filter(named).collect();
    if let ([only], true) = (volumes.as_slice(), found.is_empty()) {
        found.push(only);
    }
    // The system's own disk is stopped and started with the server, and that is all.
    found.retain(|volume| volume.mount.as_deref() != Some("/"));
    if found.is_empty() {
        let name = &machine.server.subject.name;
        let why = format!("the cloud knows of no volume of {name} that is the stuck one");
        return Err(Outcome::skipped(why));
    }
    turn.memo.volumes = found.iter().map(|volume| volume.id.clone()).collect();
    machine.mark(&instance, &mut turn.memo.marked);
    Ok(Outcome::done(format!(
        "it is about {}",
        turn.memo.volumes.join(", ")
    )))
}

/// Mount and device of each volume that the newest observation shows to be stuck.
fn stuck(turn: &Context<'_>) -> Vec<(String, String)> {
    let seen = turn
        .seen
        .and_then(|s| s.attributes.server.volumes.as_deref());
    let slow = turn.rules.limits.fsync.as_secs_f64() * 1000.0;
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    let all = seen.unwrap_or_default().iter();
    all.filter(|v| v.data == Some(true))
        .filter(|v| {
            v.writable == Some(false)
                || matches!(
                    v.fsync,
                    Some(Fsync::Stuck | Fsync::Failed | Fsync::ReadOnly)
                )
                || v.fsync_ms.is_some_and(|ms| ms >= slow)
        })
        .map(|v| (text(&v.mount), text(&v.device)))
        .collect()
}

async fn detach(turn: &mut Turn<'_, Reattach>) -> Work {
    let detached = move_them(turn, false).await;
    let context = turn.context;
    turn.memo.marked.unless_hopeless(&context, detached)
}

async fn attach(turn: &mut Turn<'_, Reattach>) -> Work {
    let attached = move_them(turn, true).await;
    let context = turn.context;
    turn.memo.marked.unless_hopeless(&context, attached)
}

async fn move_them(turn: &Turn<'_, Reattach>, on: bool) -> Work {
    let machine = machine(turn)?;
    for id in &turn.memo.volumes {
        if on {
            let attach = machine.cloud.attach_volume(machine.id, id);
            machine.act(turn, "attaching it", attach).await??;
        } else {
            let detach = machine.cloud.detach_volume(machine.id, id);
            machine.act(turn, "taking it off", detach).await??;
        }
    }
    let how = if on { "attached again" } else { "taken off" };
    Ok(moved(turn, &machine, how))
}

fn moved(turn: &Turn<'_, Reattach>, machine: &Machine<'_>, how: &str) -> Outcome {
    let name = &machine.server.subject.name;
    let done = Outcome::done(format!("{}: {how}", turn.memo.volumes.join(", ")));
    let touch = |done: Outcome, id| done.touching(format!("volume {id} of {name}"));
    turn.memo.volumes.iter().fold(done, touch)
}
