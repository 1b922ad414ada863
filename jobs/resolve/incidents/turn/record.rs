//! What a turn writes: each in one transaction with the move of its token.
//!
//! Lock order: the token, the subject (its lease), the operation, the incident.

mod call;

use std::time::Duration;

use drover::model::Note;
use drover::store::brake::Trip;
use drover::store::incidents;
use drover::store::queue::{self, Lock};

use super::{Case, Resolve, WorkError};

/// When a subject that may not be touched just now is tried again.
const LEASED: Duration = Duration::from_millis(500);
/// When an incident is looked at again about which too little is known.
const UNKNOWN: Duration = Duration::from_secs(60);

impl Resolve {
    pub(super) async fn leave(&self, lock: &Lock) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        queue::remove_from_resolve(&mut tx, lock.token).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn close(
        &self,
        lock: &Lock,
        case: &mut Case,
        reason: &str,
    ) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        let closed = incidents::close(
            &mut tx,
            &mut case.incident,
            "observation",
            &lock.worker,
            reason,
        )
        .await?;
        if !closed {
            queue::turn(&mut tx, lock.token, Duration::ZERO).await?;
        }
        // Whoever this incident stood for goes on.
        if let (true, Some(subject)) = (closed, case.subject()) {
            queue::wake_incidents(&mut tx, &[subject]).await?;
        }
        tx.commit().await?;
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
        let mut tx = self.held(lock).await?;
        if case.incident.resting != why {
            let note = match &why {
                Some(why) => Note::new("resting", why.as_str()),
                None => Note::new("resumed", "drover goes on"),
            };
            let id = case.incident.id;
            incidents::note(&mut tx, id, &lock.worker, &note).await?;
            case.incident.resting = why;
        }
        let saved = incidents::save(&mut tx, &case.incident).await?;
        // Somebody has changed it meanwhile: what they want is looked at now.
        let after = if saved { after } else { Duration::ZERO };
        queue::turn(&mut tx, lock.token, after).await?;
        Ok(tx.commit().await?)
    }

    /// Too much fails at once: opens `blind`, and comes back later.
    pub(in crate::resolve) async fn brake(&self, lock: &Lock, trip: Trip) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        tracing::warn!(reason = %trip.reason, zone = trip.zone, "blind: no resolver acts");
        incidents::open_blind(&mut tx, trip, &lock.worker).await?;
        queue::turn(&mut tx, lock.token, LEASED).await?;
        Ok(tx.commit().await?)
    }

    /// Nothing now, and nothing is written of what was decided.
    pub(super) async fn rest_unchanged(
        &self,
        lock: &Lock,
        case: &Case,
        why: &str,
    ) -> Result<(), WorkError> {
        tracing::debug!(incident = %case.incident.id.public(), why, "nothing is asked for");
        let mut tx = self.held(lock).await?;
        queue::turn(&mut tx, lock.token, UNKNOWN).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn later(&self, lock: &Lock) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        queue::turn(&mut tx, lock.token, LEASED).await?;
        Ok(tx.commit().await?)
    }
}
