//! A server as an instance of its cloud: the steps that several operations share.
//!
//! Each looks first how the instance is, so that it can be done again at any time.

use std::time::Duration;

use drover::model::{Attributes, Kind, Observation, Server, State, SubjectId, Witness};
use drover::store::operations::Fact;
use drover::store::subjects::{self, Known, Page};
use drover::store::{observations, queue};
use serde_json::Value;

use super::create_resource::start;
use super::follow::{followers, node};
use super::{Outcome, Turn, Work};
use crate::cloud::{AnyCloud, Cloud as _, CloudAction, Done, Instance, InstanceState};

/// So long between two questions to a cloud.
pub(super) const SOON: Duration = Duration::from_secs(2);
/// So long between two looks at the record.
const LOOK: Duration = Duration::from_secs(1);
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);
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

/// The instance that an operation is about.
pub(super) struct Machine<'a> {
    pub(super) cloud: AnyCloud<'a>,
    pub(super) id: &'a str,
    pub(super) server: &'a Server,
}

/// The instance of the operation's server, if its cloud can do this with it.
///
/// # Errors
/// The outcome of an operation that cannot be done here.
pub(super) fn able<'a>(turn: &Turn<'a>, action: CloudAction) -> Result<Machine<'a>, Outcome> {
    let server = turn.server()?;
    let id = server.instance_id.as_deref().ok_or_else(|| {
        let name = &server.subject.name;
        Outcome::hopeless(format!("{name} is in no cloud that drover may ask"))
    })?;
    let cloud = turn.cloud(server)?;
    cloud
        .can(id, action)
        .map_err(|e| Outcome::hopeless(e.to_string()))?;
    Ok(Machine { cloud, id, server })
}

impl Machine<'_> {
    /// How it is, unless it is gone for good.
    pub(super) async fn there(&self) -> Result<Instance, Outcome> {
        let instance = self.cloud.describe(self.id).await?;
        match instance.state {
            InstanceState::Terminated | InstanceState::ShuttingDown => {
                Err(Outcome::hopeless(instance.detail))
            }
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::Unknown(_) => Ok(instance),
        }
    }

    /// Has the cloud do something within the step's time. What takes longer goes on
    /// by itself, and is asked for again.
    pub(super) async fn act(
        &self,
        turn: &Turn<'_>,
        what: &str,
        action: impl Future<Output = Done>,
    ) -> Result<Done, Outcome> {
        let time = turn.limit.saturating_sub(MARGIN);
        // On the heap: a cloud's work is large for a worker's stack.
        tokio::time::timeout(time, Box::pin(action))
            .await
            .map_err(|_| Outcome::again(SOON, format!("{what} goes on")))
    }

    /// Stops it, and is done when it is stopped.
    pub(super) async fn stop(&self, turn: &Turn<'_>) -> Work {
        let mut instance = self.there().await?;
        if matches!(
            instance.state,
            InstanceState::Running | InstanceState::Pending
        ) {
            self.act(turn, "stopping it", self.cloud.stop(self.id))
                .await??;
            instance = self.there().await?;
        }
        match instance.state {
            InstanceState::Stopped => Ok(Outcome::done(instance.detail)),
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Unknown(_) => Err(Outcome::again(SOON, instance.detail)),
        }
    }

    /// Starts it. One that runs is asked for once more: whoever began to start it may
    /// have died over it. The inner result is the cloud's answer.
    pub(super) async fn start(&self, turn: &Turn<'_>) -> Result<Done, Outcome> {
        let instance = self.there().await?;
        match instance.state {
            InstanceState::Running | InstanceState::Pending | InstanceState::Stopped => {
                self.act(turn, "starting it", self.cloud.start(self.id))
                    .await
            }
            InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Unknown(_) => Err(Outcome::again(SOON, instance.detail)),
        }
    }

    /// The step behind which it may be stopped: where the cloud says it is reached
    /// now, to know later whether the record's address was the cloud's.
    pub(super) fn mark(&self, instance: &Instance) -> Outcome {
        Outcome::done(instance.detail.clone())
            .remember("address", instance.address.clone())
            .remember("old_size", instance.size.clone())
    }

    /// It runs: with the address that it has now, where the record had the cloud's,
    /// and its size.
    pub(super) fn running(&self, turn: &Turn<'_>, instance: &Instance) -> Outcome {
        let mut done = Outcome::done(instance.detail.clone());
        let server = self.server;
        let before = turn.operation.memo["address"].as_str();
        // A host name, or an address of a person's own choice, is left alone.
        let was_the_clouds = before == Some(server.address.as_str()) || server.address.is_empty();
        if let Some(address) = &instance.address
            && was_the_clouds
            && *address != server.address
        {
            done.note = format!("{}, at {address} from now on", done.note);
            done = done.with(Fact::Address {
                address: address.clone(),
                port: server.ssh_port,
                user: server.ssh_user.clone(),
            });
        }
        match &instance.size {
            Some(size) if server.size.as_ref() != Some(size) => done.with(Fact::Size(size.clone())),
            Some(_) | None => done,
        }
    }
}

