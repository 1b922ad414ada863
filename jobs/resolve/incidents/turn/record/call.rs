//! A human is needed: the state, the ticket, the page.

use std::time::Duration;

use drover::model::{Channel, Deed, IncidentState, Note, Severity};
use drover::store::incidents;
use drover::store::outbox::{self, NewMessage};
use drover::store::queue::{self, Lock};
use serde_json::json;
use sqlx::PgConnection;

use super::super::{Case, Resolve, WorkError};
use crate::resolve::incidents::playbook::Escalation;

impl Resolve {
    pub(in super::super) async fn advise(
        &self,
        lock: &Lock,
        case: &mut Case,
    ) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        for (place, remedy) in case
            .book
            .remedies
            .iter()
            .chain(&case.book.guard)
            .enumerate()
        {
            let text = match case.forbidden(remedy) {
                None => format!("{}. would {}", place + 1, remedy.does),
                Some(why) => format!("{}. would not {}: {why}", place + 1, remedy.does),
            };
            let note = Note::new("advised", text);
            let id = case.incident.id;
            incidents::note(&mut tx, id, &lock.worker, &note).await?;
        }
        let reason = "mode advise: drover does nothing itself";
        self.call_a_human(&mut tx, lock, case, reason).await?;
        Ok(tx.commit().await?)
    }

    pub(in super::super) async fn escalate(
        &self,
        lock: &Lock,
        case: &mut Case,
        reason: &str,
    ) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        self.call_a_human(&mut tx, lock, case, reason).await?;
        Ok(tx.commit().await?)
    }

    /// Calls a human, and lets the playbook go on.
    pub(in super::super) async fn page(
        &self,
        lock: &Lock,
        case: &mut Case,
    ) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        let id = case.incident.id;
        incidents::lock(&mut tx, id).await?;
        let reason = "it is too grave to wait for what drover does about it";
        tell(&mut tx, case, reason).await?;
        let note = Note::new("paged", format!("a human is called at once: {reason}"));
        incidents::note(&mut tx, id, &lock.worker, &note).await?;
        if !incidents::save(&mut tx, &case.incident).await? {
            return Err(changed());
        }
        queue::turn(&mut tx, lock.token, Duration::ZERO).await?;
        tx.commit().await?;
        tracing::warn!(incident = %id.public(), subject = case.name(),
            kind = %case.incident.kind, "a human is called at once");
        Ok(())
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
        let kind = case.incident.kind;
        let incident = &mut case.incident;
        // Messages keep the order in which the incident's row was held.
        incidents::lock(tx, incident.id).await?;
        incident.state = IncidentState::NeedsHuman;
        incident.resting = None;
        tell(tx, case, reason).await?;
        let incident = &mut case.incident;
        let note = Note::new("escalated", format!("a human is needed: {reason}"));
        incidents::note(tx, incident.id, &lock.worker, &note).await?;
        if !incidents::save(tx, incident).await? {
            return Err(changed());
        }
        queue::turn(tx, lock.token, Duration::from_secs(5)).await?;
        queue::change_lane(tx, lock.token, incident.lane()).await?;
        // What it has asked for ends where nothing is half done.
        queue::wake_asked_by(tx, incident.id).await?;
        tracing::warn!(incident = %incident.id.public(), subject = %name, %kind, reason,
            "a human is needed");
        Ok(())
    }
}

/// Writes the messages of an incident, each once. Its row must be locked: messages keep
/// the order in which it was held.
async fn tell(tx: &mut PgConnection, case: &mut Case, reason: &str) -> Result<(), WorkError> {
    let told: &[Channel] = match case.book.escalation {
        Escalation::Page | Escalation::PageAtOnce => &[Channel::Page],
        Escalation::Ticket => &[Channel::Ticket],
        Escalation::TicketAndPage => &[Channel::Ticket, Channel::Page],
    };
    let (name, severity, now) = (case.name().to_owned(), case.book.severity, case.view.now);
    let incident = &mut case.incident;
    let summary = format!("{name}: {}: {}", incident.kind, incident.reason);
    for channel in told.iter().copied() {
        let at = match channel {
            Channel::Page => &mut incident.paged_at,
            Channel::Ticket => &mut incident.ticketed_at,
            // Those are told of leaders only.
            Channel::Event => continue,
        };
        // Who was called once is not called again for the same incident.
        if at.is_some() {
            continue;
        }
        *at = Some(now);
        let new = NewMessage {
            incident: incident.id,
            channel,
            action: Deed::Trigger,
            severity,
            summary: summary.clone(),
            detail: json!({ "why": reason, "attempts": incident.attempts }),
        };
        outbox::write(tx, &new).await?;
        // Somebody was at it before the page went out: let it not ring on.
        if let (Channel::Page, Some(by)) = (channel, &incident.acknowledged_by) {
            let seen = NewMessage {
                action: Deed::Acknowledge,
                severity: Severity::Info,
                summary: format!("acknowledged by {by}"),
                detail: json!({}),
                ..new
            };
            outbox::write(tx, &seen).await?;
        }
    }
    Ok(())
}

fn changed() -> WorkError {
    anyhow::anyhow!("the incident was changed by another at the same moment").into()
}
