//! One turn of an operation: what it looks at, and what it writes, each in one
//! transaction with the move of its token.
//!
//! Lock order: the token, the subject (its lease), the operation, an incident.

mod advance;
mod begin;
mod end;
mod found;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use drover::model::{
    Incident, Observation, Operation, OperationId, OperationKind, OperationState, Rules, SubjectId,
};
use drover::store::queue::{self, Lock};
use drover::store::subjects::{self, Known};
use drover::store::{incidents, observations, operations};
use futures::FutureExt;

use super::{self as kinds, Context, Did, Ended, Outcome, StepInfo};
use crate::resolve::Resolve;
use crate::ring::WorkError;
pub use advance::{advance, current, ends_as};
use begin::Begun;
pub use begin::{goes_on_alone, unwanted};

/// When a subject that may not be touched just now is tried again.
const LEASED: Duration = Duration::from_millis(500);
/// A step is cut off this much after its limit, and this much before its lease ends.
const CUT_OFF: Duration = Duration::from_secs(1);
/// How often an operation is looked at that is stuck, or not due yet.
const SLOWLY: Duration = Duration::from_secs(60);
/// What an incident asks for has this long, however little time the incident has left.
const SHORTEST: Duration = Duration::from_secs(30);

/// How often while the record is in doubt.
const OLD_RECORD: Duration = Duration::from_secs(5);

/// Whether one of this kind waits while the record is in doubt.
fn changes_the_world(kind: OperationKind) -> bool {
    !matches!(kind, OperationKind::AdoptRecord | OperationKind::Reconcile)
}

/// An operation, and all that a turn has to know of it.
struct Job {
    operation: Operation,
    steps: Vec<StepInfo>,
    known: Option<Known>,
    /// What has asked for it, and what was seen last of its subject then.
    incident: Option<Incident>,
    seen: Option<Observation>,
    rules: Arc<Rules>,
    /// Whether servers know more than the record.
    record_is_old: bool,
    now: DateTime<Utc>,
}

impl Job {
    /// Name of the subject, for people.
    fn name(&self) -> &str {
        self.known
            .as_ref()
            .map_or("the deployment", |known| &known.subject().name)
    }

    /// How long it may take from its first turn on. What an incident has asked for has
    /// the incident's time.
    fn patience(&self) -> Duration {
        if let Some(incident) = self.incident.as_ref().filter(|_| !self.goes_on_alone()) {
            let left = incident.deadline.map(|by| by - self.now);
            let left = left.and_then(|left| left.to_std().ok());
            return left.unwrap_or_default().max(SHORTEST);
        }
        if self.operation.kind.profile().creates {
            self.rules.patience.creation
        } else {
            self.rules.patience.change
        }
    }

    /// Whether it goes on whatever becomes of the incident that has asked for it.
    fn goes_on_alone(&self) -> bool {
        kinds::goes_on_alone(&self.operation)
    }

    fn is_late(&self) -> bool {
        let operation = &self.operation;
        operation.stuck_at.is_none() && operation.deadline.is_some_and(|by| by <= self.now)
    }

    /// `step 3 of 7 (wait for its sshd)`.
    fn progress(&self) -> String {
        let does = current(&self.operation, &self.steps).map_or("", |step| step.does);
        let (step, steps) = (self.operation.step + 1, self.steps.len());
        format!("step {step} of {steps} ({does})")
    }
}

