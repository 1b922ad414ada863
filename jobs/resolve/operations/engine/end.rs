//! Behind a step: what it has learnt, what follows, and how an operation ends.

use std::time::Duration;

use drover::model::{IncidentKind, Note, Opening, Operation, OperationKind, OperationState};
use drover::store::operations::{self, Fact};
use drover::store::queue::{self, Lock, Token};
use drover::store::{incidents, leases, runs};
use serde_json::json;
use sqlx::PgConnection;

use super::begin::{Begun, goes_on_alone};
use super::{Job, LEASED, SLOWLY, advance, ends_as, found};
use crate::resolve::Resolve;
use crate::resolve::operations::{Did, Ended, StepInfo};
use crate::ring::WorkError;

/// How long the lease is kept for the next step of what an incident has asked for.
const HANDED_ON: Duration = Duration::from_secs(60);

/// Whether the lease is kept for the operation's next turn. What only watches leaves the
/// subject to whoever has something to do there, for as long as it takes; and so does what
/// goes on alone, or what a person has asked for: it has its turn at its subject, but not
/// at everything on it.
fn keeps(job: &Job, step: StepInfo, ended: &Ended) -> bool {
    if job.incident.is_none() || job.goes_on_alone() {
        return false;
    }
    match ended {
        Ended::Again(_) | Ended::GoesOn(_) => !step.watches,
        Ended::Done => job.steps.last() != Some(&step),
        Ended::Then(_) => true,
        Ended::Failed => !step.may_end,
        Ended::Hopeless | Ended::Refused | Ended::Skipped | Ended::GaveUp => false,
    }
}

/// The word of the record for how a step ended.
fn word(ended: &Ended) -> &'static str {
    match ended {
        Ended::Done | Ended::Then(_) => "done",
        Ended::Again(_) | Ended::GoesOn(_) => "again",
        Ended::Skipped => "skipped",
        Ended::Failed | Ended::Hopeless | Ended::Refused | Ended::GaveUp => "failed",
    }
}

