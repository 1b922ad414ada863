//! A server as an instance of its cloud: the steps that playbooks of servers share.
//!
//! From `mark` on, which says so in the memo (`half_done`), a remedy is brought to
//! its end whatever is seen or decided meanwhile: a server that drover stopped is
//! started again.

use std::time::Duration;

use drover::model::Server;
use drover::store::subjects::Known;
use serde_json::json;

use super::{Ended, Outcome, Turn};
use crate::cloud::{AnyCloud, Cloud as _, CloudAction, CloudError, Instance, InstanceState};

/// So long between two questions to a cloud.
const SOON: Duration = Duration::from_secs(2);
/// Questions until it is given up: some four minutes.
const PATIENCE: u64 = 120;
/// The same where the cloud itself gives errors.
const ERRORS: u64 = 5;
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);

/// An instance of a cloud.
pub(super) struct Machine<'a> {
    pub(super) cloud: AnyCloud<'a>,
    pub(super) id: &'a str,
    pub(super) server: &'a Server,
}

/// The subject of a playbook of servers.
pub(super) fn server<'a>(turn: &Turn<'a>) -> Result<&'a Server, Outcome> {
    match turn.known {
        Known::Server(server) => Ok(server),
        Known::Resource(..) => Err(Outcome::passed_over("this is for servers only")),
    }
}

/// The instance, if its cloud can do this with it.
///
/// # Errors
/// The outcome of a remedy that cannot be done here.
pub(super) fn able<'a>(turn: &Turn<'a>, action: CloudAction) -> Result<Machine<'a>, Outcome> {
    let server = server(turn)?;
    let name = &server.subject.name;
    let (Some(cloud), Some(id)) = (server.cloud, server.instance_id.as_deref()) else {
        return Err(Outcome::passed_over(format!(
            "{name} is in no cloud that drover may ask"
        )));
    };
    let region = server.region.as_deref();
    let Some(cloud) = turn.tools.context.clouds.of(cloud, region) else {
        return Err(Outcome::passed_over(format!(
            "this deployment has no access to the cloud {cloud}, where {name} is"
        )));
    };
    match cloud.can(id, action) {
        Ok(()) => Ok(Machine { cloud, id, server }),
        Err(e) => Err(Outcome::passed_over(e.to_string())),
    }
}

/// Asks again later, and fails after so many times.
pub(super) fn again(turn: &Turn<'_>, most: u64, waits_for: &str) -> Outcome {
    let here = json!([turn.remedy, turn.incident.attempts, turn.step]);
    let asked = &turn.incident.memo["asked"];
    let times = match asked["at"] == here {
        true => asked["times"].as_u64().unwrap_or(0) + 1,
        false => 1,
    };
    if times >= most {
        return Outcome::failed(format!("{waits_for}, for too long"));
    }
    Outcome::new(Ended::Again(SOON), waits_for)
        .remember("asked", json!({ "at": here, "times": times }))
}

impl Machine<'_> {
    /// How the instance is.
    pub(super) async fn describe(&self, turn: &Turn<'_>) -> Result<Instance, Outcome> {
        let asked = self.cloud.describe(self.id).await;
        asked.map_err(|e| again(turn, ERRORS, &format!("the cloud does not say: {e:#}")))
    }

    /// How it is, unless it is gone for good, which no remedy mends.
    pub(super) async fn there(&self, turn: &Turn<'_>) -> Result<Instance, Outcome> {
        let instance = self.describe(turn).await?;
        // What has an incident is older than any cloud's answers are late.
        if instance.state.is_gone() {
            return Err(Outcome::passed_over(instance.detail));
        }
        match instance.state {
            InstanceState::Terminated | InstanceState::ShuttingDown => {
                Err(Outcome::passed_over(instance.detail))
            }
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::Unknown(_) => Ok(instance),
        }
    }

    /// Has the cloud do something, within the step's time. What takes longer is
    /// asked for again, as each action may be.
    pub(super) async fn act(
        &self,
        turn: &Turn<'_>,
        what: &str,
        action: impl Future<Output = Result<(), CloudError>>,
    ) -> Result<(), Outcome> {
        // On the heap: a cloud's work is large for a worker's stack.
        let action = Box::pin(action);
        match tokio::time::timeout(turn.limit.saturating_sub(MARGIN), action).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(again(turn, ERRORS, &format!("{what}: {e}"))),
            Err(_) => Err(again(turn, PATIENCE, &format!("{what} goes on"))),
        }
    }

    /// Stops it, and is done when it is stopped.
    pub(super) async fn stop(&self, turn: &Turn<'_>) -> Result<Outcome, Outcome> {
        let mut instance = self.there(turn).await?;
        if matches!(
            instance.state,
            InstanceState::Running | InstanceState::Pending
        ) {
            self.act(turn, "to stop it", self.cloud.stop(self.id))
                .await?;
            instance = self.there(turn).await?;
        }
        match instance.state {
            InstanceState::Stopped => Ok(self.touched(Outcome::done(instance.detail))),
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Unknown(_) => Err(again(turn, PATIENCE, &instance.detail)),
        }
    }

    /// Starts it; one that runs or is starting is left alone.
    pub(super) async fn start(&self, turn: &Turn<'_>) -> Result<Outcome, Outcome> {
        let instance = self.there(turn).await?;
        match instance.state {
            InstanceState::Running | InstanceState::Pending => {}
            InstanceState::Stopped => {
                self.act(turn, "to start it", self.cloud.start(self.id))
                    .await?;
            }
            InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Unknown(_) => return Err(again(turn, PATIENCE, &instance.detail)),
        }
        let name = &self.server.subject.name;
        Ok(self.touched(Outcome::done(format!("{name} is started"))))
    }

    /// Waits until it runs, in another boot than the marked one.
    pub(super) async fn await_running(&self, turn: &Turn<'_>) -> Result<Outcome, Outcome> {
        let instance = self.there(turn).await?;
        let marked = turn.incident.memo["boot"].as_str();
        let same = marked.is_some() && marked == instance.boot.as_deref();
        match instance.state {
            InstanceState::Running if !same => Ok(ended(Outcome::done(instance.detail))),
            InstanceState::Running => Err(again(turn, PATIENCE, "it has not gone down yet")),
            InstanceState::Pending
            | InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Unknown(_) => Err(again(turn, PATIENCE, &instance.detail)),
        }
    }

    /// A remedy that cannot go on does not leave the server stopped.
    pub(super) async fn give_up(&self, outcome: Outcome) -> Outcome {
        let why = match &outcome.ended {
            Ended::Done | Ended::Again(_) => return outcome,
            Ended::Failed(why) | Ended::PassedOver(why) => why.clone(),
        };
        let started = Box::pin(self.cloud.start(self.id));
        let word = match tokio::time::timeout(SOON, started).await {
            Ok(Ok(())) => "it is started again".to_owned(),
            Ok(Err(e)) => format!("nor can it be started: {e}"),
            Err(_) => "it is being started again".to_owned(),
        };
        let failed = Outcome::failed(format!("{why}; {word}"));
        ended(Outcome {
            memo: outcome.memo,
            ..self.touched(failed)
        })
    }

    pub(super) fn touched(&self, outcome: Outcome) -> Outcome {
        outcome.touching(format!("server {}", self.server.subject.name))
    }
}

/// What is remembered from here on must be brought to its end.
pub(super) fn half_done(outcome: Outcome) -> Outcome {
    outcome.remember("half_done", true)
}

/// It was.
pub(super) fn ended(outcome: Outcome) -> Outcome {
    outcome.remember("half_done", serde_json::Value::Null)
}
