//! Operate: what somebody asked for is done, step by step, one file for each kind.
//!
//! A turn of an operation's token is one step, under the subject's lease. A worker
//! may die anywhere in it; the next one does the step again, which is why each step
//! looks first whether its work is done already. What a step has learnt goes into
//! the record in the transaction that ends it ([`Fact`]).
//!
//! Architecture Invariant: what must not be done twice in the world is in the record
//! before it is done: an instance's keys and its mark (the server's id), a new
//! password.

mod create_follower;
mod create_resource;
mod create_server;
mod destroy_resource;
mod destroy_server;
mod failover;
mod fence;
mod follow;
mod gameday;
mod grow;
mod hand_over;
mod instance;
pub(crate) mod places;
mod reboot;
mod rebuild;
mod reconcile;
mod resize;
mod restart;
mod rotate_password;
mod script;
mod set_durability;
mod stop_start;
mod switchover;
mod sync;
mod unfollow;

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Cloud, Operation, OperationKind, Resource, Rules, Server, SubjectId};
use drover::store::operations::Fact;
use drover::store::orphans::Orphan;
use drover::store::subjects::Known;
use serde_json::{Map, Value};

use crate::cloud::{AnyCloud, CloudError};
use crate::resolve::Tools;
pub(crate) use create_follower::slot_of;
pub(crate) use fence::FENCE;
pub(crate) use follow::{FOLLOW, SLOT, Telling, slot_input};
pub(crate) use script::ROOT;

/// What is done for an operation of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Book {
    /// In this order.
    pub steps: &'static [Step],
    /// Whether it makes something: then it is stuck as `creation_stuck` and has the
    /// patience of a creation.
    pub creates: bool,
}

/// One step: what happens between two entries in the record.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its name in the record: `await_ssh`.
    pub name: &'static str,
    /// What it does, for people: `wait for its sshd`.
    pub does: &'static str,
    /// How long one turn of it may take; at most 25 s. What takes longer answers
    /// [`Ended::Again`] and is asked after.
    pub limit: Duration,
}

impl Step {
    /// A step of 20 s at most.
    pub const fn new(name: &'static str, does: &'static str) -> Self {
        Self {
            name,
            does,
            limit: Duration::from_secs(20),
        }
    }
}

/// One step to be done.
pub struct Turn<'a> {
    /// Of which operation.
    pub operation: &'a Operation,
    /// On what; `None`: the deployment.
    pub known: Option<&'a Known>,
    /// The rules of the subject's tier.
    pub rules: &'a Rules,
    /// What to work with.
    pub tools: &'a Tools,
    /// The step's name.
    pub step: &'static str,
    /// How long it may take.
    pub limit: Duration,
    /// The control database's clock, when the turn began.
    pub now: DateTime<Utc>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It is done; the next one follows.
    Done,
    /// It is done, and the step of this name follows, before it or behind it.
    Then(&'static str),
    /// What it waits for has not come about: ask again after this while.
    Again(Duration),
    /// It failed, and is tried again, ever more slowly.
    Failed,
    /// It failed, and only a human can help: they are told at once.
    Hopeless,
}

/// What came of a step.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What was done, is waited for or went wrong, for people. Never a secret.
    pub note: String,
    /// What later steps must know, laid over the operation's memo; `null` takes an
    /// entry out. Never a secret.
    pub memo: Map<String, Value>,
    /// What the record is told of the subject, in the step's transaction.
    pub facts: Vec<Fact>,
    /// What it is told beyond that, by an operation of the deployment's.
    pub findings: Vec<Finding>,
}

/// What a reconciliation has found, region by region.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A region with its zones, or why they are not known.
    Region(Cloud, String, Result<Vec<String>, String>),
    /// All in a region that is nobody's.
    Orphans(Cloud, String, Vec<Orphan>),
    /// A server whose instance is gone, and the cloud's words.
    Vanished(SubjectId, String),
}

impl Outcome {
    /// An outcome without facts.
    pub fn new(ended: Ended, note: impl Into<String>) -> Self {
        Self {
            ended,
            note: note.into(),
            memo: Map::new(),
            facts: vec![],
            findings: vec![],
        }
    }

    /// The step is done.
    pub fn done(note: impl Into<String>) -> Self {
        Self::new(Ended::Done, note)
    }

    /// The step is done, and the one of this name is next.
    pub fn then(step: &'static str, note: impl Into<String>) -> Self {
        Self::new(Ended::Then(step), note)
    }

    /// The step waits for something.
    pub fn again(after: Duration, waits_for: impl Into<String>) -> Self {
        Self::new(Ended::Again(after), waits_for)
    }

    /// The step failed.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::new(Ended::Failed, why)
    }

    /// The step failed, and only a human can help.
    pub fn hopeless(why: impl Into<String>) -> Self {
        Self::new(Ended::Hopeless, why)
    }

    /// Tells the record something.
    pub fn with(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }

    /// Leaves word for later steps.
    pub fn remember(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.memo.insert(name.into(), value.into());
        self
    }
}

/// Work that may end early: `Err` is the outcome all the same.
pub type Work = Result<Outcome, Outcome>;

