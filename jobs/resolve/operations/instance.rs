//! A server as an instance of its cloud: the steps that several operations share.
//!
//! Each looks first how the instance is, so that it can be done again at any time.

use std::time::Duration;

use drover::model::Server;
use drover::store::operations::Fact;
use serde::{Deserialize, Serialize};

use super::kind::{Context, Ended, Operation, Outcome, Turn, Work};
use super::leased::LeasedCloud;
use crate::cloud::{Cloud as _, CloudAction, Done, Instance, InstanceState};

/// So long between two questions to a cloud.
pub(super) const SOON: Duration = Duration::from_secs(2);
/// A step in which a cloud may have to wait for clusters.
pub(super) const POWER: Duration = Duration::from_secs(25);
/// How often a cloud may fail in a row before an incident's operation gives up.
pub(super) const TRIES: u32 = 5;
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);

/// The instance that an operation is about.
pub(super) struct Machine<'a> {
    pub(super) cloud: LeasedCloud<'a>,
    pub(super) id: &'a str,
    pub(super) server: &'a Server,
}

/// The instance of the operation's server, if its cloud can do this with it.
///
/// # Errors
/// The outcome of an operation that cannot be done here.
pub(super) fn able<'a>(turn: &Context<'a>, action: CloudAction) -> Result<Machine<'a>, Outcome> {
    let server = turn.server()?;
    let id = server
        .instance_id
        .as_deref()
        .filter(|_| server.cloud.is_some());
    let id = id.ok_or_else(|| {
        let name = &server.subject.name;
        Outcome::hopeless(format!("{name} is in no cloud that drover may ask"))
    })?;
    let cloud = turn.cloud(server)?;
    cloud
        .can(id, action)
        .map_err(|e| Outcome::hopeless(e.to_string()))?;
    Ok(Machine { cloud, id, server })
}

/// A kind of operation that stops its server, and starts it again for as long as it takes,
/// whatever goes wrong behind `stop`.
pub(super) trait Stops: Operation {
    /// What its cloud must be able to do.
    const NEEDS: CloudAction;

    /// How the instance was before.
    fn marked(memo: &mut Self::Memo) -> &mut Marked;
}

/// The instance of such an operation.
///
/// # Errors
/// As [`able`].
pub(super) fn machine<'a, O: Stops>(turn: &Turn<'a, O>) -> Result<Machine<'a>, Outcome> {
    able(turn, O::NEEDS)
}

/// Its step `stop`.
pub(super) async fn stop<O: Stops>(turn: &mut Turn<'_, O>) -> Work {
    let stopped = async {
        let machine = machine(turn)?;
        Ok(machine.touched(machine.stop(turn).await?))
    };
    let stopped = stopped.await;
    let context = turn.context;
    O::marked(&mut turn.memo).unless_hopeless(&context, stopped)
}

/// Its step `start`.
pub(super) async fn start<O: Stops>(turn: &mut Turn<'_, O>) -> Work {
    let machine = machine(turn)?;
    machine.start(turn).await??;
    let name = &machine.server.subject.name;
    Ok(machine.touched(Outcome::done(format!("{name} is started"))))
}

/// Its step `await_running`.
pub(super) async fn await_running<O: Stops>(turn: &mut Turn<'_, O>) -> Work {
    let machine = machine(turn)?;
    let context = turn.context;
    let marked = O::marked(&mut turn.memo);
    let running = machine.await_running(&context, marked).await?;
    marked.conclude(running)
}

/// What is known of an instance before it is stopped.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Marked {
    /// Where its cloud said it was reached, to know later whether the record's address
    /// was the cloud's.
    address: Option<String>,
    /// The size that it had.
    pub(super) old_size: Option<String>,
    /// Why it cannot be brought to its end, and is only started again.
    gave_up: Option<String>,
}

impl Marked {
    /// What an incident has asked for, and cannot go on, does not leave the server
    /// stopped: where no other try helps, `start` is next.
    pub(super) fn unless_hopeless(&mut self, turn: &Context<'_>, done: Work) -> Work {
        let outcome = done.unwrap_or_else(|outcome| outcome);
        let waits = turn.incident.is_none() || turn.operation.not_before.is_some();
        let helps = match outcome.ended {
            // Refused: nothing more is done there on the record's word.
            Ended::Done
            | Ended::Then(_)
            | Ended::Again(_)
            | Ended::GoesOn(_)
            | Ended::Refused
            | Ended::Skipped
            | Ended::GaveUp => true,
            Ended::Hopeless => false,
            Ended::Failed => turn.operation.failures + 1 < TRIES,
        };
        if waits || helps {
            return Ok(outcome);
        }
        let text = format!("{}; it is started again", outcome.note);
        self.gave_up = Some(text.clone());
        Ok(Outcome::then("start", text))
    }

    /// How it went, once the server runs.
    pub(super) fn conclude(&self, running: Outcome) -> Work {
        match &self.gave_up {
            Some(why) => Err(Outcome::gave_up(why)),
            None => Ok(running),
        }
    }
}

