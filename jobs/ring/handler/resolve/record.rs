//! What a turn writes: each in one transaction with the move of its token.
//!
//! Lock order: the token, the subject (its lease), the incident.

use std::time::Duration;

use drover::model::{Channel, Deed, IncidentKind, IncidentState, Note, Opening, RowId, Severity};
use drover::store::leases::{self, Fence};
use drover::store::outbox::{self, NewMessage};
use drover::store::queue::{self, Lock, Queue};
use drover::store::runs::{self, Run};
use drover::store::{brake, incidents, modes};
use serde_json::{Value, json};
use sqlx::{PgConnection, Postgres, Transaction};

use super::{Case, Resolve, WorkError, database, may_act, word};
use crate::resolve::machine;
use crate::resolve::playbook::{Tells, UNDO};
use crate::resolve::{Ended, Outcome};

/// How long a turn may have its subject to itself: longer than any step, so that a
/// worker that lost its token has stopped by then.
const LEASE: Duration = Duration::from_secs(40);
/// How long the lease is kept for the remedy's next step.
const HANDED_ON: Duration = Duration::from_secs(60);
/// When a subject whose lease is taken is tried again.
const LEASED: Duration = Duration::from_millis(500);

impl Resolve {
    /// A transaction in which the token is held; `None` if the lock is lost.
    async fn held(&self, lock: &Lock) -> Result<Option<Transaction<'static, Postgres>>, WorkError> {
        let mut tx = self.pool.begin().await.map_err(database)?;
        if queue::hold(&mut tx, lock, Queue::Resolve)
            .await
            .map_err(database)?
        {
            return Ok(Some(tx));
        }
        super::super::feel::report_lost(1);
        Ok(None)
    }

    pub(super) async fn leave(&self, lock: &Lock, case: &Case) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        queue::remove_incident_token(&mut tx, case.incident.id)
            .await
            .map_err(database)?;
        tx.commit().await.map_err(database)
    }

    pub(super) async fn close(
        &self,
        lock: &Lock,
        case: &mut Case,
        reason: &str,
    ) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        if let Some(subject) = case.subject() {
            leases::drop_handed_on(&mut tx, subject, case.incident.id)
                .await
                .map_err(database)?;
        }
        let closed = incidents::close(
            &mut tx,
            &mut case.incident,
            "observation",
            &lock.worker,
            reason,
        )
        .await
        .map_err(database)?;
        if !closed {
            queue::turn(&mut tx, lock.token, Duration::ZERO)
                .await
                .map_err(database)?;
        }
        // Whoever this incident stood for goes on.
        if let (true, Some(subject)) = (closed, case.subject()) {
            queue::wake_incidents(&mut tx, &[subject])
                .await
                .map_err(database)?;
        }
        tx.commit().await.map_err(database)?;
        tracing::info!(incident = %case.incident.id.public(), subject = case.name(),
            kind = %case.incident.kind, %reason, "incident resolved");
        Ok(())
    }

    pub(super) async fn rest(
        &self,
        lock: &Lock,
        case: &mut Case,
        why: Option<String>,
        after: Duration,
    ) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        if case.incident.resting != why {
            let note = match &why {
                Some(why) => Note::new("resting", why.as_str()),
                None => Note::new("resumed", "drover goes on"),
            };
            let id = case.incident.id;
            incidents::note(&mut tx, id, &lock.worker, &note)
                .await
                .map_err(database)?;
            case.incident.resting = why;
        }
        let saved = incidents::save(&mut tx, &case.incident)
            .await
            .map_err(database)?;
        // Somebody has changed it meanwhile: what they want is looked at now.
        let after = if saved { after } else { Duration::ZERO };
        queue::turn(&mut tx, lock.token, after)
            .await
            .map_err(database)?;
        tx.commit().await.map_err(database)
    }

    pub(super) async fn advise(&self, lock: &Lock, case: &mut Case) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        for (place, remedy) in case.book.remedies.iter().enumerate() {
            let note = Note::new("advised", format!("{}. would {}", place + 1, remedy.does));
            let id = case.incident.id;
            incidents::note(&mut tx, id, &lock.worker, &note)
                .await
                .map_err(database)?;
        }
        let reason = "mode advise: drover does nothing itself";
        self.call_a_human(&mut tx, lock, case, reason).await?;
        tx.commit().await.map_err(database)
    }

    pub(super) async fn escalate(
        &self,
        lock: &Lock,
        case: &mut Case,
        reason: &str,
    ) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        self.call_a_human(&mut tx, lock, case, reason).await?;
        tx.commit().await.map_err(database)
    }

    /// Needs a human: the state, the ticket, the page.
    async fn call_a_human(
        &self,
        tx: &mut PgConnection,
        lock: &Lock,
        case: &mut Case,
        reason: &str,
    ) -> Result<(), WorkError> {
        let name = case.name().to_owned();
        let (tells, severity) = (case.book.tells, case.book.severity);
        let kind = case.incident.kind;
        if let Some(subject) = case.subject() {
            leases::drop_handed_on(tx, subject, case.incident.id)
                .await
                .map_err(database)?;
        }
        let incident = &mut case.incident;
        // Messages keep the order in which the incident's row was held.
        incidents::lock(tx, incident.id).await.map_err(database)?;
        incident.state = IncidentState::NeedsHuman;
        incident.resting = None;
        let told: &[Channel] = match tells {
            Tells::Page => &[Channel::Page],
            Tells::Ticket => &[Channel::Ticket],
            Tells::TicketAndPage => &[Channel::Ticket, Channel::Page],
        };
        let summary = format!("{name}: {kind}: {}", incident.reason);
        for channel in told.iter().copied() {
            let at = match channel {
                Channel::Page => &mut incident.paged_at,
                Channel::Ticket => &mut incident.ticketed_at,
            };
            // Who was called once is not called again for the same incident.
            if at.is_some() {
                continue;
            }
            *at = Some(case.view.now);
            let new = NewMessage {
                incident: incident.id,
                channel,
                action: Deed::Trigger,
                severity,
                summary: summary.clone(),
                detail: json!({ "why": reason, "attempts": incident.attempts }),
            };
            outbox::write(tx, &new).await.map_err(database)?;
            // Somebody was at it before the page went out: let it not ring on.
            if let (Channel::Page, Some((_, by))) = (channel, &incident.acknowledged) {
                let seen = NewMessage {
                    action: Deed::Acknowledge,
                    severity: Severity::Info,
                    summary: format!("acknowledged by {by}"),
                    detail: json!({}),
                    ..new
                };
                outbox::write(tx, &seen).await.map_err(database)?;
            }
        }
        let note = Note::new("escalated", format!("a human is needed: {reason}"));
        incidents::note(tx, incident.id, &lock.worker, &note)
            .await
            .map_err(database)?;
        if !incidents::save(tx, incident).await.map_err(database)? {
            return Err(changed());
        }
        queue::turn(tx, lock.token, Duration::from_secs(5))
            .await
            .map_err(database)?;
        tracing::warn!(incident = %incident.id.public(), subject = %name, %kind, reason,
            "a human is needed");
        Ok(())
    }

    /// Writes a step down as begun, under the lease. `None`: it may not begin now;
    /// the token has gone on to its next turn.
    pub(super) async fn begin(
        &self,
        lock: &Lock,
        case: &mut Case,
    ) -> Result<Option<Run>, WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(None);
        };
        let Some(subject) = case.subject() else {
            return Err(anyhow::anyhow!("a remedy for no subject").into());
        };
        let incident = &mut case.incident;
        let fence = leases::take(&mut tx, subject, incident.id, &lock.worker, LEASE)
            .await
            .map_err(database)?;
        let Some(fence) = fence else {
            queue::turn(&mut tx, lock.token, LEASED)
                .await
                .map_err(database)?;
            tx.commit().await.map_err(database)?;
            return Ok(None);
        };
        if incident.step == 0 {
            // The last look before a remedy: nobody may have put the brake on, changed
            // the mode or held the incident since this turn was decided on.
            let counts = brake::count(&mut tx).await.map_err(database)?;
            let mode = modes::effective(&mut tx, Some(subject))
                .await
                .map_err(database)?;
            let blind = incidents::blind(&mut tx).await.map_err(database)?;
            let now = incidents::lock(&mut tx, incident.id)
                .await
                .map_err(database)?;
            if now.is_none_or(|now| now.held_at.is_some()) {
                drop(tx);
                return self.later(lock).await.map(|()| None);
            }
            if let (Some(reason), None) = (brake::trips(&counts), blind) {
                drop(tx);
                return self.brake(lock, reason).await.map(|()| None);
            }
            if blind.is_some() || !(may_act(mode) || incident.remedy == UNDO) {
                drop(tx);
                return self.later(lock).await.map(|()| None);
            }
        }
        let remedy = case.book.remedy(incident.remedy);
        let (remedy, step) =
            match remedy.and_then(|r| Some((r, r.steps.get(usize::from(incident.step))?))) {
                Some((remedy, step)) => (remedy, step.name),
                None => return Err(anyhow::anyhow!("no such remedy in the playbook").into()),
            };
        if incident.step == 0
            && incident.memo["begun"] != json!([incident.remedy, incident.attempt])
        {
            incident.memo["begun"] = json!([incident.remedy, incident.attempt]);
            let text = format!("attempt {} to {}", incident.attempt, remedy.does);
            let mut note = Note::new("attempt", text);
            note.detail = json!({ "remedy": remedy.name, "attempt": incident.attempt });
            incidents::note(&mut tx, incident.id, &lock.worker, &note)
                .await
                .map_err(database)?;
        }
        if !incidents::save(&mut tx, incident).await.map_err(database)? {
            drop(tx);
            return self.later(lock).await.map(|()| None);
        }
        let run = Run {
            run: RowId::generate(),
            incident: incident.id,
            subject,
            worker: lock.worker.clone(),
            fence,
            resolver: case.book.kind.as_str(),
            remedy: remedy.name,
            step,
            attempt: incident.attempt,
        };
        runs::begun(&mut tx, &run).await.map_err(database)?;
        tx.commit().await.map_err(database)?;
        Ok(Some(run))
    }

    /// Too much fails at once: opens `blind`, and comes back later.
    async fn brake(&self, lock: &Lock, reason: String) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        tracing::warn!(%reason, "blind: no resolver acts");
        let opening = Opening {
            kind: IncidentKind::Blind,
            reason,
        };
        incidents::open(&mut tx, None, &opening, &lock.worker)
            .await
            .map_err(database)?;
        queue::turn(&mut tx, lock.token, LEASED)
            .await
            .map_err(database)?;
        tx.commit().await.map_err(database)
    }

    async fn later(&self, lock: &Lock) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        queue::turn(&mut tx, lock.token, LEASED)
            .await
            .map_err(database)?;
        tx.commit().await.map_err(database)
    }

    /// Writes down how a step ended, and what follows.
    pub(super) async fn end(
        &self,
        lock: &Lock,
        case: Case,
        run: Run,
        outcome: Outcome,
    ) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        let remedy = case.book.remedy(case.incident.remedy);
        let at_work = |i: &drover::model::Incident| i.state == IncidentState::Resolving;
        let subject = run.subject;
        // The lease first: subjects before incidents, as everywhere.
        let more =
            remedy.is_some_and(|r| goes_on(&outcome.ended, case.incident.step, r.steps.len()));
        let fence = run.fence;
        if !end_turn(&mut tx, subject, fence, more).await? {
            // Its time was up and another turn has begun: this one's word is stale.
            return Ok(());
        }
        runs::ended(
            &mut tx,
            &run,
            word(&outcome.ended),
            &outcome.touched,
            &outcome.note,
        )
        .await
        .map_err(database)?;
        let loaded = incidents::lock(&mut tx, run.incident)
            .await
            .map_err(database)?;
        let (Some(mut incident), Some(remedy)) = (loaded, remedy) else {
            return tx.commit().await.map_err(database);
        };
        if !at_work(&incident) {
            queue::turn(&mut tx, lock.token, Duration::ZERO)
                .await
                .map_err(database)?;
            return tx.commit().await.map_err(database);
        }
        lay_over(&mut incident.memo, &outcome.memo);
        let now = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&mut *tx)
            .await
            .map_err(database)?;
        let after = machine::after(&mut incident, remedy, &outcome.ended, now);
        if let Some(note) = note_of(&outcome, remedy.name, run.step) {
            incidents::note(&mut tx, incident.id, &lock.worker, &note)
                .await
                .map_err(database)?;
        }
        incidents::save(&mut tx, &incident)
            .await
            .map_err(database)?;
        queue::turn(&mut tx, lock.token, after)
            .await
            .map_err(database)?;
        // What was done shows in the next observation, which should come now.
        queue::bring_forward(&mut tx, &[subject])
            .await
            .map_err(database)?;
        tx.commit().await.map_err(database)?;
        tracing::info!(incident = %incident.id.public(), subject = case.name(),
            remedy = run.remedy, step = run.step, outcome = word(&outcome.ended),
            note = %outcome.note, "step ended");
        Ok(())
    }
}

