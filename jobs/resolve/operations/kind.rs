//! What a kind of operation is: steps that are functions, with what was asked and what
//! later steps must know as types of its own.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use drover::model::{
    Cloud, Incident, Observation, Operation as Asked, OperationId, OperationKind, Resource, Rules,
    Server, SubjectId,
};
use drover::store::leases::Fence;
use drover::store::operations::Fact;
use drover::store::orphans::Orphan;
use drover::store::subjects::Known;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::leased::LeasedCloud;
use crate::cloud::CloudError;
use crate::resolve::Tools;

/// One kind of operation: one file, a function for each step.
pub trait Operation: Send + Sync + Sized + 'static {
    /// What was asked. Never a secret.
    type Params: DeserializeOwned + Send + Sync;
    /// What later steps must know of the ones before. Never a secret.
    type Memo: Serialize + DeserializeOwned + Default + Send + Sync;
    /// Its name in the record.
    const KIND: OperationKind;
    /// In this order, but for [`Ended::Then`].
    const STEPS: &'static [Step<Self>];

    /// Whom else than its subject this step changes: the other end of a slot, who is to
    /// lead. All of them are leased for the step, or none.
    fn also_changes(_step: &str, _known: Option<&Known>, _memo: &Self::Memo) -> Vec<SubjectId> {
        vec![]
    }
}

/// Whom a subject follows, by the record.
pub(super) fn follows(known: Option<&Known>) -> Vec<SubjectId> {
    match known {
        Some(Known::Resource(resource, _)) => resource.leader.into_iter().collect(),
        Some(Known::Server(_)) | None => vec![],
    }
}

/// Nothing but the kind was asked.
#[derive(Deserialize)]
pub struct NoParams {}

/// No step needs to know anything of the ones before.
#[derive(Default, Serialize, Deserialize)]
pub struct NoMemo {}

/// One step: what happens between two entries in the record.
pub struct Step<O: Operation> {
    /// Its name in the record: `await_ssh`.
    pub name: &'static str,
    /// What it does, for people: `wait for its sshd`.
    pub does: &'static str,
    /// How long one turn of it may take; at most 25 s. What takes longer answers
    /// [`Ended::Again`] and is asked after.
    pub limit: Duration,
    /// Whether nothing is half done before it: then what an incident has asked for may
    /// end here, because it is not wanted any more, or because this step fails.
    pub may_end: bool,
    /// How often it may fail in a row before that ends what an incident has asked for.
    pub tries: u32,
    /// Whether it only watches what goes on by itself. While it waits
    /// ([`Ended::Again`]), others may act on its subject and its server.
    pub watches: bool,
    /// Does it. It looks first whether its work is done already, for whoever began it
    /// may have died over it.
    pub run: for<'t, 'a> fn(&'t mut Turn<'a, O>) -> BoxFuture<'t, Work>,
}

/// A step that an asynchronous function does: `step!("name", "what it does" => function)`.
macro_rules! step {
    ($name:literal, $does:literal => $run:path) => {
        $crate::resolve::operations::kind::Step::new($name, $does, |turn| Box::pin($run(turn)))
    };
}
pub(super) use step;

impl<O: Operation> Step<O> {
    /// A step of 20 s at most.
    pub const fn new(
        name: &'static str,
        does: &'static str,
        run: for<'t, 'a> fn(&'t mut Turn<'a, O>) -> BoxFuture<'t, Work>,
    ) -> Self {
        Self {
            name,
            does,
            limit: Duration::from_secs(20),
            may_end: false,
            tries: 1,
            watches: false,
            run,
        }
    }

    /// The same step with another limit.
    pub const fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The same for a step before which nothing is half done.
    pub const fn may_end(self) -> Self {
        Self {
            may_end: true,
            ..self
        }
    }

    /// The same for a step that may fail more than once in a row.
    pub const fn tries(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    /// The same for a step that only watches.
    pub const fn watching(self) -> Self {
        Self {
            watches: true,
            ..self
        }
    }
}

/// One step to be done, of any kind of operation.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Of which operation.
    pub operation: &'a Asked,
    /// On what; `None`: the deployment.
    pub known: Option<&'a Known>,
    /// The incident that has asked for it, if one has.
    pub incident: Option<&'a Incident>,
    /// What was seen last of its subject, if an incident has asked for it.
    pub seen: Option<&'a Observation>,
    /// The rules of the subject's tier.
    pub rules: &'a Rules,
    /// What to work with.
    pub tools: &'a Tools,
    /// How long it may take.
    pub limit: Duration,
    /// The control database's clock, when the turn began.
    pub now: DateTime<Utc>,
    /// The leases that the turn has: its subject's first.
    pub leases: &'a [(SubjectId, Fence)],
    /// When they end, by this worker's clock.
    pub until: Instant,
    /// Why a server did not obey a word that is the record's newest: the record is wrong, and
    /// the step ends with a human, whatever else comes of it.
    pub refused: &'a OnceLock<String>,
}