impl Machine<'_> {
    /// How it is, unless it is gone for good.
    pub(super) async fn there(&self) -> Result<Instance, Outcome> {
        let instance = self.cloud.describe(self.id).await?;
        use InstanceState::{ShuttingDown, Terminated};
        match matches!(instance.state, Terminated | ShuttingDown) {
            true => Err(Outcome::hopeless(instance.detail)),
            false => Ok(instance),
        }
    }

    /// Has the cloud do something within the step's time. What takes longer goes on
    /// by itself, and is asked for again.
    pub(super) async fn act(
        &self,
        turn: &Context<'_>,
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
    pub(super) async fn stop(&self, turn: &Context<'_>) -> Work {
        let mut instance = self.there().await?;
        if matches!(
            instance.state,
            InstanceState::Running | InstanceState::Pending
        ) {
            self.act(turn, "stopping it", self.cloud.stop(self.id))
                .await??;
            instance = self.there().await?;
        }
        match instance.state == InstanceState::Stopped {
            true => Ok(Outcome::done(instance.detail)),
            false => Err(Outcome::again(SOON, instance.detail)),
        }
    }

    /// Starts it. One that runs is asked for once more: whoever began to start it may
    /// have died over it. The inner result is the cloud's answer.
    pub(super) async fn start(&self, turn: &Context<'_>) -> Result<Done, Outcome> {
        let instance = self.there().await?;
        use InstanceState::{Pending, Running, Stopped};
        if !matches!(instance.state, Running | Pending | Stopped) {
            return Err(Outcome::again(SOON, instance.detail));
        }
        self.act(turn, "starting it", self.cloud.start(self.id))
            .await
    }

    /// Waits until it runs. One that has stopped again, as an instance does that the cloud
    /// found no room for, is started once more.
    pub(super) async fn await_running(&self, turn: &Context<'_>, marked: &Marked) -> Work {
        let instance = self.there().await?;
        match instance.state {
            InstanceState::Running => Ok(self.running(marked, &instance)),
            InstanceState::Stopped => {
                self.start(turn).await??;
                let again = format!("{}; it is started once more", instance.detail);
                Err(Outcome::again(SOON, again))
            }
            InstanceState::Pending
            | InstanceState::Stopping
            | InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Unknown(_) => Err(Outcome::again(SOON, instance.detail)),
        }
    }

    /// It runs at another address than the record's, as one does that somebody else has
    /// stopped and started: who is silent there is a stranger. Nothing is the matter with it.
    pub(super) fn moved(&self, instance: &Instance) -> Option<Outcome> {
        let address = self.its_own(instance, None)?;
        let runs = instance.state == InstanceState::Running;
        runs.then(|| {
            let note = format!("{}, at {} now", instance.detail, address);
            self.at(Outcome::then("certificates", note), address)
        })
    }

    /// Whether it is at another address than the record's since it was marked: then it has
    /// been stopped and started, whoever did it.
    pub(super) fn has_moved(&self, instance: &Instance, marked: &Marked) -> bool {
        self.its_own(instance, marked.address.as_deref()).is_some()
    }

    /// The address that its cloud gave it, where the record has one of its cloud's too, and
    /// another. A host name, or an address of a person's own choice, is left alone; what
    /// drover made has none but its cloud's.
    fn its_own<'i>(&self, instance: &'i Instance, before: Option<&str>) -> Option<&'i str> {
        let server = self.server;
        let recorded = server.address.as_str();
        let clouds = server.volume.is_some() || recorded.is_empty() || before == Some(recorded);
        let now = instance.address.as_deref().filter(|now| *now != recorded);
        now.filter(|_| clouds)
    }

    /// With the address that it is reached at from now on.
    fn at(&self, outcome: Outcome, address: &str) -> Outcome {
        outcome.with(Fact::Address {
            address: address.to_owned(),
            port: self.server.ssh_port,
            user: self.server.ssh_user.clone(),
        })
    }

    /// Says that it was touched.
    pub(super) fn touched(&self, outcome: Outcome) -> Outcome {
        outcome.touching(format!("server {}", self.server.subject.name))
    }

    /// The step behind which it may be stopped.
    pub(super) fn mark(&self, instance: &Instance, marked: &mut Marked) -> Outcome {
        marked.address.clone_from(&instance.address);
        marked.old_size.clone_from(&instance.size);
        Outcome::done(instance.detail.clone())
    }

    /// It runs: with the address that it has now, where the record had the cloud's,
    /// and its size.
    pub(super) fn running(&self, marked: &Marked, instance: &Instance) -> Outcome {
        let mut done = Outcome::done(instance.detail.clone());
        let server = self.server;
        if let Some(address) = self.its_own(instance, marked.address.as_deref()) {
            done.note = format!("{}, at {address} from now on", done.note);
            done = self.at(done, address);
        }
        match &instance.size {
            Some(size) if server.size.as_ref() != Some(size) => done.with(Fact::Size(size.clone())),
            Some(_) | None => done,
        }
    }
}
