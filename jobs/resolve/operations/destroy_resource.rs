//! `destroy_resource`: its cluster goes, with all that is in it; and the server that
//! was made for it, when nothing else is on it.

use drover::model::{OperationKind, Resource, Server, State, SubjectId};
use drover::store::creation;
use drover::store::operations::Fact;
use drover::store::subjects::Known;

use super::create_resource::customer;
use super::kind::{self, Context, NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use super::unfollow::{names_without, slot_away};
use crate::host::scripts::DROP_CLUSTER;

/// A resource is destroyed.
pub(super) struct DestroyResource;

impl Operation for DestroyResource {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::DestroyResource;
    const STEPS: &'static [Step<Self>] = &[
        step!("drop", "drop its cluster" => drop_cluster),
        step!("slot", "drop the slot that its leader kept for it" => drop_slot),
        step!("names", "have nobody wait for it" => names),
        Step::new("leave", "take it out of the ring", |_| {
            Box::pin(async { leave() })
        }),
    ];

    fn also_changes(step: &str, known: Option<&Known>, _memo: &Self::Memo) -> Vec<SubjectId> {
        match step {
            "slot" => kind::follows(known),
            _ => vec![],
        }
    }
}

async fn drop_cluster(turn: &mut Turn<'_, DestroyResource>) -> Work {
    let (resource, server) = turn.resource()?;
    if !was_begun(turn, resource).await? {
        return Ok(Outcome::done("no cluster was ever made for it"));
    }
    let answers = server.subject.state == State::Available;
    if !answers && goes_too(turn, server, resource).await? {
        let name = &server.subject.name;
        return Ok(Outcome::done(format!("it goes with its server {name}")));
    }
    let name = &customer(resource)?.database;
    let said = script::run(turn, server, DROP_CLUSTER, &[name], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// Its server may never have been made: then there is nobody to ask.
async fn was_begun(turn: &Context<'_>, resource: &Resource) -> Result<bool, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    Ok(creation::was_begun(&mut db, resource.subject.id).await?)
}

/// Whether the server was made for a plan's resources, and this is the last one: then
/// it is destroyed with all that is on it.
async fn goes_too(
    turn: &Context<'_>,
    server: &Server,
    resource: &Resource,
) -> Result<bool, Outcome> {
    if server.for_plan.is_none() {
        return Ok(false);
    }
    let mut db = turn.tools.pool.acquire().await?;
    let others = creation::others_on(&mut db, server.subject.id, resource.subject.id);
    Ok(!others.await?)
}

async fn drop_slot(turn: &mut Turn<'_, DestroyResource>) -> Work {
    let (resource, _) = turn.resource()?;
    slot_away(turn, resource, resource.leader).await
}

async fn names(turn: &mut Turn<'_, DestroyResource>) -> Work {
    let (resource, _) = turn.resource()?;
    names_without(turn, resource.leader).await
}

/// The server follows in the same transaction, if it was made for this.
fn leave() -> Work {
    Ok(Outcome::done("nothing of it is left").with(Fact::Gone))
}
