//! A step: written down as begun, under the lease, and as ended.

use std::time::Duration;

use drover::model::{IncidentId, IncidentState, Kind, Note, RowId};
use drover::store::creation::{self, CreateError, DestroyError};
use drover::store::leases::{self, Fence};
use drover::store::operations::failover;
use drover::store::queue::{self, Lock};
use drover::store::runs::{self, Run};
use drover::store::{brake, incidents, modes, operations};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::super::{Case, Resolve, WorkError, lay_over, may_act, word};
use super::LEASED;
use crate::resolve::OVER;
use crate::resolve::incidents::machine;
use crate::resolve::incidents::playbook::{Step, UNDO};
use crate::resolve::incidents::{Asks, Ended, Outcome};

/// How long the lease is kept for the remedy's next step.
const HANDED_ON: Duration = Duration::from_secs(60);
/// When a step is done again that another operation was in the way of.
const AFTER_ANOTHER: Duration = Duration::from_secs(10);

impl Resolve {
    /// Writes a step down as begun, under the lease. `None`: it may not begin now;
    /// the token has gone on to its next turn.
    pub(in super::super) async fn begin(
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
        // Before the lease is taken: nobody is to wait for a look at the whole herd.
        let tripped = if incident.step == 0 {
            brake::trips(&brake::count(&mut tx).await?)
        } else {
            None
        };
        let remedy = case.book.remedy(incident.remedy);
        let found = remedy.and_then(|r| Some((r, r.steps.get(usize::from(incident.step))?)));
        let Some((remedy, step)) = found else {
            return Err(anyhow::anyhow!("no such remedy in the playbook").into());
        };
        let lease = step.limit + OVER;
        let fence = leases::take(&mut tx, subject, incident.id, &lock.worker, lease).await?;
        let Some(fence) = fence else {
            queue::turn(&mut tx, lock.token, LEASED).await?;
            tx.commit().await?;
            return Ok(None);
        };
        if incident.step == 0 {
            // The last look before a remedy: nobody may have put the brake on, changed
            // the mode or held the incident since this turn was decided on.
            let mode = modes::effective(&mut tx, Some(subject)).await?;
            let blind = incidents::blind(&mut tx).await?;
            let now = incidents::lock(&mut tx, incident.id).await?;
            if now.is_none_or(|now| now.held_at.is_some()) {
                drop(tx);
                return self.later(lock).await.map(|()| None);
            }
            if let (Some(reason), None) = (tripped, blind) {
                drop(tx);
                return self.brake(lock, reason).await.map(|()| None);
            }
            if blind.is_some() || !(may_act(mode) || incident.remedy == UNDO) {
                drop(tx);
                return self.later(lock).await.map(|()| None);
            }
        }
        if incident.step == 0
            && incident.memo["begun"] != json!([incident.remedy, incident.attempt])
        {
            incident.memo["begun"] = json!([incident.remedy, incident.attempt]);
            let text = format!("attempt {} to {}", incident.attempt, remedy.does);
            let mut note = Note::new("attempt", text);
            note.detail = json!({ "remedy": remedy.name, "attempt": incident.attempt });
            incidents::note(&mut tx, incident.id, &lock.worker, &note).await?;
        }
        if !incidents::save(&mut tx, incident).await? {
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
            step: step.name,
            attempt: incident.attempt,
        };
        runs::begun(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(Some(run))
    }

    /// Writes down how a step ended, and what follows.
    pub(in super::super) async fn end(
        &self,
        lock: &Lock,
        case: Case,
        run: Run,
        mut outcome: Outcome,
    ) -> Result<(), WorkError> {
        let Some(mut tx) = self.held(lock).await? else {
            return Ok(());
        };
        // Tokens before subjects, as everywhere.
        match outcome.asks.as_deref() {
            Some(Asks::Off(_)) => {
                queue::hold_operation_tokens(&mut tx, run.subject).await?;
            }
            Some(Asks::Failover(leaders)) => {
                for leader in leaders {
                    queue::hold_operation_tokens(&mut tx, *leader).await?;
                }
                // And servers before what is on them.
                leases::hold(&mut tx, leaders).await?;
            }
            Some(Asks::Destroy(id)) => {
                queue::hold_operation_tokens(&mut tx, *id).await?;
                queue::hold_token(&mut tx, *id).await?;
            }
            Some(Asks::For(_) | Asks::Follow(_)) | None => {}
        }
        let remedy = case.book.remedy(case.incident.remedy);
        let at_work = |i: &drover::model::Incident| i.state == IncidentState::Resolving;
        let subject = run.subject;
        // The lease first: subjects before incidents, as everywhere.
        let more = remedy.is_some_and(|r| keeps(&outcome.ended, case.incident.step, r.steps));
        let fence = run.fence;
        if !end_turn(&mut tx, subject, fence, more).await? {
            // Its time was up and another turn has begun: this one's word is stale.
            queue::turn(&mut tx, lock.token, LEASED).await?;
            return Ok(tx.commit().await?);
        }
        if let Some(asks) = outcome.asks.take() {
            let (worker, by) = (&lock.worker, run.incident);
            outcome = self.ask(&mut tx, *asks, outcome, worker, by).await?;
        }
        runs::ended(
            &mut tx,
            &run,
            word(&outcome.ended),
            &outcome.touched,
            &outcome.note,
        )
        .await?;
        let loaded = incidents::lock(&mut tx, run.incident).await?;
        let (Some(mut incident), Some(remedy)) = (loaded, remedy) else {
            return Ok(tx.commit().await?);
        };
        if !at_work(&incident) {
            queue::turn(&mut tx, lock.token, Duration::ZERO).await?;
            return Ok(tx.commit().await?);
        }
        lay_over(&mut incident.memo, &outcome.memo);
        let now = drover::store::clock(&mut tx).await?;
        let after = machine::after(&mut incident, remedy, &outcome.ended, now);
        if let Some(note) = note_of(&outcome, remedy.name, run.step) {
            incidents::note(&mut tx, incident.id, &lock.worker, &note).await?;
        }
        incidents::save(&mut tx, &incident).await?;
        queue::turn(&mut tx, lock.token, after).await?;
        // What was done shows in the next observation, which should come now.
        queue::bring_forward(&mut tx, &[subject]).await?;
        tx.commit().await?;
        tracing::info!(incident = %incident.id.public(), subject = case.name(),
            remedy = run.remedy, step = run.step, outcome = word(&outcome.ended),
            note = %outcome.note, "step ended");
        Ok(())
    }
}

impl Resolve {
    /// Asks what a step asks of operations.
    async fn ask(
        &self,
        tx: &mut PgConnection,
        asks: Asks,
        outcome: Outcome,
        worker: &str,
        incident: IncidentId,
    ) -> Result<Outcome, WorkError> {
        match asks {
            Asks::For(new) => Ok(match operations::open(tx, &new).await? {
                Some(id) => outcome.remember("operation", id.to_string()),
                None => Outcome::new(Ended::Again(AFTER_ANOTHER), "another operation is open"),
            }),
            Asks::Failover(leaders) => {
                let mut opened = Vec::new();
                let (by, why) = (incident.public(), outcome.note.clone());
                for leader in leaders {
                    let found = failover::open_failover(tx, leader, json!({}), &by, Some(&why));
                    match found.await? {
                        Ok(id) => opened.push(id.to_string()),
                        // One at work there already does the same.
                        Err(other) => opened.push(other.id.to_string()),
                    }
                }
                Ok(outcome.remember("failovers", opened))
            }
            Asks::Off(id) => {
                operations::call_off(tx, id, worker, &outcome.note).await?;
                Ok(outcome)
            }
            Asks::Follow(wanted) => {
                // What is refused half way leaves nothing.
                let mut part = tx.begin().await?;
                match creation::follow(&mut part, &self.tools.secret_key, &wanted).await {
                    Ok((id, _)) => {
                        part.commit().await?;
                        Ok(outcome.remember("replacement", id.to_string()))
                    }
                    Err(CreateError::Database(e)) => Err(e.into()),
                    Err(e) => Ok(Outcome::failed(format!("{}: {e}", wanted.name))),
                }
            }
            Asks::Destroy(id) => {
                match creation::destroy(tx, Kind::Resource, id, &incident.public()).await {
                    Ok(_) | Err(DestroyError::NotFound) => Ok(outcome),
                    Err(DestroyError::Database(e)) => Err(e.into()),
                    // Both are found before anything is written.
                    Err(e @ (DestroyError::Adopted | DestroyError::HasResources(_))) => {
                        Ok(Outcome::failed(e.to_string()))
                    }
                }
            }
        }
    }
}

async fn end_turn(
    tx: &mut PgConnection,
    subject: drover::model::SubjectId,
    fence: Fence,
    more: bool,
) -> Result<bool, WorkError> {
    Ok(leases::end_turn(tx, subject, fence, more.then_some(HANDED_ON)).await?)
}

/// Whether the lease is kept for the same remedy's next turn. What only watches
/// leaves the subject to whoever has something to do there, for as long as it takes.
fn keeps(ended: &Ended, step: u16, steps: &[Step]) -> bool {
    let at = usize::from(step);
    match ended {
        Ended::Again(_) => !steps.get(at).is_some_and(|step| step.watches),
        Ended::Done => at + 1 < steps.len(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use drover::model::IncidentKind;

    #[test]
    fn only_what_acts_keeps_others_away_while_it_goes_on() {
        let again = Ended::Again(Duration::ZERO);
        let steps = [Step::new("start"), Step::watching("watch")];
        assert!(keeps(&again, 0, &steps));
        assert!(!keeps(&again, 1, &steps));
        assert!(keeps(&Ended::Done, 0, &steps));
        assert!(!keeps(&Ended::Done, 1, &steps));
        assert!(!keeps(&Ended::Failed(String::new()), 0, &steps));
    }

    #[test]
    fn what_takes_many_minutes_only_watches() {
        for (kind, name) in [
            (IncidentKind::XidWraparound, "watch"),
            (IncidentKind::ArchivingStalled, "catch_up"),
        ] {
            let steps = crate::resolve::incidents::playbook(kind).remedies[0].steps;
            let step = steps.iter().find(|step| step.name == name);
            assert!(step.is_some_and(|step| step.watches), "{kind}");
        }
    }
}
