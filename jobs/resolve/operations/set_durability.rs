//! `set_durability`: a leader's commits wait for a follower from now on (`sync`), or
//! do not any more (`async`).
//!
//! The record never promises more than the world keeps: `sync` is written down once it
//! is in force, `async` before it is.

use drover::model::{Durability, OperationKind, Resource, Server, slot_of};
use drover::store::counted;
use drover::store::operations::Fact;
use serde::Deserialize;

use super::follow::followers;
use super::kind::{Context, NoMemo, Operation, Outcome, Step, Turn, Work, step};
use super::{script, sync};
use crate::host::scripts::STREAMING_FOLLOWERS;

/// A leader gets another durability.
pub(super) struct SetDurability;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// What its commits are to wait for.
    durability: Durability,
}

impl Operation for SetDurability {
    type Params = Params;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::SetDurability;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look whether a follower streams" => look),
        step!("set", "have its commits wait for a follower" => set),
        Step::new(
            "write_down",
            "write down what its commits wait for",
            |turn| Box::pin(async { write_down(turn) }),
        ),
        step!("compare", "compare what is in force with the record" => compare),
    ];
}

/// The resource and its server, if it leads still.
fn leader<'a>(turn: &Context<'a>) -> Result<(&'a Resource, &'a Server), Outcome> {
    let on = turn.resource()?;
    match on.0.leader {
        None => Ok(on),
        Some(_) => Err(Outcome::hopeless(
            "it follows by now, and has its leader's durability: ask that one",
        )),
    }
}

/// Nothing is changed before one streams: all commits would wait.
async fn look(turn: &mut Turn<'_, SetDurability>) -> Work {
    let on = leader(turn)?;
    match turn.params.durability {
        Durability::Async => return Ok(Outcome::then("write_down", "it needs no follower")),
        Durability::Sync => {}
    }
    let followers = followers(turn, on.0.subject.id).await?;
    if followers.is_empty() {
        return Err(Outcome::hopeless(
            "it has no follower, and would take no commit any more",
        ));
    }
    let said = script::at_cluster(turn, on, STREAMING_FOLLOWERS, &[], b"").await?;
    let streams = |slot: &String| said.text().lines().any(|line| line.trim() == slot);
    let streaming = followers
        .iter()
        .find(|(follower, _)| streams(&slot_of(follower.subject.id)));
    match streaming {
        Some((follower, _)) => Ok(Outcome::done(format!("{} streams", follower.subject.name))),
        None => Err(Outcome::failed(
            "none of its followers streams, and it would take no commit any more",
        )),
    }
}

async fn set(turn: &mut Turn<'_, SetDurability>) -> Work {
    let on = leader(turn)?;
    let ids = sync::live(turn, on.0.subject.id, false).await?;
    {
        let mut db = turn.tools.pool.acquire().await?;
        counted::count(&mut db, &ids).await?;
    }
    let said = sync::write(turn, on, turn.params.durability, &ids).await?;
    Ok(Outcome::done(said))
}

fn write_down(turn: &Turn<'_, SetDurability>) -> Work {
    leader(turn)?;
    let durability = turn.params.durability;
    Ok(Outcome::done(format!("its durability is {durability}")).with(Fact::Durability(durability)))
}

/// A follower's operation may have gone by the record that was.
async fn compare(turn: &mut Turn<'_, SetDurability>) -> Work {
    let (resource, _) = leader(turn)?;
    let said = sync::by_record(turn, resource.subject.id).await?;
    Ok(Outcome::done(said))
}
