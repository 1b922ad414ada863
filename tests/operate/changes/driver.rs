//! Plays the ring's part of resolve: does the steps of an operation in the world, and
//! writes what they leave behind. Of what an incident has asked for, the incident's own
//! part is `resolve::driver::Case`.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use drover::model::{ExposeSecret, Incident, Observation, Operation, OperationState, Secret};
use drover::store::incidents;
use drover::store::operations::{self, Fact};
use drover::store::queue::Queue;
use drover_jobs::resolve::operations::{self as operate, Context, Did, Ended, Outcome, StepInfo};
use drover_tests::sql;
use serde_json::{Value, json};

use crate::herd::MOST_TURNS;
pub use crate::herd::{Cut, World, session, superuser};

/// Whether a human is called at once.
fn needs_human(ended: &Ended) -> bool {
    matches!(ended, Ended::Hopeless | Ended::Refused)
}

/// How long an operation may take; nothing here is ever late.
const PATIENCE: Duration = Duration::from_secs(600);

/// All ways for a worker to die.
pub const CUTS: [Cut; 4] = [
    Cut::Never,
    Cut::AfterEffect,
    Cut::Midway(Duration::from_millis(60)),
    Cut::Midway(Duration::from_millis(400)),
];

/// The incident that has asked for an operation.
pub struct Asker {
    pub incident: Incident,
    /// What was seen last of its subject.
    pub seen: Option<Observation>,
    pub remedy: &'static str,
}

/// A step that was done, and what came of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// As which remedy, if an incident has asked for it.
    pub remedy: Option<&'static str>,
    pub step: &'static str,
    pub ended: Ended,
    /// How its operation stood then.
    pub state: OperationState,
    pub touched: Vec<String>,
    pub note: String,
}

impl Done {
    /// Why its operation was skipped, if it was.
    pub fn skipped(&self) -> Option<&str> {
        (self.state == OperationState::Skipped).then_some(self.note.as_str())
    }

    /// Why its operation has failed, if it has.
    pub fn failed(&self) -> Option<&str> {
        (self.state == OperationState::Failed).then_some(self.note.as_str())
    }
}

/// An operation at work.
pub struct Change<'a> {
    pub world: &'a World,
    pub operation: Operation,
    /// `None`: a person has asked for it.
    pub asker: Option<Asker>,
    pub cut: Cut,
    /// Every turn that the record would know of.
    pub done: Vec<Done>,
}