/// One step to be done, of this kind of operation.
pub struct Turn<'a, O: Operation> {
    /// What any step has to know.
    pub context: Context<'a>,
    /// What was asked.
    pub params: O::Params,
    /// What is left for later steps: written down with the step, however it ends.
    pub memo: O::Memo,
}

impl<'a, O: Operation> Deref for Turn<'a, O> {
    type Target = Context<'a>;

    fn deref(&self) -> &Context<'a> {
        &self.context
    }
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
    /// The same of what goes on by itself: it has time for as long as it says something new.
    GoesOn(Duration),
    /// It failed, and is tried again, ever more slowly.
    Failed,
    /// It failed, and only a human can help: they are told at once.
    Hopeless,
    /// A server knows a newer word than the record: nothing was changed there, and a human
    /// has to look, whoever has asked for it.
    Refused,
    /// It failed for good, and nothing is half done: what an incident has asked for ends
    /// so. Of what a human has asked for, a failure.
    GaveUp,
    /// There is nothing to do, or it cannot be done here: what an incident has asked
    /// for ends so, and is not tried again. Of what a human has asked for, a failure.
    Skipped,
}

/// What came of a step.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What was done, is waited for or went wrong, for people. Never a secret.
    pub note: String,
    /// What it touched in the world, for people: `cluster 15/app on pg-1`.
    pub touched: Vec<String>,
    /// What the record is told of the subject, in the step's transaction.
    pub facts: Vec<Fact>,
    /// What it is told beyond that, by an operation of the deployment's.
    pub findings: Vec<Finding>,
}

/// What an operation of the deployment's has found.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A region with its zones, or why they are not known.
    Region(Cloud, String, Result<Vec<String>, String>),
    /// All in a region that is nobody's.
    Orphans(Cloud, String, Vec<Orphan>),
    /// A server whose instance is gone, and the cloud's words.
    Vanished(SubjectId, String),
    /// A follower of this resource leads: a hand-over.
    Leads(SubjectId, Box<Fact>),
    /// The record is as the servers know it, by this operation's word.
    Raised(OperationId),
    /// The record is another's copy.
    Copy,
}

impl Outcome {
    /// An outcome without facts.
    pub fn new(ended: Ended, note: impl Into<String>) -> Self {
        Self {
            ended,
            note: note.into(),
            touched: vec![],
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

    /// The step waits for what goes on by itself.
    pub fn goes_on(after: Duration, says: impl Into<String>) -> Self {
        Self::new(Ended::GoesOn(after), says)
    }

    /// The step failed.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::new(Ended::Failed, why)
    }

    /// The step failed, and only a human can help.
    pub fn hopeless(why: impl Into<String>) -> Self {
        Self::new(Ended::Hopeless, why)
    }

    /// There is nothing to do, or it cannot be done here.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self::new(Ended::Skipped, why)
    }

    /// It failed for good, and nothing is half done.
    pub fn gave_up(why: impl Into<String>) -> Self {
        Self::new(Ended::GaveUp, why)
    }

    /// Says what was touched.
    pub fn touching(mut self, what: impl Into<String>) -> Self {
        self.touched.push(what.into());
        self
    }

    /// Says what the incident owes from now on.
    pub fn owing(self, what: impl Into<Value>) -> Self {
        self.with(Fact::Owes(what.into()))
    }