impl Resolve {
    /// One turn.
    pub(in crate::resolve) async fn operate(
        &self,
        lock: &Lock,
        id: OperationId,
    ) -> Result<(), WorkError> {
        let Some(mut job) = self.load_operation(id).await? else {
            let mut tx = self.held(lock).await?;
            queue::remove_from_resolve(&mut tx, lock.token).await?;
            return Ok(tx.commit().await?);
        };
        if job.operation.subject.is_some() && job.known.is_none() {
            return self.cancel(lock, &job).await;
        }
        if job.record_is_old && changes_the_world(job.operation.kind) {
            return self.let_wait(lock, OLD_RECORD).await;
        }
        let Some(step) = current(&job.operation, &job.steps) else {
            let why = "this release of drover knows no such step";
            return self.stick(lock, &mut job, why).await;
        };
        if let Some(why) = unwanted(&job.operation, job.incident.as_ref(), step) {
            return self.skip(lock, &job, &why).await;
        }
        if let Some(due) = job.operation.not_before.filter(|due| *due > job.now) {
            let wait = (due - job.now).to_std().unwrap_or_default().min(SLOWLY);
            return self.let_wait(lock, wait).await;
        }
        if job.is_late() {
            let note = job.operation.note.clone().unwrap_or_default();
            let ours = job.incident.is_some() && !job.goes_on_alone();
            let patience = match ours {
                true => "its incident's time".to_owned(),
                false => humantime::format_duration(job.patience()).to_string(),
            };
            let why = format!("not done within {patience}: {note}");
            if ours && step.may_end {
                return self.fail(lock, &job, &why).await;
            }
            return self.stick(lock, &mut job, &why).await;
        }
        let Some(begun) = self.begin_operation(lock, &mut job, step).await? else {
            return Ok(());
        };
        let did = self.perform_operation(&job, step, &begun).await;
        self.end_operation(lock, job, step, begun, did).await
    }

    async fn load_operation(&self, id: OperationId) -> Result<Option<Job>, WorkError> {
        let mut db = self.pool.acquire().await?;
        let found = operations::load(&mut db, id).await?;
        let Some(operation) = found.filter(|o| o.state == OperationState::Open) else {
            return Ok(None);
        };
        let wanted: Vec<SubjectId> = operation.subject.into_iter().collect();
        let row = subjects::load(&mut db, &wanted).await?.pop();
        let known = row
            .map(|row| row.open(&self.tools.secret_key))
            .transpose()?;
        let incident = match operation.incident {
            Some(id) => incidents::load(&mut db, id).await?,
            None => None,
        };
        let seen = match incident {
            Some(_) => observations::newest(&mut db, &wanted).await?.pop(),
            None => None,
        };
        let now = drover::store::now(&mut db).await?;
        let record_is_old = incidents::old_record(&mut db).await?.is_some();
        // The rules are read over a connection of their own.
        drop(db);
        let rules = match &known {
            Some(known) => self.rules.of(&known.subject().tier).await?,
            None => Arc::default(),
        };
        Ok(Some(Job {
            steps: kinds::of(operation.kind).steps(),
            operation,
            known,
            incident,
            seen: seen.map(|(_, seen)| seen),
            rules,
            record_is_old,
            now,
        }))
    }

    /// Does a step in the world. Nothing that goes wrong there is this job's failure.
    async fn perform_operation(&self, job: &Job, step: StepInfo, begun: &Begun) -> Did {
        let refused = OnceLock::new();
        let context = Context {
            operation: &job.operation,
            known: job.known.as_ref(),
            incident: job.incident.as_ref(),
            seen: job.seen.as_ref(),
            rules: &job.rules,
            tools: &self.tools,
            limit: step.limit,
            now: job.now,
            leases: &begun.leases,
            until: begun.until,
            refused: &refused,
        };
        let work = kinds::of(job.operation.kind).perform(context, step.name);
        let work = AssertUnwindSafe(work).catch_unwind();
        // Whatever it has under way ends before its lease does.
        let left = begun.until.saturating_duration_since(Instant::now());
        let limit = (step.limit + CUT_OFF).min(left.saturating_sub(CUT_OFF));
        let cut_off = match tokio::time::timeout(limit, work).await {
            Ok(Ok(did)) => Ok(did),
            Ok(Err(_)) => Err("the step panicked; the log of the worker says where".to_owned()),
            Err(_) => Err(format!("not done within {limit:?}")),
        };
        let mut did = cut_off.unwrap_or_else(|why| Did {
            outcome: Outcome::failed(why),
            memo: None,
        });
        if let Some(why) = refused.into_inner() {
            (did.outcome.ended, did.outcome.note) = (Ended::Refused, why);
        }
        did
    }
}
