//! The last step of whatever disturbs its subject: waits for the observation that says
//! that it is in service, made after what was done. Of a server's databases too, for a
//! while.

use std::time::Duration;

use drover::model::{Attributes, Kind, Observation, State, SubjectId, Witness};
use drover::store::subjects::{self, Known, Page};
use drover::store::{observations, queue};

use super::create_resource::start;
use super::follow::{followers, node};
use super::kind::{Context, Operation, Outcome, Step, Work, step};

/// So long between two looks at the record.
const LOOK: Duration = Duration::from_secs(1);
/// How long a subject may take to be seen in service again. Then a human is told,
/// and resolvers rest no longer.
const BACK: Duration = Duration::from_secs(300);
/// The same for one that a witness says is down, though a step ago it ran: it has died
/// since, and that is for its own playbook.
const DIED: Duration = Duration::from_secs(15);
/// How long a server's databases are waited for once it is back itself. What is
/// down then is for its own playbook.
const DATABASES: Duration = Duration::from_secs(60);
/// So many of them are looked at.
const MOST: i64 = 1000;

/// The step.
pub(super) const fn step<O: Operation>() -> Step<O> {
    step!("await_available", "wait until it is in service" => await_available).watching()
}

/// Waits, by looks at the record.
pub(super) async fn await_available(turn: &Context<'_>) -> Work {
    if waits_itself(turn) {
        return Ok(Outcome::done("its incident looks whether that has helped"));
    }
    let subject = match turn.known {
        Some(known) => known.subject(),
        None => return Ok(Outcome::done("there is nobody to wait for")),
    };
    let name = &subject.name;
    let mut db = turn.tools.pool.acquire().await?;
    let newest = observations::newest(&mut db, &[subject.id]).await?;
    if subject.state != State::Available || !is_back(turn, &newest, subject.id) {
        queue::bring_forward(&mut db, &[subject.id]).await?;
        let waited = turn.waited();
        let waits = format!("{name} is not seen in service again yet");
        let patience = match is_down(turn, &newest) {
            true => DIED,
            false => BACK,
        };
        return Err(if waited > patience && turn.operation.stuck_at.is_none() {
            Outcome::hopeless(format!("{waits}, for {} s", waited.as_secs()))
        } else {
            Outcome::again(LOOK, waits)
        });
    }
    let late = turn.waited() > DATABASES;
    if let (Some(Known::Server(server)), false) = (turn.known, late) {
        let page = Page {
            name: None,
            state: None,
            server: Some(server.subject.id),
            after: None,
            limit: MOST,
        };
        let databases = subjects::list(&mut db, Kind::Resource, &page).await?;
        let served: Vec<SubjectId> = databases
            .iter()
            .map(Known::subject)
            .filter(|database| is_served(database.state))
            .map(|database| database.id)
            .collect();
        let newest = observations::newest(&mut db, &served).await?;
        let missing: Vec<SubjectId> = served
            .into_iter()
            .filter(|id| !is_back(turn, &newest, *id))
            .collect();
        if !missing.is_empty() {
            queue::bring_forward(&mut db, &missing).await?;
            drop(db);
            start_leaders(turn, &databases, &missing).await?;
            let waits = format!("{} of its databases are not back yet", missing.len());
            return Err(Outcome::again(LOOK, waits));
        }
    }
    Ok(Outcome::done(format!("{name} is in service")))
}

/// Whether an incident waits for that observation, and would be kept waiting: what changes
/// who follows whom, and what was planned, ends with its subject in service all the same.
fn waits_itself(turn: &Context<'_>) -> bool {
    let profile = turn.operation.kind.profile();
    turn.operation.incident.is_some()
        && turn.operation.not_before.is_none()
        && !profile.moves_lead
        && !profile.remakes_follower
}

/// Who leads others does not start with its server, for meanwhile another might have
/// come to lead: it is started here, if it is still who leads.
async fn start_leaders(
    turn: &Context<'_>,
    databases: &[Known],
    missing: &[SubjectId],
) -> Result<(), Outcome> {
    for known in databases {
        let id = known.subject().id;
        if !missing.contains(&id) || followers(turn, id).await?.is_empty() {
            continue;
        }
        let (leader, server) = node(turn, id).await?;
        if leader.leader.is_none() {
            // One that cannot be started is for its own playbook.
            let _ = start(turn, &leader, &server).await;
        }
    }
    Ok(())
}

/// Whether a database in this state is expected to answer.
fn is_served(state: State) -> bool {
    match state {
        State::Available | State::Uncertain | State::Unavailable => true,
        State::Creating | State::Destroying | State::Destroyed => false,
    }
}

/// Whether the newest observation of it is a good one that was begun after this
/// step.
fn is_back(turn: &Context<'_>, newest: &[(SubjectId, Observation)], id: SubjectId) -> bool {
    newest
        .iter()
        .find(|(seen, _)| *seen == id)
        .is_some_and(|(_, seen)| {
            let took = took(&seen.attributes);
            seen.attributes.service_available && seen.created_at - took > turn.operation.step_since
        })
}

/// Whether the newest observation, made in this step, has a witness that says so.
fn is_down(turn: &Context<'_>, newest: &[(SubjectId, Observation)]) -> bool {
    newest.iter().any(|(_, seen)| {
        matches!(seen.attributes.witness, Some(Witness::Down { .. }))
            && seen.created_at - took(&seen.attributes) > turn.operation.step_since
    })
}

fn took(seen: &Attributes) -> chrono::TimeDelta {
    let ms = seen.latency_ms.unwrap_or_default().clamp(0.0, 60_000.0);
    chrono::TimeDelta::microseconds((ms * 1000.0) as i64)
}
