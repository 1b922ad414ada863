//! `set_read_only` and `set_read_write`: databases may not grow any more, until there is
//! room again. Of several on a volume it is the one that fills it; the next has its turn
//! only if the volume still fills.
//!
//! What is set is written down before it is set, with what stood there, so that
//! exactly that is taken back: never a setting of the customer's. It is the incident
//! that owes it, for it outlives the operation.

use std::collections::BTreeMap;
use std::time::Duration;

use drover::model::{OperationKind, Server};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::offender::{Candidate, Earlier};
use super::room::{self, Volume};
use crate::host::ScriptError;
use crate::host::scripts::{LOOK_READ_ONLY, RESET_READ_ONLY, SET_READ_ONLY};
use crate::resolve::operations::instance::POWER;
use crate::resolve::operations::kind::{Ended, Operation, Outcome, Step, Turn, Work, step};
use crate::resolve::operations::script;

/// Databases on a full volume may not grow any more.
pub(in crate::resolve::operations) struct SetReadOnly;

/// They may again.
pub(in crate::resolve::operations) struct SetReadWrite;

/// What stood in a cluster's `postgresql.auto.conf`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    /// Name of one of its resources.
    of: String,
    /// `None`: nothing.
    setting: Option<String>,
}

/// What is to be taken back, by the port of its cluster.
type Owed = BTreeMap<u16, Before>;

/// What was asked.
#[derive(Deserialize)]
pub(in crate::resolve::operations) struct Params {
    /// What the incident owes already.
    #[serde(default)]
    owed: Owed,
}

/// What is to be set.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::resolve::operations) struct Set {
    /// All that is owed.
    read_only: Owed,
    /// The ports of what is to be set in this round; none: all of them.
    now: Vec<u16>,
    /// How many may be written to beside those.
    others: usize,
    /// How it was when this step began to look.
    earlier: Option<Earlier>,
}

/// What is still to be taken back.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::resolve::operations) struct Left {
    /// `None`: all that the incident owed.
    left: Option<Owed>,
}

/// What a cluster tells of itself.
#[derive(Deserialize)]
struct Holds {
    /// Whether it follows another.
    standby: bool,
    /// What its files say, if they do.
    file: Option<bool>,
    /// What `alter system` has left there.
    auto: Option<String>,
    /// What it holds.
    bytes: Option<u64>,
}

/// How long it is watched which database grows, and whether a volume still fills.
const WATCH: Duration = Duration::from_secs(3);

impl Operation for SetReadOnly {
    type Params = Params;
    type Memo = Set;
    const KIND: OperationKind = OperationKind::SetReadOnly;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look what can be written to" => look).may_end(),
        step!("set", "make what fills the volume read-only" => set)
            .within(POWER)
            .may_end(),
        step!("watch", "see whether the volume still fills" => watch).may_end(),
    ];
}

impl Operation for SetReadWrite {
    type Params = Params;
    type Memo = Left;
    const KIND: OperationKind = OperationKind::SetReadWrite;
    const STEPS: &'static [Step<Self>] =
        &[step!("reset", "put back what stood there before" => reset)
            .within(POWER)
            .may_end()];
}

/// What was touched, for people.
fn setting(of: &str, server: &Server) -> String {
    let name = &server.subject.name;
    format!("default_transaction_read_only of {of} on {name}")
}

async fn look(turn: &mut Turn<'_, SetReadOnly>) -> Work {
    let server = turn.server()?;
    let context = &turn.context;
    let least = context.rules.limits.disk_read_only_free_ratio;
    let mut volumes = room::volumes(context, server).await?;
    let all: Vec<String> = volumes.iter().map(Volume::fill).collect();
    volumes.retain(|volume| volume.free_ratio() < least);
    if volumes.is_empty() {
        return Err(Outcome::skipped(format!(
            "not below {:.1} % free: {}",
            least * 100.0,
            all.join("; ")
        )));
    }
    let (ours, mut words) = room::ours(context, server, &volumes).await?;
    let asked = ours.iter().map(|ours| {
        let resource = &ours.resource;
        let told = async move {
            script::ask::<Holds>(context, (resource, server), LOOK_READ_ONLY, &[]).await
        };
        told.map(move |told| (resource, told)).boxed()
    });
    let mut may = Vec::new();
    for (resource, told) in room::few_at_a_time(asked.collect()).await {
        let of = resource.subject.name.clone();
        match told {
            Err(outcome) => words.push(format!("{of}: {}", outcome.note)),
            Ok(told) if told.standby => words.push(format!("{of} follows another")),
            Ok(told) if told.file == Some(true) => {
                words.push(format!("{of} is read-only already"));
            }
            Ok(told) => {
                words.push(format!("{of} can be written to"));
                may.push(Candidate {
                    port: resource.port,
                    of,
                    setting: told.auto,
                    bytes: told.bytes.unwrap_or_default(),
                });
            }
        }
    }
    let mut owed = turn.params.owed.clone();
    owed.append(&mut turn.memo.read_only.clone());
    let was_set = |volume: &Volume| volume.ports.iter().any(|port| owed.contains_key(port));
    let to_watch = may.len() > 1 || volumes.iter().any(was_set);
    if !may.is_empty() && to_watch && turn.memo.earlier.is_none() {
        turn.memo.earlier = Some(Earlier::of(&volumes, &may));
        return Err(Outcome::again(WATCH, "to see what grows"));
    }
    let earlier = turn.memo.earlier.take().unwrap_or_default();
    let mut now = Vec::new();
    for volume in &volumes {
        if was_set(volume) && !earlier.fills(volume, least) {
            words.push(format!("{} does not fill any more", volume.mount));
        } else if let Some(offender) = earlier.offender(volume, &may) {
            now.push(offender);
        }
    }
    if may.len() > now.len() {
        words.extend(now.iter().map(|one| format!("{} goes first", one.of)));
    }
    let words = format!("{}: {}", all.join("; "), words.join("; "));
    if now.is_empty() {
        return Err(Outcome::skipped(words));
    }
    for one in &now {
        let (of, setting) = (one.of.clone(), one.setting.clone());
        owed.entry(one.port).or_insert(Before { of, setting });
    }
    let done = Outcome::done(words).owing(json!(owed));
    turn.memo.now = now.iter().map(|one| one.port).collect();
    turn.memo.others = may.len() - now.len();
    turn.memo.read_only = owed;
    Ok(done)
}

