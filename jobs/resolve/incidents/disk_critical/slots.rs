//! Replication slots that nobody reads from, and that keep WAL for him.

use drover::model::Server;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

use super::read_only::cluster;
use super::room::{self, amount};
use crate::resolve::incidents::{Ended, Outcome, Turn, superuser};

/// A slot that was found to hold too much.
#[derive(Serialize, Deserialize)]
struct Slot {
    port: u16,
    of: String,
    name: String,
    bytes: u64,
}

/// So many are dropped in one turn.
const A_TURN: usize = 5;

const LOOK: &str = concat!(
    include_str!("../../../host/scripts/prelude/unread_slots.sh"),
    include_str!("../../../host/scripts/look_slots.sh")
);

const DROP: &str = concat!(
    include_str!("../../../host/scripts/prelude/unread_slots.sh"),
    include_str!("../../../host/scripts/drop_slot_if_unread.sh")
);

pub(super) async fn look(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let tight = room::tight(turn, server).await?;
    let (ours, mut left_out) = room::ours(turn, server, &tight).await?;
    let asked = ours.iter().map(|ours| {
        let resource = &ours.resource;
        let most = ours.slot_bytes.to_string();
        let followers = ours.followers.join(",");
        let told = async move {
            superuser::ask(turn, (resource, server), LOOK, &[&most, &followers]).await
        };
        told.map(move |told| (resource, told)).boxed()
    });
    let mut slots: Vec<Slot> = Vec::new();
    for (resource, told) in room::few_at_a_time(asked.collect()).await {
        let name = &resource.subject.name;
        let told = match told {
            Ok(told) => told,
            Err(outcome) => {
                left_out.push(format!("{name}: {}", outcome.note));
                continue;
            }
        };
        for slot in told["slots"].as_array().into_iter().flatten() {
            slots.push(Slot {
                port: resource.port,
                of: name.clone(),
                name: slot["name"].as_str().unwrap_or_default().to_owned(),
                bytes: slot["bytes"].as_u64().unwrap_or(0),
            });
        }
    }
    if slots.is_empty() {
        let mut most: Vec<u64> = ours.iter().map(|ours| ours.slot_bytes).collect();
        most.sort_unstable();
        most.dedup();
        let most: Vec<String> = most.into_iter().map(amount).collect();
        let mut why = match most.is_empty() {
            true => vec!["no cluster's slots may be dropped".to_owned()],
            false => vec![format!("no inactive slot holds over {}", most.join(" or "))],
        };
        why.append(&mut left_out);
        return Err(Outcome::passed_over(why.join("; ")));
    }
    let mut words: Vec<String> = slots
        .iter()
        .map(|s| format!("slot {} of {} holds {}", s.name, s.of, amount(s.bytes)))
        .collect();
    words.append(&mut left_out);
    let ports: Vec<u16> = slots.iter().map(|slot| slot.port).collect();
    Ok(Outcome::done(words.join("; "))
        .remember("slots", json!(slots))
        .remember("slots_on", ports))
}

/// Only those that were written down by `look`, so that each can be named whatever
/// becomes of its turn. What holds for its cluster by now, mode and limit, is looked
/// at once more for each.
pub(super) async fn drop_them(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let slots: Vec<Slot> = serde_json::from_value(turn.incident.memo["slots"].clone())
        .map_err(|e| Outcome::failed(format!("which slots is not known: {e}")))?;
    let (now, later) = slots.split_at(slots.len().min(A_TURN));
    let mut touched = Vec::new();
    let mut words = Vec::new();
    for slot in now {
        let name = format!("slot {} of {}", slot.name, slot.of);
        let ours = match room::herd(turn, server).await?.remove(&slot.port) {
            Some(Ok(ours)) => ours,
            Some(Err(why)) => {
                words.push(format!("{name} stays: {why}"));
                continue;
            }
            None => {
                words.push(format!("{name} stays: it has left the herd"));
                continue;
            }
        };
        let (most, followers) = (ours.slot_bytes.to_string(), ours.followers.join(","));
        let arguments = [slot.name.as_str(), &most, &followers];
        let told = superuser::ask(turn, (&ours.resource, server), DROP, &arguments).await?;
        match (told["dropped"].as_u64(), &told["there"]) {
            (Some(1), _) => words.push(format!("{name} is dropped")),
            (_, Value::Bool(false)) => words.push(format!("{name} is gone")),
            _ => {
                words.push(format!("{name} is in use again, or holds less: it stays"));
                continue;
            }
        }
        touched.push(format!("replication {name} on {}", server.subject.name));
    }
    let ended = match later.is_empty() {
        true => Ended::Done,
        false => Ended::Again(Duration::ZERO),
    };
    let outcome = Outcome::new(ended, words.join("; ")).remember("slots", json!(later));
    Ok(Outcome { touched, ..outcome })
}

/// The WAL that they held goes with the next checkpoint, which comes now. One that
/// takes longer than its statement may goes on by itself.
pub(super) async fn checkpoint(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let ports = turn.incident.memo["slots_on"].as_array();
    let mut ports: Vec<u16> = ports
        .into_iter()
        .flatten()
        .filter_map(|port| u16::try_from(port.as_u64()?).ok())
        .collect();
    ports.dedup();
    let script = "sql -c checkpoint 2>&1 || true";
    let asked = ports.iter().map(|port| {
        let resource = cluster(server, *port);
        async move { superuser::run(turn, (&resource, server), script, &[], b"").await }.boxed()
    });
    for told in room::few_at_a_time(asked.collect()).await {
        told?;
    }
    Ok(Outcome::done("the WAL that they held is let go"))
}
