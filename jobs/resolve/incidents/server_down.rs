//! `server_down`: a server is unavailable.

use std::time::Duration;

use drover::model::{IncidentKind, Kind, Severity, State, SubjectId};
use drover::store::subjects::{self, Known, Page};
use drover::store::{observations, queue};
use serde_json::Value;

use super::instance::{self, Machine, again, half_done};
use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Ended, Outcome, Turn, fail_over};
use crate::cloud::{Cloud as _, CloudAction, InstanceState};
use crate::ssh::{self, Limits};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::ServerDown,
    title: "a server does not answer",
    opened_when: "the server is unavailable",
    tiers: Tiers::All,
    severity: Severity::Critical,
    budget: Budget {
        attempts: 4,
        deadline: Duration::from_secs(900),
    },
    blast_radius: Blast::Server,
    looks_round: true,
    remedies: &[
        // Nothing that mends a server is quicker than a follower.
        fail_over::REMEDY,
        Remedy {
            name: "reboot",
            does: "reboot the server",
            attempts: 1,
            settle: Duration::from_secs(60),
            steps: &[Step::new("mark"), power("reboot"), Step::new("await")],
        },
        STOP_START,
    ],
    undo: None,
    tells: Tells::Page,
};

/// To stop a server and start it again, which moves it to other hardware where
/// there is any.
pub(super) const STOP_START: Remedy = Remedy {
    name: "stop_start",
    does: "stop the server and start it again, on other hardware if there is any",
    attempts: 2,
    settle: Duration::from_secs(90),
    steps: &[
        Step::new("mark"),
        power("stop"),
        power("start"),
        Step::new("await"),
    ],
};

/// A step in which a cloud may have to wait for clusters.
pub(super) const fn power(name: &'static str) -> Step {
    Step::new(name).within(Duration::from_secs(25))
}