impl Change<'_> {
    /// The same, with workers that die at each step.
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    /// The same with a sealed secret.
    pub async fn with(mut self, secret: &Secret) -> Self {
        let bound = format!("{}/secret", self.operation.id);
        let sealed = self.world.tools.secret_key.seal(secret, &bound).unwrap();
        let mut db = self.world.pool.acquire().await.unwrap();
        operations::entrust(&mut db, self.operation.id, &sealed)
            .await
            .unwrap();
        assert!(!secret.expose_secret().is_empty());
        self.operation.secret = Some(sealed);
        self
    }

    /// Turns until it is done, or hopeless: then gives why.
    pub async fn run(&mut self) -> Result<(), String> {
        for _ in 0..MOST_TURNS {
            let done = self.advance().await;
            match done.state {
                OperationState::Done => return Ok(()),
                OperationState::Open if !needs_human(&done.ended) => {}
                OperationState::Open
                | OperationState::Failed
                | OperationState::Skipped
                | OperationState::Cancelled => return Err(done.note),
            }
        }
        panic!("no end:\n{}", self.story());
    }

    /// Turns until this step is the next.
    pub async fn run_to(&mut self, name: &str) {
        for _ in 0..MOST_TURNS {
            if self.next().name == name {
                return;
            }
            let done = self.advance().await;
            let goes_on = done.state == OperationState::Open && !needs_human(&done.ended);
            assert!(goes_on, "{name} is never next:\n{}", self.story());
        }
        panic!("{name} is never next:\n{}", self.story());
    }

    fn steps(&self) -> Vec<StepInfo> {
        operate::of(self.operation.kind).steps()
    }

    /// The step that is next.
    pub fn next(&self) -> StepInfo {
        operate::current(&self.operation, &self.steps()).unwrap()
    }

    /// Takes a turn, and waits for as long as it says.
    pub async fn advance(&mut self) -> Done {
        let step = self.next();
        let Did { outcome, memo } = self.turn(step).await;
        self.write(step, &outcome, memo).await;
        let done = Done {
            remedy: self.asker.as_ref().map(|asker| asker.remedy),
            step: step.name,
            ended: outcome.ended,
            state: self.operation.state,
            touched: outcome.touched,
            note: outcome.note,
        };
        self.done.push(done.clone());
        if done.state == OperationState::Open {
            match done.ended {
                Ended::Done | Ended::Then(_) | Ended::Hopeless | Ended::Refused => {}
                Ended::Again(after) | Ended::GoesOn(after) => tokio::time::sleep(after).await,
                Ended::Failed | Ended::Skipped | Ended::GaveUp => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
        done
    }

    /// What is written when a step begins stays, whoever dies over it.
    async fn turn(&mut self, step: StepInfo) -> Did {
        let now = self.now().await;
        if self.operation.step_name != step.name {
            self.operation.step_name = step.name.into();
            self.operation.step_since = now;
        }
        self.operation.deadline = self.operation.deadline.or(Some(now + PATIENCE));
        self.cut.cuts_off(self.perform(step)).await;
        Box::pin(self.perform(step)).await
    }

    /// A step once more, whatever is next: as by a worker whose predecessor was cut
    /// off, and who comes late. Nothing of it is written.
    pub async fn again(&self, name: &str) -> Outcome {
        let mut steps = self.steps().into_iter();
        let step = steps.find(|step| step.name == name).unwrap();
        Box::pin(self.perform(step)).await.outcome
    }

    async fn perform(&self, step: StepInfo) -> Did {
        let known = match self.operation.subject {
            Some(subject) => Some(self.world.known(subject).await),
            None => None,
        };
        let asker = self.asker.as_ref();
        let refused = OnceLock::new();
        let context = Context {
            operation: &self.operation,
            known: known.as_ref(),
            incident: asker.map(|asker| &asker.incident),
            seen: asker.and_then(|asker| asker.seen.as_ref()),
            rules: &self.world.rules,
            tools: &self.world.tools,
            limit: step.limit,
            now: self.now().await,
            leases: &[],
            until: Instant::now() + step.limit + Duration::from_secs(5),
            refused: &refused,
        };
        let most = step.limit + Duration::from_secs(1);
        let work = operate::of(self.operation.kind).perform(context, step.name);
        let done = tokio::time::timeout(most, work).await;
        done.unwrap_or_else(|_| Did {
            outcome: Outcome::failed(format!("not done within {most:?}")),
            memo: None,
        })
    }

    /// What the ring writes with a step.
    async fn write(&mut self, step: StepInfo, outcome: &Outcome, memo: Option<Value>) {
        let now = self.now().await;
        let steps = self.steps();
        if let Some(memo) = memo {
            self.operation.memo = memo;
        }
        let mut tx = self.world.pool.begin().await.unwrap();
        for fact in &outcome.facts {
            let (Some(incident), Fact::Owes(what)) = (self.operation.incident, fact) else {
                continue;
            };
            incidents::owe(&mut tx, incident, what).await.unwrap();
        }
        let ends = operate::ends_as(&self.operation, step, &outcome.ended);
        if ends.is_none() && needs_human(&outcome.ended) {
            self.operation.stuck_at = Some(now);
        } else if ends.is_none() {
            operate::advance(&mut self.operation, &steps, outcome, PATIENCE, now);
            if let Some(subject) = self.operation.subject {
                for fact in &outcome.facts {
                    operations::apply(&mut tx, subject, fact, "test")
                        .await
                        .unwrap();
                }
            }
        }
        tx.commit().await.unwrap();
        if let Some(state) = ends {
            self.end(state, &outcome.note).await;
        } else if usize::from(self.operation.step) >= steps.len() {
            self.end(OperationState::Done, &outcome.note).await;
        }
    }

    /// It is over.
    pub async fn end(&mut self, state: OperationState, text: &str) {
        let mut tx = self.world.pool.begin().await.unwrap();
        let id = self.operation.id;
        let ended = operations::end(&mut tx, id, state, "test", text).await;
        assert!(ended.unwrap(), "it was over already:\n{}", self.story());
        let ended = operations::load(&mut tx, id).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        self.operation.state = ended.state;
        self.operation.ended_at = ended.ended_at;
        self.operation.note = ended.note;
    }

    async fn now(&self) -> DateTime<Utc> {
        sql::scalar(&self.world.pool, "select now()", ()).await
    }

    /// What was done, for whoever reads a failed test.
    pub fn story(&self) -> String {
        let lines = self.done.iter().map(|done| format!("{done:?}\n"));
        format!("{}{:?}", lines.collect::<String>(), self.operation.memo)
    }
}

/// A world without rules of its own.
pub async fn world(name: &str) -> World {
    World::new(name, &json!({})).await
}

/// feel and think.
pub const EYES: &[Queue] = &[Queue::Feel, Queue::Think];
/// The same, and resolve.
pub const ALL: &[Queue] = &[Queue::Feel, Queue::Think, Queue::Resolve];
