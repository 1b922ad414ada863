//! `set_durability`: a leader's commits wait for a follower from now on (`sync`), or
//! do not any more (`async`); or they wait for those of its followers that stream by now.
//!
//! The record never promises more than the world keeps: `sync` is written down once it
//! is in force, `async` before it is.

use drover::model::{Durability, OperationKind, Resource, Server, SubjectId, slot_of};
use drover::store::counted;
use drover::store::operations::Fact;
use serde::{Deserialize, Serialize};

use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::{script, sync};
use crate::host::scripts::STREAMING_FOLLOWERS;

/// A leader gets another durability.
pub(super) struct SetDurability;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// What its commits are to wait for; `None`: as they do, but for those that stream.
    #[serde(default)]
    durability: Option<Durability>,
}

/// Whom its commits are not to wait for, though they follow it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    silent: Vec<SubjectId>,
}

impl Operation for SetDurability {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::SetDurability;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look whether a follower streams" => look).may_end(),
        step!("set", "have its commits wait for a follower" => set).may_end(),
        Step::new(
            "write_down",
            "write down what its commits wait for",
            |turn| Box::pin(async { write_down(turn) }),
        ),
        step!("compare", "compare what is in force with the record" => compare).may_end(),
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

/// What its commits are to wait for.
fn asked(turn: &Turn<'_, SetDurability>, resource: &Resource) -> Durability {
    turn.params.durability.unwrap_or(resource.durability)
}

/// Its followers that are neither coming nor going: those that stream, and the others.
async fn followers(
    turn: &Context<'_>,
    on: (&Resource, &Server),
) -> Result<(Vec<SubjectId>, Vec<SubjectId>), Outcome> {
    let live = sync::live(turn, on.0.subject.id, false).await?;
    if live.is_empty() {
        return Err(Outcome::hopeless(
            "it has no follower, and would take no commit any more",
        ));
    }
    let said = script::at_cluster(turn, on, STREAMING_FOLLOWERS, &[], b"").await?;
    let streams = |id: &SubjectId| said.text().lines().any(|line| line.trim() == slot_of(*id));
    let (stream, silent): (Vec<_>, Vec<_>) = live.into_iter().partition(streams);
    match stream.is_empty() {
        false => Ok((stream, silent)),
        true => Err(Outcome::failed(
            "none of its followers streams, and it would take no commit any more",
        )),
    }
}

/// Nothing is changed before one streams: all commits would wait.
async fn look(turn: &mut Turn<'_, SetDurability>) -> Work {
    let on = leader(turn)?;
    match (asked(turn, on.0), turn.params.durability) {
        (Durability::Async, None) => Err(Outcome::skipped("its commits wait for nobody")),
        (Durability::Async, Some(_)) => Ok(Outcome::then("write_down", "it needs no follower")),
        (Durability::Sync, _) => {
            let (stream, silent) = followers(turn, on).await?;
            let (stream, all) = (stream.len(), stream.len() + silent.len());
            Ok(Outcome::done(format!(
                "{stream} of its {all} followers stream"
            )))
        }
    }
}

async fn set(turn: &mut Turn<'_, SetDurability>) -> Work {
    let on = leader(turn)?;
    let (stream, silent) = followers(turn, on).await?;
    {
        let mut db = turn.tools.pool.acquire().await?;
        counted::count(&mut db, &stream).await?;
    }
    let durability = asked(turn, on.0);
    let said = sync::write(turn, on, durability, &stream).await?;
    turn.memo.silent = silent;
    Ok(Outcome::done(said))
}

fn write_down(turn: &Turn<'_, SetDurability>) -> Work {
    let (resource, _) = leader(turn)?;
    let durability = asked(turn, resource);
    Ok(Outcome::done(format!("its durability is {durability}")).with(Fact::Durability(durability)))
}

/// A follower's operation may have gone by the record that was.
async fn compare(turn: &mut Turn<'_, SetDurability>) -> Work {
    let (resource, _) = leader(turn)?;
    let said = sync::by_record(turn, resource.subject.id, &turn.memo.silent).await?;
    Ok(Outcome::done(said))
}
