//! `unfollow`: a follower becomes a leader of its own; whom it followed is not
//! touched, but for the slot.

use drover::model::{Durability, OperationKind, Resource, State, SubjectId, slot_of};
use drover::store::operations::Fact;
use drover::store::subjects::Known;
use serde::{Deserialize, Serialize};

use super::create_follower::leader_of;
use super::create_resource::customer;
use super::follow::node;
use super::kind::{Context, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::{lead, script, sync};
use crate::host::scripts::{DROP_SLOT, PROMOTE};

/// A follower becomes a leader of its own.
pub(super) struct Unfollow;

/// Whom it has followed: the record does not say so any more once it leads.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    leader: Option<SubjectId>,
}

impl Operation for Unfollow {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Unfollow;
    const STEPS: &'static [Step<Self>] = &[
        step!("promote", "promote it" => promote),
        step!("part", "write down that it leads" => part),
        step!("tell", "have its server know that it leads" => tell),
        step!("slot", "drop the slot that kept WAL for it" => slot),
        step!("names", "have nobody wait for it" => names),
    ];

    fn also_changes(step: &str, _known: Option<&Known>, memo: &Memo) -> Vec<SubjectId> {
        memo.leader.filter(|_| step == "slot").into_iter().collect()
    }
}

async fn promote(turn: &mut Turn<'_, Unfollow>) -> Work {
    let on @ (resource, _) = turn.resource()?;
    // Nobody will follow it: a list that it has from its leader would hold its commits.
    if resource.leader.is_some() {
        sync::write(turn, on, Durability::Async, &[]).await?;
    }
    let said = script::at_cluster(turn, on, PROMOTE, &["0", "auto"], b"").await?;
    if resource.leader.is_some() {
        turn.memo.leader = resource.leader;
    }
    Ok(Outcome::done(said.last_words()))
}

/// What it shared with its leader is its own from here on: the customer's role and
/// that of followers came with the data, with the passwords that they had.
async fn part(turn: &mut Turn<'_, Unfollow>) -> Work {
    let (resource, _) = turn.resource()?;
    if resource.leader.is_none() {
        return Ok(Outcome::done("it leads"));
    }
    let (leader, _) = leader_of(turn, resource).await?;
    let id = resource.subject.id;
    let password = &customer(&leader)?.password;
    let replication = leader.replication_password.as_ref();
    let replication = replication.map(|password| lead::seal(turn, id, "replication", password));
    Ok(Outcome::done("it leads").with(Fact::Leads {
        customer: lead::seal(turn, id, "customer", password)?,
        replication: replication.transpose()?,
        by: turn.operation.id,
    }))
}

/// By a word of the record that has it so: an older record is behind what its server has obeyed
/// then, and makes nobody's follower of it.
async fn tell(turn: &mut Turn<'_, Unfollow>) -> Work {
    let said = sync::write(turn, turn.resource()?, Durability::Async, &[]).await?;
    Ok(Outcome::done(said))
}

async fn slot(turn: &mut Turn<'_, Unfollow>) -> Work {
    let (resource, _) = turn.resource()?;
    slot_away(turn, resource, turn.memo.leader).await
}

async fn names(turn: &mut Turn<'_, Unfollow>) -> Work {
    names_without(turn, turn.memo.leader).await
}

/// Has the commits of this leader wait for those that follow it still. One that is
/// gone, or does not answer, is not waited for: a name that nobody bears does no harm.
pub(super) async fn names_without(turn: &Context<'_>, leader: Option<SubjectId>) -> Work {
    let Some(leader) = leader else {
        return Ok(Outcome::done("it follows nobody"));
    };
    let (found, _) = match node(turn, leader).await {
        Ok(found) => found,
        Err(outcome) => return Ok(Outcome::done(outcome.note)),
    };
    match found.subject.state {
        State::Creating | State::Destroying | State::Destroyed => {
            return Ok(Outcome::done("its leader takes no commits"));
        }
        State::Available | State::Uncertain | State::Unavailable => {}
    }
    match sync::if_sync(turn, leader).await {
        Ok(said) => Ok(Outcome::done(said)),
        Err(outcome) if turn.operation.failures >= 3 => Ok(Outcome::done(format!(
            "its leader's list is left as it is: {}",
            outcome.note
        ))),
        Err(outcome) => Err(outcome),
    }
}

/// Drops the slot that this leader keeps for a resource. A leader that is gone, or
/// does not answer, keeps nothing for long: its own limit ends that.
pub(super) async fn slot_away(
    turn: &Context<'_>,
    resource: &Resource,
    leader: Option<SubjectId>,
) -> Work {
    if leader.is_none() {
        return Ok(Outcome::done("it follows nobody"));
    }
    let as_follower = Resource {
        leader,
        ..resource.clone()
    };
    let (leader, server) = match leader_of(turn, &as_follower).await {
        Ok(found) => found,
        Err(outcome) => return Ok(Outcome::done(outcome.note)),
    };
    let slot = slot_of(resource.subject.id);
    match leader.subject.state {
        State::Creating => return Ok(Outcome::done("its leader has no slots yet")),
        State::Destroying | State::Destroyed => {
            return Ok(Outcome::done(format!("slot {slot} goes with its leader")));
        }
        State::Available | State::Uncertain | State::Unavailable => {}
    }
    let on = (&*leader, &*server);
    let dropped = script::at_cluster(turn, on, DROP_SLOT, &[&slot], b"").await;
    match dropped {
        Ok(said) => Ok(Outcome::done(said.last_words())),
        Err(e) if turn.operation.failures >= 3 => Ok(Outcome::done(format!(
            "slot {slot} is left to its limit: {e}"
        ))),
        Err(e) => Err(e.into()),
    }
}
