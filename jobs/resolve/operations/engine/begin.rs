//! Before a step: whether it is still wanted, may be done now, and whose turn it is.

use std::time::{Duration, Instant};

use drover::model::{Incident, IncidentState, Mode, Operation, OperationKind, RowId, SubjectId};
use drover::store::brake::Trip;
use drover::store::leases::{self, Fence};
use drover::store::operations::{self, Claim};
use drover::store::queue::{self, Lock};
use drover::store::runs::{self, Run};
use drover::store::subjects::Known;
use drover::store::{brake, incidents, modes, observations};
use sqlx::PgConnection;

use super::{Job, LEASED};
use crate::resolve::incidents::{fail_over, playbook};
use crate::resolve::operations::{self as kinds, StepInfo};
use crate::resolve::{OVER, Resolve};
use crate::ring::WorkError;

/// When one is looked at again that another goes before, which wakes it when it ends.
const BEHIND: Duration = Duration::from_secs(2);

/// A turn that has begun.
pub(super) struct Begun {
    /// The leases that it has: its subject's first.
    pub(super) leases: Vec<(SubjectId, Fence)>,
    /// When they end, counted from before they were asked for.
    pub(super) until: Instant,
    pub(super) run: Run,
}

/// Whether an operation that an incident has asked for goes on by itself once it has
/// begun, whatever becomes of the incident, and has time of its own: one that changes who
/// follows whom, and one that was planned.
pub fn goes_on_alone(operation: &Operation) -> bool {
    let profile = operation.kind.profile();
    profile.moves_lead || profile.remakes_follower || operation.not_before.is_some()
}

/// Why an operation is not needed any more before this step, if an incident has asked for
/// it: the incident is over, or has gone on without it.
pub fn unwanted(
    operation: &Operation,
    incident: Option<&Incident>,
    step: StepInfo,
) -> Option<String> {
    operation.incident?;
    let begun = operation.has_begun();
    if begun && (goes_on_alone(operation) || !step.may_end) {
        return None;
    }
    let Some(incident) = incident else {
        return Some("not needed: its incident is gone".into());
    };
    let asked = incident.remedy == operation.remedy
        && Some(i32::from(incident.attempt)) == operation.attempt.map(i32::from);
    let id = incident.id.public();
    match incident.state {
        IncidentState::Resolving if asked => None,
        IncidentState::Resolved => Some(format!("not needed: {id} is over")),
        IncidentState::NeedsHuman => Some(format!("not needed: {id} waits for a human")),
        IncidentState::Triggered | IncidentState::Resolving | IncidentState::Waiting => {
            Some(format!("not needed: {id} has gone on without it"))
        }
    }
}

/// What keeps a wanted step from beginning now.
enum Stops {
    /// Nothing.
    Nothing,
    /// The incident is held, drover is blind, or the mode does not allow it.
    Later,
    /// Too much fails at once.
    Brake(Trip),
}

impl Resolve {
    /// The last look before a step that an incident has asked for: nobody may have put
    /// the brake on, changed the mode or held the incident since it was decided on.
    async fn stops(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        incident: &Incident,
        step: StepInfo,
    ) -> Result<Stops, WorkError> {
        let begun = job.operation.has_begun();
        if begun && job.goes_on_alone() {
            return Ok(Stops::Nothing);
        }
        if incident.held_at.is_some() && incident.state != IncidentState::Resolved {
            return Ok(Stops::Later);
        }
        if begun && !step.may_end {
            return Ok(Stops::Nothing);
        }
        let spared = self.is_spared(tx, job, incident).await?;
        if !spared && incidents::blind(tx, job.operation.subject).await?.is_some() {
            return Ok(Stops::Later);
        }
        let mode = modes::effective(tx, job.operation.subject).await?;
        let undo = playbook(incident.kind).undo.map(|undo| undo.name);
        let may_act = match mode {
            Mode::Act => true,
            // What was done for the time being is taken back in any mode.
            Mode::Advise | Mode::Hold => undo.is_some() && undo == job.operation.remedy.as_deref(),
        };
        if !may_act {
            return Ok(Stops::Later);
        }
        if !begun && !spared {
            let zone = brake::zone_of(tx, job.operation.subject).await?;
            if let Some(trip) = brake::trips(&brake::count(tx).await?, zone.as_deref()) {
                return Ok(Stops::Brake(trip));
            }
        }
        Ok(Stops::Nothing)
    }

