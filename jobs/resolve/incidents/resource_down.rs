//! `resource_down`: a resource is unavailable, though its server is there.

use std::time::Duration;

use drover::model::{Cause, IncidentKind, Resource, Server, Severity};
use drover::store::subjects::Known;

use super::followers::{self, REBUILD};
use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::shell::{self, FIND_CLUSTER};
use super::{Ended, Outcome, Turn, fail_over};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::ResourceDown,
    title: "a database does not answer, though its server does",
    opened_when: "the resource is unavailable and its server is available",
    tiers: Tiers::All,
    severity: Severity::Critical,
    budget: Budget {
        attempts: 5,
        deadline: Duration::from_secs(180),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[
        Remedy {
            name: "restart_fast",
            does: "restart the cluster, letting sessions end (stop mode fast)",
            attempts: 2,
            settle: Duration::from_secs(20),
            steps: &STEPS,
        },
        Remedy {
            name: "restart_immediate",
            does: "restart the cluster, killing what does not stop (stop mode immediate)",
            attempts: 2,
            settle: Duration::from_secs(20),
            steps: &STEPS,
        },
        fail_over::REMEDY,
        // For a follower only.
        REBUILD,
    ],
    undo: None,
    tells: Tells::TicketAndPage,
};

const STEPS: [Step; 2] = [
    Step::watching("look").within(Duration::from_secs(12)),
    Step::new("restart").within(Duration::from_secs(25)),
];

/// How soon a restart that another's is in the way of is tried again.
const SOON: Duration = Duration::from_secs(1);

/// How soon a cluster that answers, or is on its way to, is looked at again.
const LATER: Duration = Duration::from_secs(2);
/// So often a cluster that accepts connections is left to its feeler.
const ACCEPTS: u64 = 5;

const ANSWERS: &str = include_str!("../../host/scripts/prelude/answers.sh");

const LOOK: &str = include_str!("../../host/scripts/look_cluster.sh");

const RESTART: &str = include_str!("../../host/scripts/restart_dead_cluster.sh");

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    if turn.remedy == fail_over::REMEDY.name {
        return fail_over::perform(turn).await;
    }
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has a cluster to restart");
    };
    let done = match turn.step {
        "look" => look(turn, resource, server).await,
        "ask" | "rebuilt" => return followers::perform(turn).await,
        _ => restart(turn, resource, server).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn look(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let script = format!("{FIND_CLUSTER}{ANSWERS}{LOOK}");
    let port = resource.port.to_string();
    let arguments = [port.as_str(), cause(turn)];
    let said = shell::run(turn.tools, server, &script, &arguments, turn.limit).await?;
    let mut lines = said.out.lines();
    let (clock, cluster, alive) = (lines.next(), lines.next(), lines.next());
    let answers = lines.next();
    match (said.status, clock.map(str::parse::<i64>), cluster, alive) {
        (0, Some(Ok(clock)), Some(cluster), Some(alive)) => {
            match answers {
                Some("0") => return Ok(accepts(turn, cluster)),
                Some("1") => return Ok(starts(cluster)),
                Some(_) | None => {}
            }
            Ok(Outcome::done(format!(
                "cluster {cluster} on {} is {alive}",
                server.subject.name
            ))
            .remember("clock", clock)
            .remember("cluster", cluster))
        }
        (3, ..) => Ok(Outcome::passed_over(format!(
            "{} on {}",
            said.last_words(),
            server.subject.name
        ))),
        _ => Ok(Outcome::failed(format!(
            "{} did not say how its clusters are: {}",
            server.subject.name,
            said.last_words()
        ))),
    }
}

/// Why drover could not get in, in the record's word.
fn cause(turn: &Turn<'_>) -> &'static str {
    let cause = turn.seen.and_then(|seen| seen.attributes.cause);
    cause.map_or("", Cause::as_str)
}

/// One that starts or recovers is waited for, within the playbook's time.
fn starts(cluster: &str) -> Outcome {
    let waits_for = format!("cluster {cluster} is starting, or recovers");
    Outcome::new(Ended::Again(LATER), waits_for)
}

/// One that accepts connections is left to its next observations first, for it may
/// just have come back; no restart lets drover in where it is kept out.
fn accepts(turn: &Turn<'_>, cluster: &str) -> Outcome {
    let seen = turn.seen.map(|seen| &seen.attributes);
    if let Some(seen) =
        seen.filter(|seen| seen.cause.is_some_and(|cause| cause.profile().its_own_word))
    {
        let said = seen.message.as_deref().unwrap_or("an error");
        return Outcome::passed_over(format!(
            "cluster {cluster} accepts connections; what it says to drover no restart mends: {said}"
        ));
    }
    let why = format!(
        "cluster {cluster}: it accepts connections on its own socket; what keeps drover out lies \
         between"
    );
    let times = turn.incident.memo["accepts"].as_u64().unwrap_or(0) + 1;
    if times > ACCEPTS {
        return Outcome::passed_over(why);
    }
    Outcome::new(Ended::Again(LATER), why).remember("accepts", times)
}

async fn restart(
    turn: &Turn<'_>,
    resource: &Resource,
    server: &Server,
) -> Result<Outcome, Outcome> {
    let script = format!("{FIND_CLUSTER}{ANSWERS}{RESTART}");
    let mode = match turn.remedy {
        "restart_immediate" => "immediate",
        _ => "fast",
    };
    let port = resource.port.to_string();
    let clock = turn.incident.memo["clock"].as_i64().unwrap_or(i64::MAX);
    let arguments = [port.as_str(), mode, &clock.to_string(), cause(turn)];
    let said = shell::run(turn.tools, server, &script, &arguments, turn.limit).await?;
    let cluster = turn.incident.memo["cluster"].as_str().unwrap_or("cluster");
    let outcome = match said.status {
        0 => Outcome::done(format!("{cluster}: {}", said.last_words())),
        7 => return Ok(accepts(turn, cluster)),
        8 => return Ok(starts(cluster)),
        6 => return Ok(Outcome::new(Ended::Again(SOON), said.last_words())),
        _ => Outcome::failed(format!("{cluster} does not start: {}", said.last_words())),
    };
    Ok(outcome.touching(format!("cluster {cluster} on {}", server.subject.name)))
}
