//! `drop_slots`: replication slots go that nobody reads from, and that keep WAL for him.

use std::time::Duration;

use drover::model::{OperationKind, Server};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use super::room::{self, Ours, amount};
use crate::host::scripts::{DROP_SLOT_IF_UNREAD, LOOK_SLOTS, TRY_CHECKPOINT};
use crate::resolve::operations::instance::POWER;
use crate::resolve::operations::kind::{
    Context, Ended, NoParams, Operation, Outcome, Step, Turn, Work, step,
};
use crate::resolve::operations::script;

/// Replication slots are dropped that nobody reads from.
pub(in crate::resolve::operations) struct DropSlots;

/// What `look` has found.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::resolve::operations) struct Memo {
    /// How often there was room.
    room_seen: u64,
    /// What is still to be dropped.
    slots: Vec<Slot>,
    /// The ports of the clusters that they are, or were, of.
    slots_on: Vec<u16>,
}

/// A slot that was found to hold too much.
#[derive(Serialize, Deserialize)]
struct Slot {
    port: u16,
    of: String,
    name: String,
    bytes: u64,
}

/// What a cluster tells of its slots.
#[derive(Deserialize)]
struct Unread {
    slots: Vec<Held>,
}

/// One of them, and what it holds.
#[derive(Deserialize)]
struct Held {
    name: String,
    bytes: u64,
}

/// What became of a slot.
#[derive(Deserialize)]
struct Dropped {
    /// How many were dropped: one, or none.
    dropped: u64,
    /// Whether there is one of that name now.
    there: bool,
}

impl Operation for DropSlots {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::DropSlots;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look for inactive slots that hold too much" => look).may_end(),
        step!("drop", "drop them" => drop_them)
            .within(POWER)
            .may_end(),
        step!("checkpoint", "have the WAL go that they held" => checkpoint)
            .within(POWER)
            .may_end(),
    ];
}

/// So many are dropped in one turn.
const A_TURN: usize = 5;

async fn look(turn: &mut Turn<'_, DropSlots>) -> Work {
    let server = turn.server()?;
    let tight = room::tight(&turn.context, server, &mut turn.memo.room_seen).await?;
    let context = &turn.context;
    let (ours, mut left_out) = room::ours(context, server, &tight).await?;
    let asked = ours.iter().map(|ours| {
        let resource = &ours.resource;
        let most = ours.slot_bytes.to_string();
        let followers = ours.followers.join(",");
        let told = async move {
            let arguments = [most.as_str(), followers.as_str()];
            script::ask::<Unread>(context, (resource, server), LOOK_SLOTS, &arguments).await
        };
        told.map(move |told| (resource, told)).boxed()
    });
    let mut slots: Vec<Slot> = Vec::new();
    for (resource, told) in room::few_at_a_time(asked.collect()).await {
        let of = &resource.subject.name;
        match told {
            Ok(told) => slots.extend(told.slots.into_iter().map(|held| Slot {
                port: resource.port,
                of: of.clone(),
                name: held.name,
                bytes: held.bytes,
            })),
            Err(outcome) => left_out.push(format!("{of}: {}", outcome.note)),
        }
    }
    if slots.is_empty() {
        return Err(Outcome::skipped(none(&ours, left_out)));
    }
    let mut words: Vec<String> = slots
        .iter()
        .map(|s| format!("slot {} of {} holds {}", s.name, s.of, amount(s.bytes)))
        .collect();
    words.append(&mut left_out);
    turn.memo.slots_on = slots.iter().map(|slot| slot.port).collect();
    turn.memo.slots = slots;
    Ok(Outcome::done(words.join("; ")))
}

/// That none of these clusters has a slot to be dropped, and why others were not asked.
fn none(ours: &[Ours], mut left_out: Vec<String>) -> String {
    let mut most: Vec<u64> = ours.iter().map(|ours| ours.slot_bytes).collect();
    most.sort_unstable();
    most.dedup();
    let most: Vec<String> = most.into_iter().map(amount).collect();
    let mut why = match most.is_empty() {
        true => vec!["no cluster's slots may be dropped".to_owned()],
        false => vec![format!("no inactive slot holds over {}", most.join(" or "))],
    };
    why.append(&mut left_out);
    why.join("; ")
}

/// Only those that were written down by `look`, so that each can be named whatever
/// becomes of its turn. What holds for its cluster by now, mode and limit, is looked
/// at once more for each.
async fn drop_them(turn: &mut Turn<'_, DropSlots>) -> Work {
    let server = turn.server()?;
    let count = turn.memo.slots.len().min(A_TURN);
    let mut touched = Vec::new();
    let mut words = Vec::new();
    for slot in &turn.memo.slots[..count] {
        let name = format!("slot {} of {}", slot.name, slot.of);
        match drop_one(&turn.context, server, slot).await? {
            Ok(what) => {
                words.push(format!("{name} is {what}"));
                touched.push(format!("replication {name} on {}", server.subject.name));
            }
            Err(why) => words.push(format!("{name} {why}")),
        }
    }
    turn.memo.slots = turn.memo.slots.split_off(count);
    let ended = match turn.memo.slots.is_empty() {
        true => Ended::Done,
        false => Ended::Again(Duration::ZERO),
    };
    Ok(Outcome {
        touched,
        ..Outcome::new(ended, words.join("; "))
    })
}

/// What it is now, if it is not there any more; else why it stays. One that is gone was
/// dropped by a turn that was cut off.
async fn drop_one(
    turn: &Context<'_>,
    server: &Server,
    slot: &Slot,
) -> Result<Result<&'static str, String>, Outcome> {
    let ours = match room::herd(turn, server).await?.remove(&slot.port) {
        Some(Ok(ours)) => ours,
        Some(Err(why)) => return Ok(Err(format!("stays: {why}"))),
        None => return Ok(Err("stays: it has left the herd".to_owned())),
    };
    let (most, followers) = (ours.slot_bytes.to_string(), ours.followers.join(","));
    let arguments = [slot.name.as_str(), most.as_str(), followers.as_str()];
    let on = (&ours.resource, server);
    let told: Dropped = script::ask(turn, on, DROP_SLOT_IF_UNREAD, &arguments).await?;
    Ok(match (told.dropped, told.there) {
        (1, _) => Ok("dropped"),
        (_, false) => Ok("gone"),
        (_, true) => Err("is in use again, or holds less: it stays".to_owned()),
    })
}

/// The WAL that they held goes with the next checkpoint, which comes now.
async fn checkpoint(turn: &mut Turn<'_, DropSlots>) -> Work {
    let server = turn.server()?;
    let context = &turn.context;
    let mut ports = turn.memo.slots_on.clone();
    ports.dedup();
    let asked = ports
        .iter()
        .map(|port| script::at_port(context, (server, *port), TRY_CHECKPOINT, &[]).boxed());
    for told in room::few_at_a_time(asked.collect()).await {
        told.map_err(script::or_skip)?;
    }
    Ok(Outcome::done("the WAL that they held is let go"))
}