    /// Whether the brake lets it pass: a leader whose machine is dead by its cloud's word is
    /// taken over from, however many die with it.
    async fn is_spared(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        incident: &Incident,
    ) -> Result<bool, WorkError> {
        let subject = match incident.subject {
            Some(subject) if job.operation.kind == OperationKind::Failover => subject,
            Some(_) | None => return Ok(false),
        };
        let newest = observations::newest(tx, &[subject]).await?.pop();
        Ok(fail_over::is_proved(
            incident,
            newest.as_ref().map(|(_, seen)| seen),
        ))
    }

    /// Takes the lease, and says in the record which step is at work. `None`: it may not
    /// begin now; the token has gone on to its next turn.
    pub(super) async fn begin_operation(
        &self,
        lock: &Lock,
        job: &mut Job,
        step: StepInfo,
    ) -> Result<Option<Begun>, WorkError> {
        let mut tx = self.held(lock).await?;
        if let Some(incident) = &job.incident {
            match self.stops(&mut tx, job, incident, step).await? {
                Stops::Nothing => {}
                Stops::Later => {
                    drop(tx);
                    return self.let_wait(lock, LEASED).await.map(|()| None);
                }
                Stops::Brake(trip) => {
                    drop(tx);
                    return self.brake(lock, trip).await.map(|()| None);
                }
            }
        }
        let patience = job.patience();
        if let Some(Known::Server(server)) = &job.known {
            let id = server.subject.id;
            let first = operations::failover::at_work_on(&mut tx, id).await;
            if first? {
                queue::turn(&mut tx, lock.token, LEASED).await?;
                tx.commit().await?;
                return Ok(None);
            }
        }
        let operation = &mut job.operation;
        let also = kinds::of(operation.kind).also_changes(operation, job.known.as_ref());
        let subjects: Vec<SubjectId> = operation.subject.into_iter().chain(also).collect();
        let holder = (operation.id, operation.lane);
        let lease = step.limit + OVER;
        let until = Instant::now() + lease;
        let taken = leases::take(&mut tx, &subjects, holder, &lock.worker, lease).await?;
        let Some(fences) = taken else {
            queue::turn(&mut tx, lock.token, LEASED).await?;
            tx.commit().await?;
            return Ok(None);
        };
        let leases: Vec<(SubjectId, Fence)> = subjects.into_iter().zip(fences).collect();
        match operations::claim(&mut tx, operation).await? {
            Claim::Ours if operation.at_work => {}
            Claim::Ours => {
                operation.at_work = true;
                operation.revision += 1;
            }
            Claim::Behind(why) => {
                drop(tx);
                tracing::debug!(operation = %operation.id.public(), why, "it waits");
                return self.let_wait(lock, BEHIND).await.map(|()| None);
            }
        }
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
        let kind = operation.kind.as_str();
        let resolver = job.incident.as_ref().map_or(kind, |i| i.kind.as_str());
        let run = Run {
            run: RowId::generate(),
            operation: operation.id,
            incident: operation.incident,
            subject: operation.subject,
            worker: lock.worker.clone(),
            fence: leases.first().map(|(_, fence)| *fence),
            resolver: resolver.to_owned(),
            remedy: operation.remedy.clone().unwrap_or_else(|| kind.to_owned()),
            step: step.name,
            attempt: operation.attempt.unwrap_or(1),
        };
        runs::begun(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(Some(Begun { leases, until, run }))
    }
}