/// The last step of whatever disturbs its subject: waits for the observation that
/// says that it is in service, made after what was done. Of a server's databases
/// too, for a while.
pub(super) async fn await_available(turn: &Turn<'_>) -> Work {
    let failed = |e: sqlx::Error| Outcome::failed(format!("the record does not answer: {e}"));
    let subject = match turn.known {
        Some(known) => known.subject(),
        None => return Ok(Outcome::done("there is nobody to wait for")),
    };
    let name = &subject.name;
    let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
    let newest = observations::newest(&mut db, &[subject.id])
        .await
        .map_err(failed)?;
    if subject.state != State::Available || !is_back(turn, &newest, subject.id) {
        queue::bring_forward(&mut db, &[subject.id])
            .await
            .map_err(failed)?;
        let waited = turn.now - turn.operation.step_since;
        let waits = format!("{name} is not seen in service again yet");
        let patience = match is_down(turn, &newest) {
            true => DIED,
            false => BACK,
        };
        return Err(match waited.to_std() {
            Ok(waited) if waited > patience && turn.operation.stuck_at.is_none() => {
                Outcome::hopeless(format!("{waits}, for {} s", waited.as_secs()))
            }
            Ok(_) | Err(_) => Outcome::again(LOOK, waits),
        });
    }
    let waited = turn.now - turn.operation.step_since;
    let late = waited.to_std().is_ok_and(|waited| waited > DATABASES);
    if let (Some(Known::Server(server)), false) = (turn.known, late) {
        let page = Page {
            name: None,
            state: None,
            server: Some(server.subject.id),
            after: None,
            limit: MOST,
        };
        let databases = subjects::list(&mut db, Kind::Resource, &page)
            .await
            .map_err(failed)?;
        let served: Vec<SubjectId> = databases
            .iter()
            .map(Known::subject)
            .filter(|database| is_served(database.state))
            .map(|database| database.id)
            .collect();
        let newest = observations::newest(&mut db, &served)
            .await
            .map_err(failed)?;
        let missing: Vec<SubjectId> = served
            .into_iter()
            .filter(|id| !is_back(turn, &newest, *id))
            .collect();
        if !missing.is_empty() {
            queue::bring_forward(&mut db, &missing)
                .await
                .map_err(failed)?;
            drop(db);
            start_leaders(turn, &databases, &missing).await?;
            let waits = format!("{} of its databases are not back yet", missing.len());
            return Err(Outcome::again(LOOK, waits));
        }
    }
    Ok(Outcome::done(format!("{name} is in service")))
}

/// Who leads others does not start with its server, for meanwhile another might have
/// come to lead: it is started here, if it is still who leads.
async fn start_leaders(
    turn: &Turn<'_>,
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
fn is_back(turn: &Turn<'_>, newest: &[(SubjectId, Observation)], id: SubjectId) -> bool {
    newest
        .iter()
        .find(|(seen, _)| *seen == id)
        .is_some_and(|(_, seen)| {
            let took = took(&seen.attributes);
            seen.attributes.service_available && seen.created_at - took > turn.operation.step_since
        })
}

/// Whether the newest observation, made in this step, has a witness that says so.
fn is_down(turn: &Turn<'_>, newest: &[(SubjectId, Observation)]) -> bool {
    newest.iter().any(|(_, seen)| {
        matches!(seen.attributes.witness, Some(Witness::Down { .. }))
            && seen.created_at - took(&seen.attributes) > turn.operation.step_since
    })
}

fn took(seen: &Attributes) -> chrono::TimeDelta {
    let ms = seen.latency_ms.unwrap_or_default().clamp(0.0, 60_000.0);
    chrono::TimeDelta::microseconds((ms * 1000.0) as i64)
}

/// A word that the operation was asked with.
pub(super) fn param<'a>(turn: &Turn<'a>, name: &str) -> Result<&'a Value, Outcome> {
    match turn.operation.params.get(name) {
        Some(value) if !value.is_null() => Ok(value),
        Some(_) | None => Err(Outcome::hopeless(format!(
            "it was asked for without {name}"
        ))),
    }
}