/// How long the last look may take.
const LOOK: Duration = Duration::from_secs(4);
/// So often a server that answers is left to its feeler; then it is mended after
/// all, for what it answers is not enough.
const ANSWERS: u64 = 15;
/// So often databases that were in service until now are waited for.
const ASKED: u64 = 5;
/// So many of them speak for the rest.
const DATABASES: i64 = 1000;

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    if turn.remedy == fail_over::REMEDY.name {
        return fail_over::perform(turn).await;
    }
    let done = match turn.remedy {
        "reboot" => reboot(turn).await,
        _ => stop_start(turn).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn reboot(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let machine = instance::able(turn, CloudAction::Reboot)?;
    match turn.step {
        "mark" => mark(turn, &machine).await,
        "reboot" => once(turn, &machine).await,
        _ => machine.await_running(turn).await,
    }
}

/// Remembers by what the reboot will be known: the boot that it ends, and a token
/// that the cloud carries out once.
async fn mark(turn: &Turn<'_>, machine: &Machine<'_>) -> Result<Outcome, Outcome> {
    unless_it_lives(turn, machine).await?;
    let instance = machine.there(turn).await?;
    let token = drover::model::RowId::generate().to_string();
    let running = instance.state == InstanceState::Running;
    Ok(Outcome::done(instance.detail)
        .remember("running", running)
        .remember("boot", instance.boot)
        .remember("token", token))
}

/// Power is cut only to a server that is silent. One that answered something that
/// drover cannot use, one that nobody could ask, and one whose databases serve are
/// left to a human.
async fn unless_it_lives(turn: &Turn<'_>, machine: &Machine<'_>) -> Result<(), Outcome> {
    let cause = turn.seen.and_then(|seen| seen.attributes.cause);
    if let Some(cause) = cause.filter(|cause| cause.profile().not_silent) {
        return Err(Outcome::passed_over(format!(
            "{cause}: no reboot mends that"
        )));
    }
    unless_it_answers(turn, machine).await?;
    unless_its_databases_answer(turn, machine).await
}

/// Databases that have answered since the server does not. Those that were in
/// service, and have not been asked since, are asked first.
async fn unless_its_databases_answer(
    turn: &Turn<'_>,
    machine: &Machine<'_>,
) -> Result<(), Outcome> {
    let failed = |e: sqlx::Error| Outcome::failed(format!("the record does not answer: {e}"));
    let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
    let page = Page {
        name: None,
        state: None,
        server: Some(machine.server.subject.id),
        after: None,
        limit: DATABASES,
    };
    let known = subjects::list(&mut db, Kind::Resource, &page)
        .await
        .map_err(failed)?;
    let ids: Vec<SubjectId> = known.iter().map(|known| known.subject().id).collect();
    let newest = observations::newest(&mut db, &ids).await.map_err(failed)?;
    let since = turn.incident.state_since;
    let subject = |id| known.iter().map(Known::subject).find(|s| s.id == id);
    let mut unasked = Vec::new();
    for (id, seen) in newest {
        if seen.created_at > since && seen.attributes.service_available {
            let name = subject(id).map_or("one", |s| s.name.as_str());
            return Err(Outcome::passed_over(format!(
                "its databases answer: {name} was seen at {}",
                seen.created_at.format("%H:%M:%S")
            )));
        }
        if seen.created_at <= since && subject(id).is_some_and(|s| s.state == State::Available) {
            unasked.push(id);
        }
    }
    if unasked.is_empty() {
        return Ok(());
    }
    queue::bring_forward(&mut db, &unasked)
        .await
        .map_err(failed)?;
    let waits = again(turn, ASKED, "its databases are asked first");
    match waits.ended {
        Ended::Again(_) => Err(waits),
        Ended::Done | Ended::PassedOver(_) | Ended::Failed(_) => Ok(()),
    }
}

/// The last look. A server that came back by itself, or whose other incident was
/// just mended, needs no reboot, but a fresh observation.
async fn unless_it_answers(turn: &Turn<'_>, machine: &Machine<'_>) -> Result<(), Outcome> {
    let target = turn.tools.context.target(machine.server);
    let target = target.map_err(|e| Outcome::passed_over(e.message))?;
    let limits = Limits {
        time: LOOK,
        ..Limits::default()
    };
    let answer = ssh::run(&target, "true", limits).await;
    if answer.is_ok_and(|output| output.status == Some(0)) {
        let name = &machine.server.subject.name;
        let waits = again(
            turn,
            ANSWERS,
            &format!("{name} lets us in, and is looked at"),
        );
        if matches!(waits.ended, Ended::Again(_)) {
            return Err(waits);
        }
    }
    Ok(())
}

async fn once(turn: &Turn<'_>, machine: &Machine<'_>) -> Result<Outcome, Outcome> {
    let memo = &turn.incident.memo;
    let instance = machine.there(turn).await?;
    let name = &machine.server.subject.name;
    let runs = instance.state == InstanceState::Running;
    let marked = memo["boot"].as_str();
    let other = |boot: &str| marked.is_some_and(|marked| marked != boot);
    if runs && memo["running"] == false || instance.boot.as_deref().is_some_and(other) {
        let done = Outcome::done(format!("{name} has booted since"));
        return Ok(machine.touched(done));
    }
    match instance.state {
        // A cloud reboots only what runs.
        InstanceState::Stopped => return machine.start(turn).await,
        InstanceState::Stopping => return Err(again(turn, ANSWERS, &instance.detail)),
        InstanceState::Pending => return Ok(Outcome::done(instance.detail)),
        InstanceState::Running
        | InstanceState::ShuttingDown
        | InstanceState::Terminated
        | InstanceState::Unknown(_) => {}
    }
    let Some(token) = memo["token"].as_str() else {
        return Err(Outcome::failed("the token of this reboot is lost"));
    };
    let asked = machine.cloud.reboot(machine.id, token);
    machine.act(turn, "to reboot it", asked).await?;
    let done = Outcome::done(format!("{name} is rebooted"));
    Ok(machine.touched(done))
}

/// Of `server_down` and of `volume_stuck`.
pub(super) async fn stop_start(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let machine = instance::able(turn, CloudAction::StopStart)?;
    let done = match turn.step {
        "mark" => {
            if turn.incident.kind == IncidentKind::ServerDown {
                unless_it_lives(turn, &machine).await?;
            }
            let instance = machine.there(turn).await?;
            let marked = Outcome::done(instance.detail).remember("boot", Value::Null);
            return Ok(half_done(marked));
        }
        "stop" => machine.stop(turn).await,
        "start" => machine.start(turn).await,
        _ => machine.await_running(turn).await,
    };
    Ok(match done {
        Ok(done) => done,
        Err(outcome) => machine.give_up(outcome).await,
    })
}