impl From<CloudError> for Outcome {
    /// What a cloud's refusal means for a step.
    fn from(error: CloudError) -> Self {
        match error {
            CloudError::Throttled(wait) => Self::again(wait, error.to_string()),
            CloudError::Unsupported(_) | CloudError::Refused(_) => {
                Self::hopeless(error.to_string())
            }
            CloudError::NoCapacity(_) | CloudError::Failed(_) => Self::failed(error.to_string()),
        }
    }
}

impl<'a> Turn<'a> {
    /// The server that this operation is on.
    ///
    /// # Errors
    /// If it is on something else.
    pub fn server(&self) -> Result<&'a Server, Outcome> {
        match self.known {
            Some(Known::Server(server)) => Ok(server),
            Some(Known::Resource(..)) | None => Err(Outcome::hopeless("this is for servers only")),
        }
    }

    /// The resource that this operation is on, and its server.
    ///
    /// # Errors
    /// If it is on something else.
    pub fn resource(&self) -> Result<(&'a Resource, &'a Server), Outcome> {
        match self.known {
            Some(Known::Resource(resource, server)) => Ok((resource, server)),
            Some(Known::Server(_)) | None => Err(Outcome::hopeless("this is for resources only")),
        }
    }

    /// The cloud that a server is in.
    ///
    /// # Errors
    /// If this process has no access to it.
    pub fn cloud(&self, server: &Server) -> Result<AnyCloud<'a>, Outcome> {
        let name = &server.subject.name;
        let cloud = server
            .cloud
            .ok_or_else(|| Outcome::hopeless(format!("{name} is in no cloud")))?;
        let region = server.region.as_deref();
        let found = self.tools.context.clouds.of(cloud, region);
        found.ok_or_else(|| {
            let region = region.unwrap_or("its region");
            Outcome::hopeless(format!(
                "this worker has no access to {region} of the cloud {cloud}; see docs/clouds.md"
            ))
        })
    }
}

/// The steps of a kind of operation.
pub fn book(kind: OperationKind) -> &'static Book {
    match kind {
        OperationKind::CreateServer => &create_server::BOOK,
        OperationKind::CreateResource => &create_resource::BOOK,
        OperationKind::CreateFollower => &create_follower::BOOK,
        OperationKind::Unfollow => &unfollow::BOOK,
        OperationKind::Switchover => &switchover::BOOK,
        OperationKind::Failover => &failover::BOOK,
        OperationKind::Rebuild => &rebuild::BOOK,
        OperationKind::SetDurability => &set_durability::BOOK,
        OperationKind::Gameday => &gameday::BOOK,
        OperationKind::DestroyServer => &destroy_server::BOOK,
        OperationKind::DestroyResource => &destroy_resource::BOOK,
        OperationKind::Resize => &resize::BOOK,
        OperationKind::Grow => &grow::BOOK,
        OperationKind::Restart => &restart::BOOK,
        OperationKind::Reboot => &reboot::BOOK,
        OperationKind::StopStart => &stop_start::BOOK,
        OperationKind::RotatePassword => &rotate_password::BOOK,
        OperationKind::Reconcile => &reconcile::BOOK,
    }
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    // On the heap: a cloud's work is large for a worker's stack.
    let done: Work = match turn.operation.kind {
        OperationKind::CreateServer => Box::pin(create_server::perform(turn)).await,
        OperationKind::CreateResource => Box::pin(create_resource::perform(turn)).await,
        OperationKind::CreateFollower => Box::pin(create_follower::perform(turn)).await,
        OperationKind::Unfollow => Box::pin(unfollow::perform(turn)).await,
        OperationKind::Switchover => Box::pin(switchover::perform(turn)).await,
        OperationKind::Failover => Box::pin(failover::perform(turn)).await,
        OperationKind::Rebuild => Box::pin(rebuild::perform(turn)).await,
        OperationKind::SetDurability => Box::pin(set_durability::perform(turn)).await,
        OperationKind::Gameday => Box::pin(gameday::perform(turn)).await,
        OperationKind::DestroyServer => Box::pin(destroy_server::perform(turn)).await,
        OperationKind::DestroyResource => Box::pin(destroy_resource::perform(turn)).await,
        OperationKind::Resize => Box::pin(resize::perform(turn)).await,
        OperationKind::Grow => Box::pin(grow::perform(turn)).await,
        OperationKind::Restart => Box::pin(restart::perform(turn)).await,
        OperationKind::Reboot => Box::pin(reboot::perform(turn)).await,
        OperationKind::StopStart => Box::pin(stop_start::perform(turn)).await,
        OperationKind::RotatePassword => Box::pin(rotate_password::perform(turn)).await,
        OperationKind::Reconcile => Box::pin(reconcile::perform(turn)).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

/// No step has this name: the record is of another release.
fn unknown(step: &str) -> Work {
    Err(Outcome::hopeless(format!(
        "this release of drover knows no step `{step}` here"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_fits_its_lease_and_has_a_name_of_its_own() {
        for kind in OperationKind::ALL.iter().copied() {
            let steps = book(kind).steps;
            assert!(!steps.is_empty(), "{kind}");
            for (n, step) in steps.iter().enumerate() {
                assert!(
                    step.limit <= Duration::from_secs(25),
                    "{kind} {}",
                    step.name
                );
                assert!(
                    steps[..n].iter().all(|s| s.name != step.name),
                    "{kind} {}",
                    step.name
                );
            }
        }
    }
}