async fn end_turn(
    tx: &mut PgConnection,
    subject: drover::model::SubjectId,
    fence: Fence,
    more: bool,
) -> Result<bool, WorkError> {
    leases::end_turn(tx, subject, fence, more.then_some(HANDED_ON))
        .await
        .map_err(database)
}

/// Whether the same remedy has another turn.
fn goes_on(ended: &Ended, step: u16, steps: usize) -> bool {
    match ended {
        Ended::Again(_) => true,
        Ended::Done => usize::from(step) + 1 < steps,
        Ended::PassedOver(_) | Ended::Failed(_) => false,
    }
}

/// What the timeline says of a step. One that only goes on says nothing.
fn note_of(outcome: &Outcome, remedy: &str, step: &str) -> Option<Note> {
    let (kind, text) = match &outcome.ended {
        Ended::Again(_) => return None,
        Ended::Done => ("step", outcome.note.clone()),
        Ended::PassedOver(why) => ("passed_over", format!("{remedy}: {why}")),
        Ended::Failed(why) => ("failed", why.clone()),
    };
    let mut note = Note::new(kind, text);
    note.detail = json!({ "remedy": remedy, "step": step, "touched": outcome.touched });
    Some(note)
}

fn lay_over(memo: &mut Value, more: &serde_json::Map<String, Value>) {
    if !memo.is_object() {
        *memo = json!({});
    }
    if let Some(memo) = memo.as_object_mut() {
        for (name, value) in more {
            if value.is_null() {
                memo.remove(name);
            } else {
                memo.insert(name.clone(), value.clone());
            }
        }
    }
}

fn changed() -> WorkError {
    anyhow::anyhow!("the incident was changed by another at the same moment").into()
}
