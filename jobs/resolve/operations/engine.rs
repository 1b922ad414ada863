//! One turn of an operation: what it looks at, and what it writes, each in one
//! transaction with the move of its token.
//!
//! Lock order: the token, the subject (its lease), the operation, an incident.

mod advance;
mod found;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{
    IncidentKind, Note, Opening, Operation, OperationId, OperationKind, OperationState, Rules,
    SubjectId,
};
use drover::store::incidents;
use drover::store::leases::{self, Fence};
use drover::store::operations::{self, Fact};
use drover::store::queue::{self, Lock};
use drover::store::subjects::{self, Known};
use futures::FutureExt;
use serde_json::json;
use sqlx::PgConnection;

use super::{self as kinds, Context, Did, Ended, Outcome, StepInfo};
use crate::resolve::{OVER, Resolve};
use crate::ring::WorkError;
pub use advance::{advance, current};

/// When a subject that may not be touched just now is tried again.
const LEASED: Duration = Duration::from_millis(500);
/// How often an operation is looked at that is stuck, or not due yet.
const SLOWLY: Duration = Duration::from_secs(60);

/// An operation, and all that a turn has to know of it.
struct Job {
    operation: Operation,
    steps: Vec<StepInfo>,
    known: Option<Known>,
    rules: Arc<Rules>,
    now: DateTime<Utc>,
}

impl Job {
    /// Name of the subject, for people.
    fn name(&self) -> &str {
        self.known
            .as_ref()
            .map_or("the deployment", |known| &known.subject().name)
    }