    /// Tells the record something.
    pub fn with(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
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

impl From<sqlx::Error> for Outcome {
    /// The record is asked again.
    fn from(error: sqlx::Error) -> Self {
        Self::failed(format!("the control database does not answer: {error}"))
    }
}

impl<'a> Context<'a> {
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
    pub fn cloud(&self, server: &Server) -> Result<LeasedCloud<'a>, Outcome> {
        let name = &server.subject.name;
        let cloud = server
            .cloud
            .ok_or_else(|| Outcome::hopeless(format!("{name} is in no cloud")))?;
        let region = server.region.as_deref();
        let found = self.tools.context.clouds.of(cloud, region);
        let found = found.map(|cloud| LeasedCloud::new(cloud, *self));
        found.ok_or_else(|| {
            let region = region.unwrap_or("its region");
            Outcome::hopeless(format!(
                "this worker has no access to {region} of the cloud {cloud}; see docs/clouds.md"
            ))
        })
    }

    /// How long this step has been at work, over all its turns.
    pub fn waited(&self) -> Duration {
        let waited = self.now - self.operation.step_since;
        waited.to_std().unwrap_or_default()
    }
}

/// A step as the record and people know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Its name in the record.
    pub name: &'static str,
    /// What it does, for people.
    pub does: &'static str,
    /// How long one turn of it may take.
    pub limit: Duration,
    /// See [`Step::may_end`].
    pub may_end: bool,
    /// See [`Step::tries`].
    pub tries: u32,
    /// See [`Step::watches`].
    pub watches: bool,
}

/// A step that was done, and what it left for later ones; `None`: what there was.
pub struct Did {
    /// What came of it.
    pub outcome: Outcome,
    /// The memo to be written down.
    pub memo: Option<Value>,
}

/// A kind of operation, whichever it is.
pub trait AnyOperation: Sync {
    /// Its name in the record.
    fn kind(&self) -> OperationKind;

    /// Its steps, in order.
    fn steps(&self) -> Vec<StepInfo>;

    /// Whom a step changes besides the operation's subject ([`Operation::also_changes`]).
    fn also_changes(&self, operation: &Asked, known: Option<&Known>) -> Vec<SubjectId>;

    /// Does the step of this name.
    fn perform<'t>(&'t self, context: Context<'t>, step: &'t str) -> BoxFuture<'t, Did>;

    /// Whether a memo as the record has it can be read.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn reads(&self, memo: &Value) -> Result<(), serde_json::Error>;
}

/// The kind `O`, as the registry holds it.
pub(super) struct Of<O>(pub(super) PhantomData<O>);

impl<O: Operation> AnyOperation for Of<O> {
    fn kind(&self) -> OperationKind {
        O::KIND
    }

    fn steps(&self) -> Vec<StepInfo> {
        let info = |step: &Step<O>| StepInfo {
            name: step.name,
            does: step.does,
            limit: step.limit,
            may_end: step.may_end,
            tries: step.tries,
            watches: step.watches,
        };
        O::STEPS.iter().map(info).collect()
    }

    fn also_changes(&self, operation: &Asked, known: Option<&Known>) -> Vec<SubjectId> {
        // A memo that cannot be read is a failure of the step, which says so.
        let Ok(memo) = serde_json::from_value(operation.memo.clone()) else {
            return vec![];
        };
        let mut also = O::also_changes(&operation.step_name, known, &memo);
        also.retain(|id| Some(*id) != operation.subject);
        also.sort_unstable();
        also.dedup();
        also
    }

    fn perform<'t>(&'t self, context: Context<'t>, step: &'t str) -> BoxFuture<'t, Did> {
        let untouched = |outcome| Did {
            outcome,
            memo: None,
        };
        // On the heap: a cloud's work is large for a worker's stack.
        Box::pin(async move {
            let Some(step) = O::STEPS.iter().find(|known| known.name == step) else {
                let why = format!("this release of drover knows no step `{step}` here");
                return untouched(Outcome::hopeless(why));
            };
            let operation = context.operation;
            let read = serde_json::from_value(operation.params.clone())
                .map_err(|e| format!("what was asked cannot be read: {e}"));
            let params = match read {
                Ok(params) => params,
                Err(why) => return untouched(Outcome::hopeless(why)),
            };
            let memo = match serde_json::from_value(operation.memo.clone()) {
                Ok(memo) => memo,
                Err(e) => {
                    let why = format!("what its steps have left cannot be read: {e}");
                    return untouched(Outcome::hopeless(why));
                }
            };
            let mut turn = Turn {
                context,
                params,
                memo,
            };
            let outcome = (step.run)(&mut turn).await;
            let outcome = outcome.unwrap_or_else(|outcome| outcome);
            match serde_json::to_value(&turn.memo) {
                Ok(memo) => Did {
                    outcome,
                    memo: Some(memo),
                },
                Err(e) => untouched(Outcome::failed(format!("its memo cannot be written: {e}"))),
            }
        })
    }

    fn reads(&self, memo: &Value) -> Result<(), serde_json::Error> {
        serde_json::from_value::<O::Memo>(memo.clone()).map(drop)
    }
}
