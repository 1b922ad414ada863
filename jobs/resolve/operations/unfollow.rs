//! `unfollow`: a follower becomes a leader of its own; whom it followed is not
//! touched, but for the slot.

use drover::model::slot_of;
use drover::model::{Durability, Resource, Secret, Server, State, SubjectId};
use drover::store::operations::Fact;

use super::create_follower::leader_of;
use super::create_resource::customer;
use super::follow::node;
use super::{Book, Context, Outcome, Step, Work, script, sync, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("promote", "promote it"),
        Step::new("part", "write down that it leads"),
        Step::new("slot", "drop the slot that kept WAL for it"),
        Step::new("names", "have nobody wait for it"),
    ],
    creates: false,
};

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    match turn.step {
        "promote" => promote(turn, resource, server).await,
        "part" => part(turn, resource).await,
        "slot" => drop_slot(turn).await,
        "names" => names_without(turn, was(turn)).await,
        step => unknown(step),
    }
}

pub(super) const PROMOTE: &str = include_str!("../../host/scripts/promote.sh");

async fn promote(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    // Nobody will follow it: a list that it has from its leader would hold its commits.
    if resource.leader.is_some() {
        sync::write(turn, (resource, server), Durability::Async, &[]).await?;
    }
    let said = script::as_superuser(turn, (resource, server), PROMOTE, &[], b"").await?;
    let mut outcome = Outcome::done(said.last_words());
    // Whom it has followed must be known to the last step, and is not then in the
    // record any more.
    if let Some(leader) = resource.leader {
        outcome = outcome.remember("leader", leader.to_string());
    }
    Ok(outcome)
}

/// What it shared with its leader is its own from here on: the customer's role and
/// that of followers came with the data, with the passwords that they had.
async fn part(turn: &Context<'_>, resource: &Resource) -> Work {
    if resource.leader.is_none() {
        return Ok(Outcome::done("it leads"));
    }
    let (leader, _) = leader_of(turn, resource).await?;
    let id = resource.subject.id;
    let seal = |plain: &Secret, what: &str| {
        let sealed = turn.tools.secret_key.seal(plain, &format!("{id}/{what}"));
        sealed.map_err(|e| Outcome::failed(e.to_string()))
    };
    let customer = customer(&leader)?;
    let replication = leader.replication_password.as_ref();
    Ok(Outcome::done("it leads").with(Fact::Leads {
        customer: seal(&customer.password, "customer")?,
        replication: replication.map(|p| seal(p, "replication")).transpose()?,
        by: turn.operation.id,
    }))
}

pub(super) const DROP_SLOT: &str = include_str!("../../host/scripts/drop_slot.sh");

async fn drop_slot(turn: &Context<'_>) -> Work {
    let (resource, _) = turn.resource()?;
    slot_away(turn, resource, was(turn)).await
}

/// Whom it has followed.
fn was(turn: &Context<'_>) -> Option<SubjectId> {
    let was = turn.operation.memo["leader"].as_str();
    was.and_then(|id| id.parse().ok())
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
    let dropped = script::as_superuser(turn, on, DROP_SLOT, &[&slot], b"").await;
    match dropped {
        Ok(said) => Ok(Outcome::done(said.last_words())),
        Err(outcome) if turn.operation.failures >= 3 => Ok(Outcome::done(format!(
            "slot {slot} is left to its limit: {}",
            outcome.note
        ))),
        Err(outcome) => Err(outcome),
    }
}