    fn patience(&self) -> Duration {
        if self.operation.kind.profile().creates {
            self.rules.patience.creation
        } else {
            self.rules.patience.change
        }
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
            let Some(mut tx) = self.held(lock).await? else {
                return Ok(());
            };
            queue::remove_from_resolve(&mut tx, lock.token).await?;
            return Ok(tx.commit().await?);
        };
        if let Some(due) = job.operation.not_before.filter(|due| *due > job.now) {
            let wait = (due - job.now).to_std().unwrap_or_default().min(SLOWLY);
            return self.let_wait(lock, wait).await;
        }
        if job.operation.subject.is_some() && job.known.is_none() {
            return self.cancel(lock, &job).await;
        }
        if job.is_late() {
            let note = job.operation.note.clone().unwrap_or_default();
            let patience = humantime::format_duration(job.patience());
            let why = format!("not done within {patience}: {note}");
            return self.stick(lock, &mut job, &why).await;
        }
        let Some(step) = current(&job.operation, &job.steps) else {
            let why = "this release of drover knows no such step";
            return self.stick(lock, &mut job, why).await;
        };
        let Some(fence) = self.begin_operation(lock, &mut job, step).await? else {
            return Ok(());
        };
        let did = self.perform_operation(&job, step).await;
        self.end_operation(lock, job, step, fence, did).await
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
        let now = drover::store::now(&mut db).await?;
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
            rules,
            now,
        }))
    }

    /// Takes the lease, and says in the record which step is at work. `None`: it may
    /// not begin now; the token has gone on to its next turn.
    async fn begin_operation(
        &self,
        lock: &Lock,
        job: &mut Job,
        step: StepInfo,
    ) -> Result<Option<Option<Fence>>, WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(None);
        };
        let patience = job.patience();
        let operation = &mut job.operation;
        if let Some(Known::Server(server)) = &job.known {
            let id = server.subject.id;
            let first = operations::failover::at_work_on(&mut tx, id).await;
            if first? {
                queue::turn(&mut tx, lock.token, LEASED).await?;
                tx.commit().await?;
                return Ok(None);
            }
        }
        let fence = match operation.subject {
            None => None,
            Some(subject) => {
                let worker = &lock.worker;
                let lease = step.limit + OVER;
                let taken = leases::take(&mut tx, subject, operation.id, worker, lease);
                let Some(fence) = taken.await? else {
                    queue::turn(&mut tx, lock.token, LEASED).await?;
                    tx.commit().await?;
                    return Ok(None);
                };
                Some(fence)
            }
        };
        let steps = u16::try_from(job.steps.len()).unwrap_or(u16::MAX);
        if operation.deadline.is_none() || operation.step_name != step.name {
            operation.deadline = operation.deadline.or(Some(job.now + patience));
            if operation.step_name != step.name {
                operation.step_since = job.now;
            }
            operation.step_name = step.name.to_owned();
            operation.steps = steps;
            if !operations::save(&mut tx, operation).await? {
                drop(tx);
                return self.let_wait(lock, Duration::ZERO).await.map(|()| None);
            }
            operation.revision += 1;
        }
        tx.commit().await?;
        Ok(Some(fence))
    }

    /// Does a step in the world. Nothing that goes wrong there is this job's failure.
    async fn perform_operation(&self, job: &Job, step: StepInfo) -> Did {
        let context = Context {
            operation: &job.operation,
            known: job.known.as_ref(),
            rules: &job.rules,
            tools: &self.tools,
            limit: step.limit,
            now: job.now,
        };
        let work = kinds::of(job.operation.kind).perform(context, step.name);
        let work = AssertUnwindSafe(work).catch_unwind();
        let cut_off = match tokio::time::timeout(step.limit + Duration::from_secs(1), work).await {
            Ok(Ok(did)) => return did,
            Ok(Err(_)) => "the step panicked; the log of the worker says where".to_owned(),
            Err(_) => format!("not done within {:?}", step.limit),
        };
        Did {
            outcome: Outcome::failed(cut_off),
            memo: None,
        }
    }

    /// Writes down how a step ended, what it learnt, and what follows.
    async fn end_operation(
        &self,
        lock: &Lock,
        mut job: Job,
        step: StepInfo,
        fence: Option<Fence>,
        did: Did,
    ) -> Result<(), WorkError> {
        let Did { outcome, memo } = did;
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        let subject = job.operation.subject;
        let leaves = outcome.facts.iter().any(|fact| matches!(fact, Fact::Gone));
        if let (Some(subject), true) = (subject, leaves) {
            // Tokens before subjects, as everywhere.
            queue::hold_token(&mut tx, subject).await?;
            queue::hold_incident_tokens(&mut tx, subject).await?;
        }
        if let (Some(subject), Some(fence)) = (subject, fence)
            && !leases::end_turn(&mut tx, subject, fence, None).await?
        {
            // Its time was up and another turn has begun: this one's word is stale.
            queue::turn(&mut tx, lock.token, LEASED).await?;
            return Ok(tx.commit().await?);
        }
        if let Some(memo) = memo {
            job.operation.memo = memo;
        }
        let last = job.steps.last() == Some(&step);
        if outcome.ended == Ended::Hopeless && job.operation.stuck_at.is_none() {
            // Facts of a step that is hopeless are none; its memo is kept.
            let why = outcome.note.clone();
            self.get_stuck(&mut tx, lock, &mut job, &why).await?;
            return Ok(tx.commit().await?);
        }
        let patience = job.patience();
        // This transaction has begun behind what the step did.
        let now = drover::store::now(&mut tx).await?;
        let (after, note) = advance(&mut job.operation, &job.steps, &outcome, patience, now);
        if let Some(note) = note {
            operations::note(&mut tx, job.operation.id, &lock.worker, &note).await?;
        }
        if !operations::save(&mut tx, &job.operation).await? {
            // Somebody has changed it meanwhile: the step is done again, and finds its
            // work done.
            drop(tx);
            return self.let_wait(lock, Duration::ZERO).await;
        }
        queue::turn(&mut tx, lock.token, after).await?;
        if let Some(subject) = subject {
            for fact in &outcome.facts {
                operations::apply(&mut tx, subject, fact, &lock.worker).await?;
            }
        }
        let news = found::tell(&mut tx, &outcome.findings, &lock.worker).await?;
        if outcome.ended == Ended::Done && last {
            self.over(&mut tx, lock, &job, &outcome.note).await?;
            for fact in &outcome.facts {
                if let Fact::Next(new) = fact {
                    operations::open(&mut tx, new).await?;
                }
            }
        }
        tx.commit().await?;
        for new in news {
            tracing::warn!("{new}");
        }
        let Operation { id, kind, .. } = job.operation;
        let (id, subject) = (id.public(), job.name());
        match (outcome.ended, &job.operation.note) {
            (Ended::Again(_), _) => {}
            (Ended::Done | Ended::Then(_) | Ended::Failed | Ended::Hopeless, Some(why)) => {
                tracing::warn!(operation = %id, %kind, subject, step = step.name, note = %why,
                    "step failed");
            }
            (Ended::Done | Ended::Then(_) | Ended::Failed | Ended::Hopeless, None) => {
                tracing::info!(operation = %id, %kind, subject, step = step.name,
                    note = %outcome.note, "step done");
            }
        }
        Ok(())
    }

    /// It has come to its end: whoever waited for it goes on.
    async fn over(
        &self,
        tx: &mut PgConnection,
        lock: &Lock,
        job: &Job,
        text: &str,
    ) -> Result<(), WorkError> {
        let operation = &job.operation;
        operations::end(tx, operation.id, OperationState::Done, &lock.worker, text).await?;
        if let Some(subject) = operation.subject {
            queue::wake_operations(tx, &[subject]).await?;
            queue::wake_incidents(tx, &[subject]).await?;
            // What was broken on purpose is found when anything broken is.
            if operation.kind != OperationKind::Gameday {
                queue::bring_forward(tx, &[subject]).await?;
            }
        }
        Ok(())
    }

    async fn cancel(&self, lock: &Lock, job: &Job) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        let (id, text) = (job.operation.id, "its subject has left the herd");
        operations::end(&mut tx, id, OperationState::Cancelled, &lock.worker, text).await?;
        Ok(tx.commit().await?)
    }

    async fn let_wait(&self, lock: &Lock, after: Duration) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        queue::turn(&mut tx, lock.token, after).await?;
        Ok(tx.commit().await?)
    }

    async fn stick(&self, lock: &Lock, job: &mut Job, why: &str) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        self.get_stuck(&mut tx, lock, job, why).await?;
        Ok(tx.commit().await?)
    }

    /// A human is needed: an incident says so. The operation goes on slowly, in case
    /// what is in its way goes away.
    async fn get_stuck(
        &self,
        tx: &mut PgConnection,
        lock: &Lock,
        job: &mut Job,
        why: &str,
    ) -> Result<(), WorkError> {
        let reason = format!("{}: {why}", job.progress());
        let creates = job.operation.kind.profile().creates;
        let operation = &mut job.operation;
        operation.stuck_at = Some(job.now);
        operation.note = Some(reason.clone());
        if !operations::save(tx, operation).await? {
            return Ok(queue::turn(tx, lock.token, Duration::ZERO).await?);
        }
        let mut note = Note::new("stuck", format!("a human is needed: {reason}"));
        note.detail = json!({ "step": operation.step_name });
        operations::note(tx, operation.id, &lock.worker, &note).await?;
        queue::turn(tx, lock.token, SLOWLY).await?;
        if let Some(subject) = operation.subject {
            let opening = Opening {
                kind: if creates {
                    IncidentKind::CreationStuck
                } else {
                    IncidentKind::ChangeStuck
                },
                reason: reason.clone(),
            };
            incidents::open(tx, Some(subject), &opening, &lock.worker).await?;
        }
        tracing::warn!(operation = %operation.id.public(), kind = %operation.kind,
            %reason, "an operation is stuck");
        Ok(())
    }
}