impl Resolve {
    /// Writes down how a step ended, what it learnt, and what follows.
    pub(super) async fn end_operation(
        &self,
        lock: &Lock,
        mut job: Job,
        step: StepInfo,
        begun: Begun,
        did: Did,
    ) -> Result<(), WorkError> {
        let Did { outcome, memo } = did;
        let mut tx = self.held(lock).await?;
        let subject = job.operation.subject;
        let leaves = |fact: &Fact| matches!(fact, Fact::Gone | Fact::Unneeded);
        if let (Some(subject), true) = (subject, outcome.facts.iter().any(leaves)) {
            // Tokens before subjects, as everywhere.
            queue::hold_operation_tokens(&mut tx, subject).await?;
            queue::hold_token(&mut tx, Token::Subject(subject)).await?;
            queue::hold_incident_tokens(&mut tx, subject).await?;
        }
        let hand_on = keeps(&job, step, &outcome.ended).then_some(HANDED_ON);
        for (n, (leased, fence)) in begun.leases.iter().enumerate() {
            let hand_on = hand_on.filter(|_| n == 0);
            if leases::end_turn(&mut tx, *leased, *fence, hand_on).await? {
                continue;
            }
            // Its time was up and another turn has begun: this one's word is stale.
            queue::turn(&mut tx, lock.token, LEASED).await?;
            return Ok(tx.commit().await?);
        }
        if let Some(memo) = memo {
            job.operation.memo = memo;
        }
        let last = job.steps.last() == Some(&step);
        let word = word(&outcome.ended);
        runs::ended(&mut tx, &begun.run, word, &outcome.touched, &outcome.note).await?;
        for fact in &outcome.facts {
            if let (Some(incident), Fact::Owes(what)) = (job.operation.incident, fact) {
                incidents::owe(&mut tx, incident, what).await?;
            }
        }
        if let Some(state) = ends_as(&job.operation, step, &outcome.ended) {
            self.finish(&mut tx, lock, &job, state, &outcome.note)
                .await?;
            return Ok(tx.commit().await?);
        }
        let calls = matches!(outcome.ended, Ended::Hopeless | Ended::Refused);
        if calls && job.operation.stuck_at.is_none() {
            // Facts of such a step are none; its memo is kept.
            let why = outcome.note.clone();
            self.get_stuck(&mut tx, lock, &mut job, &why).await?;
            return Ok(tx.commit().await?);
        }
        let patience = job.patience();
        // This transaction has begun behind what the step did.
        let now = drover::store::now(&mut tx).await?;
        let (after, note) = advance(&mut job.operation, &job.steps, &outcome, patience, now);
        if let Some(mut note) = note {
            note.detail["touched"] = json!(outcome.touched);
            operations::note(&mut tx, job.operation.id, &lock.worker, &note).await?;
            if let (Some(incident), "step") = (job.operation.incident, note.kind.as_str()) {
                note.detail["remedy"] = json!(begun.run.remedy);
                incidents::note(&mut tx, incident, &lock.worker, &note).await?;
            }
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
            operations::follow_up(&mut tx, subject, &outcome.facts, &job.operation.id.public())
                .await?;
        }
        tx.commit().await?;
        for new in news {
            tracing::warn!("{new}");
        }
        let Operation { id, kind, .. } = job.operation;
        let (id, subject) = (id.public(), job.name());
        match (outcome.ended, &job.operation.note) {
            (Ended::Again(_) | Ended::GoesOn(_), _) => {}
            (_, Some(why)) => {
                tracing::warn!(operation = %id, %kind, subject, step = step.name, note = %why,
                    "step failed");
            }
            (_, None) => {
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
        self.finish(tx, lock, job, OperationState::Done, text)
            .await?;
        let operation = &job.operation;
        if let Some(subject) = operation.subject {
            // What was broken on purpose is found when anything broken is.
            if operation.kind != OperationKind::Gameday {
                queue::bring_forward(tx, &[subject]).await?;
            }
        }
        Ok(())
    }

    /// It is over in one way or another: whoever waited for it goes on.
    async fn finish(
        &self,
        tx: &mut PgConnection,
        lock: &Lock,
        job: &Job,
        state: OperationState,
        text: &str,
    ) -> Result<(), WorkError> {
        let operation = &job.operation;
        operations::end(tx, operation.id, state, &lock.worker, text).await?;
        if let Some(incident) = operation.incident {
            queue::wake(tx, Token::Incident(incident)).await?;
        }
        if let Some(subject) = operation.subject {
            queue::wake_operations(tx, &[subject]).await?;
            queue::wake_incidents(tx, &[subject]).await?;
            leases::drop_handed_on(tx, subject, operation.id).await?;
        }
        Ok(())
    }

    /// It ends without being done.
    pub(super) async fn skip(&self, lock: &Lock, job: &Job, why: &str) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        self.finish(&mut tx, lock, job, OperationState::Skipped, why)
            .await?;
        Ok(tx.commit().await?)
    }

    /// It ends because it has failed.
    pub(super) async fn fail(&self, lock: &Lock, job: &Job, why: &str) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        self.finish(&mut tx, lock, job, OperationState::Failed, why)
            .await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn cancel(&self, lock: &Lock, job: &Job) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        let (id, text) = (job.operation.id, "its subject has left the herd");
        operations::end(&mut tx, id, OperationState::Cancelled, &lock.worker, text).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn let_wait(&self, lock: &Lock, after: Duration) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        queue::turn(&mut tx, lock.token, after).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn stick(
        &self,
        lock: &Lock,
        job: &mut Job,
        why: &str,
    ) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
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
        // An incident that has asked for it calls them itself, unless it goes on alone.
        let ours = operation.incident.filter(|_| !goes_on_alone(operation));
        if let Some(incident) = operation.incident {
            queue::wake(tx, Token::Incident(incident)).await?;
        }
        if let (Some(subject), None) = (operation.subject, ours) {
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