async fn set(turn: &mut Turn<'_, SetReadOnly>) -> Work {
    let server = turn.server()?;
    let context = &turn.context;
    let now = &turn.memo.now;
    let to_set = turn.memo.read_only.iter();
    let to_set = to_set.filter(|(port, _)| now.is_empty() || now.contains(port));
    let asked = to_set.map(|(port, before)| {
        async move {
            let told = script::at_port(context, (server, *port), SET_READ_ONLY, &[]).await;
            (before, told)
        }
        .boxed()
    });
    let mut outcome = Outcome::done("");
    let (mut well, mut wrong) = (Vec::new(), Vec::new());
    for (before, told) in room::few_at_a_time(asked.collect()).await {
        match told {
            Ok(_) => {
                well.push(before.of.as_str());
                outcome = outcome.touching(setting(&before.of, server));
            }
            Err(failed) => wrong.push(format!("{}: {failed}", before.of)),
        }
    }
    outcome.note = format!("read-only until there is room: {}", well.join(", "));
    if !wrong.is_empty() {
        outcome.note = format!("{}; not: {}", outcome.note, wrong.join("; "));
        outcome.ended = Ended::Failed;
    }
    Ok(outcome)
}

/// What is set keeps its database from growing; if the volume still fills, it was not that
/// one, or not that one alone.
async fn watch(turn: &mut Turn<'_, SetReadOnly>) -> Work {
    if turn.memo.others == 0 {
        return Ok(Outcome::done("there is no other that may be written to"));
    }
    let least = turn.context.rules.limits.disk_read_only_free_ratio;
    let mut volumes = room::volumes(&turn.context, turn.server()?).await?;
    let all: Vec<String> = volumes.iter().map(Volume::fill).collect();
    let all = all.join("; ");
    volumes.retain(|volume| volume.free_ratio() < least);
    if volumes.is_empty() {
        return Ok(Outcome::done(all));
    }
    let Some(earlier) = turn.memo.earlier.take() else {
        turn.memo.earlier = Some(Earlier::of(&volumes, &[]));
        return Err(Outcome::again(WATCH, "to see whether it still fills"));
    };
    let fills = volumes.iter().any(|volume| earlier.fills(volume, least));
    Ok(match fills {
        true => Outcome::then("look", format!("it still fills: {all}")),
        false => Outcome::done(format!("it does not fill any more: {all}")),
    })
}

async fn reset(turn: &mut Turn<'_, SetReadWrite>) -> Work {
    let server = turn.server()?;
    let context = &turn.context;
    let mut left = match &turn.memo.left {
        Some(left) => left.clone(),
        None => turn.params.owed.clone(),
    };
    let asked = left.iter().map(|(port, before)| {
        let (port, before) = (*port, before.clone());
        async move {
            let setting = before.setting.unwrap_or_default();
            let told = script::at_port(context, (server, port), RESET_READ_ONLY, &[&setting]).await;
            (port, before.of, told)
        }
        .boxed()
    });
    let answers = room::few_at_a_time(asked.collect()).await;
    let mut outcome = Outcome::done("");
    let (mut words, mut wrong) = (Vec::new(), Vec::new());
    for (port, of, told) in answers {
        match told {
            Ok(said) => {
                words.push(format!("{of} {}", said.last_words()));
                outcome = outcome.touching(setting(&of, server));
            }
            // No such cluster is there any more.
            Err(e) if e.status() == Some(ScriptError::NOTHING_THERE) => {
                words.push(format!("{of}: {e}"));
            }
            Err(failed) => {
                wrong.push(format!("{of}: {failed}"));
                continue;
            }
        }
        left.remove(&port);
    }
    let all = wrong.is_empty();
    words.append(&mut wrong);
    outcome.note = words.join("; ");
    let owes = match all {
        true => Value::Null,
        false => {
            // What is left is tried again.
            outcome.ended = Ended::Failed;
            json!(left)
        }
    };
    turn.memo.left = Some(left);
    Ok(outcome.owing(owes))
}
