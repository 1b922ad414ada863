//! A remedy is asked for, and what was asked for has ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Note, SubjectId};
use drover::store::operations::{self, NewOperation, failover};
use drover::store::queue::{self, Lock};
use drover::store::{incidents, leases};
use serde_json::json;

use super::{Case, Resolve, WorkError};
use crate::resolve::incidents::machine::{self, Ended};
use crate::resolve::incidents::maintenance_scheduled;
use crate::resolve::incidents::playbook::{On, Remedy, When};

/// When an incident looks at what it has just asked for, which wakes it when it ends.
const SOON: Duration = Duration::from_secs(1);

impl Resolve {
    /// Opens what a remedy is, in the transaction that says that it was asked for.
    pub(super) async fn ask(
        &self,
        lock: &Lock,
        case: &mut Case,
        remedy: &'static Remedy,
        attempt: u16,
    ) -> Result<(), WorkError> {
        machine::begin(&mut case.incident, remedy.name, attempt);
        if let Some(why) = case.forbidden(remedy) {
            return self.conclude(lock, case, &Ended::Skipped(why)).await;
        }
        let on = match remedy.on {
            On::Subject => case.subject().into_iter().collect(),
            On::Leaders => case.due.clone(),
        };
        if on.is_empty() {
            let why = "there is nobody to do it to".to_owned();
            return self.conclude(lock, case, &Ended::Skipped(why)).await;
        }
        let (not_before, reason) = match remedy.when {
            When::Now => (None, case.incident.reason.clone()),
            When::Window => {
                if let Err(why) = maintenance_scheduled::possible(&self.tools, case.known.as_ref())
                {
                    return self.conclude(lock, case, &Ended::Skipped(why)).await;
                }
                let mut db = self.pool.acquire().await?;
                let plan = maintenance_scheduled::plan(&mut db, case.seen(), &on, case.view.now);
                let Some((at, words)) = plan.await? else {
                    drop(db);
                    let nothing = "what the cloud has planned is not known just now";
                    return self.rest_unchanged(lock, case, nothing).await;
                };
                (Some(at), words)
            }
        };
        let mut tx = self.held(lock).await?;
        if remedy.on == On::Leaders {
            // Tokens before subjects, and servers before what is on them, as everywhere.
            for leader in &on {
                queue::hold_operation_tokens(&mut tx, *leader).await?;
            }
            leases::hold(&mut tx, &on).await?;
        }
        let incident = &case.incident;
        // Nobody may have held it since this turn was decided on.
        let now = incidents::lock(&mut tx, incident.id).await?;
        if now.is_none_or(|now| now.held_at.is_some()) {
            drop(tx);
            return self.later(lock).await;
        }
        let text = match remedy.when {
            When::Now => format!("attempt {attempt} to {}", remedy.does),
            When::Window => format!("attempt {attempt} to {}: {reason}", remedy.does),
        };
        let mut note = Note::new("attempt", text);
        note.detail = json!({ "remedy": remedy.name, "attempt": attempt });
        incidents::note(&mut tx, incident.id, &lock.worker, &note).await?;
        for subject in on {
            self.open(&mut tx, case, remedy, attempt, subject, not_before, &reason)
                .await?;
        }
        if !incidents::save(&mut tx, &case.incident).await? {
            drop(tx);
            return self.later(lock).await;
        }
        queue::turn(&mut tx, lock.token, SOON).await?;
        tx.commit().await?;
        tracing::info!(incident = %case.incident.id.public(), subject = case.name(),
            remedy = remedy.name, attempt, "remedy asked for");
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one call, and each is a column")]
    async fn open(
        &self,
        tx: &mut sqlx::PgConnection,
        case: &Case,
        remedy: &Remedy,
        attempt: u16,
        subject: SubjectId,
        not_before: Option<DateTime<Utc>>,
        reason: &str,
    ) -> Result<(), WorkError> {
        let incident = &case.incident;
        let asker = operations::Remedy {
            incident,
            name: remedy.name,
            attempt,
        };
        let (params, by) = ((remedy.params)(incident), incident.id.public());
        if remedy.on == On::Leaders {
            // One at work there already does the same, or is about to.
            let opened =
                failover::open_failover(tx, subject, params, &by, Some(reason), Some(asker));
            if let Err(other) = opened.await? {
                operations::take_over(tx, other.id, asker).await?;
            }
            return Ok(());
        }
        let new = NewOperation {
            subject: Some(subject),
            kind: remedy.operation,
            params,
            asked_by: by,
            reason: Some(reason.to_owned()),
            not_before,
        };
        operations::open_for(tx, &new, asker).await?;
        Ok(())
    }

    /// Writes down how what was asked for has ended.
    pub(super) async fn conclude(
        &self,
        lock: &Lock,
        case: &mut Case,
        ended: &Ended,
    ) -> Result<(), WorkError> {
        let mut tx = self.held(lock).await?;
        let name = case.incident.remedy.clone().unwrap_or_default();
        let remedy = case.book.remedy(&name);
        let said = match ended {
            Ended::Done(_) => None,
            Ended::Skipped(why) => Some(("skipped", format!("{name}: {why}"))),
            Ended::Failed(why) | Ended::Stuck(why) => Some(("failed", why.clone())),
        };
        if let Some((kind, text)) = said {
            let mut note = Note::new(kind, text);
            let asked = case.asked.iter().map(|operation| operation.id.public());
            note.detail = json!({ "remedy": name, "operations": asked.collect::<Vec<_>>() });
            incidents::note(&mut tx, case.incident.id, &lock.worker, &note).await?;
        }
        let after = machine::conclude(&mut case.incident, remedy, ended, case.view.now);
        let saved = incidents::save(&mut tx, &case.incident).await?;
        if !saved {
            drop(tx);
            return self.later(lock).await;
        }
        queue::turn(&mut tx, lock.token, after).await?;
        if let (Ended::Done(_), Some(subject)) = (ended, case.subject()) {
            // What was done shows in the next observation, which should come now.
            queue::bring_forward(&mut tx, &[subject]).await?;
        }
        tx.commit().await?;
        tracing::info!(incident = %case.incident.id.public(), subject = case.name(),
            remedy = name, ?ended, "remedy ended");
        Ok(())
    }
}
