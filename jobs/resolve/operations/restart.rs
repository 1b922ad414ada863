//! `restart`: a resource's cluster is restarted: because somebody asked for it, letting
//! sessions end (stop mode fast), or because it does not answer, and then only if it
//! still does not.

use std::time::Duration;

use drover::model::{Cause, OperationKind};
use serde::{Deserialize, Serialize};

use super::kind::{Context, Operation, Outcome, Step, Turn, Work};
use super::{await_available, script};

/// A resource's cluster is restarted.
pub(super) struct Restart;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    how: How,
}

/// How it is restarted.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    /// Whatever it does.
    #[default]
    Always,
    /// If it does not answer: letting sessions end.
    Fast,
    /// If it does not answer: killing what does not stop.
    Immediate,
    /// If it is a standby, with the sessions that read from it.
    Follower,
}

/// Which cluster it is, and which postmaster is to end.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    cluster: String,
    /// Empty: there was none.
    postmaster: String,
    /// The server's clock before: what was started since is our own work.
    clock: Option<i64>,
    /// How often it was found to accept connections.
    accepts: u64,
}

impl Operation for Restart {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Restart;
    const STEPS: &'static [Step<Self>] = &[
        Step::new("mark", "look how the cluster is", |turn| {
            Box::pin(mark(turn))
        })
        .may_end()
        .watching(),
        Step::new("restart", "restart the cluster", |turn| {
            Box::pin(restart(turn))
        })
        .within(Duration::from_secs(25))
        .may_end(),
        await_available::step(),
    ];
}

/// How soon a restart that another's is in the way of is tried again.
const SOON: Duration = Duration::from_secs(1);
/// How soon a cluster that answers, or is on its way to, is looked at again.
const LATER: Duration = Duration::from_secs(2);
/// So often a cluster that accepts connections is left to its feeler.
const ACCEPTS: u64 = 5;

const POSTMASTER: &str = include_str!("../../host/scripts/prelude/postmaster.sh");
const ANSWERS: &str = include_str!("../../host/scripts/prelude/answers.sh");
const MARK: &str = include_str!("../../host/scripts/mark_postmaster.sh");
const LOOK: &str = include_str!("../../host/scripts/look_cluster.sh");
const RESTART: &str = include_str!("../../host/scripts/restart_cluster.sh");
const RESTART_DEAD: &str = include_str!("../../host/scripts/restart_dead_cluster.sh");
const RESTART_FOLLOWER: &str = include_str!("../../host/scripts/restart_follower.sh");

async fn mark(turn: &mut Turn<'_, Restart>) -> Work {
    match turn.params.how {
        How::Always => {}
        How::Fast | How::Immediate => return look(turn).await,
        How::Follower => return Ok(Outcome::done("it is restarted if it is a standby")),
    }
    let text = format!("{POSTMASTER}{MARK}");
    let said = script::at_cluster(turn, turn.resource()?, &text, &[], b"").await?;
    let mut lines = said.out.lines().map(str::to_owned);
    turn.memo.cluster = lines.next().unwrap_or_default();
    turn.memo.postmaster = lines.next().unwrap_or_default();
    let runs = match turn.memo.postmaster.is_empty() {
        true => "does not run",
        false => "runs",
    };
    Ok(Outcome::done(format!(
        "cluster {} {runs}",
        turn.memo.cluster
    )))
}

/// One that answers is not restarted, nor one that is on its way to.
async fn look(turn: &mut Turn<'_, Restart>) -> Work {
    let (resource, server) = turn.resource()?;
    let name = &server.subject.name;
    let text = format!("{ANSWERS}{LOOK}");
    let said = script::hear(turn, (resource, server), &text, &[cause(turn)], b"").await?;
    let mut lines = said.out.lines();
    let (clock, cluster, alive) = (lines.next(), lines.next(), lines.next());
    let answers = lines.next();
    let (0, Some(Ok(clock)), Some(cluster), Some(alive)) =
        (said.status, clock.map(str::parse::<i64>), cluster, alive)
    else {
        return Err(Outcome::failed(format!(
            "{name} did not say how its clusters are: {}",
            said.last_words()
        )));
    };
    cluster.clone_into(&mut turn.memo.cluster);
    match answers {
        Some("0") => return Err(accepts(turn)),
        Some("1") => return Err(starts(turn)),
        Some(_) | None => {}
    }
    turn.memo.clock = Some(clock);
    Ok(Outcome::done(format!(
        "cluster {cluster} on {name} is {alive}"
    )))
}

/// Why drover could not get in, in the record's word.
fn cause<'a>(turn: &Context<'a>) -> &'a str {
    let cause = turn.seen.and_then(|seen| seen.attributes.cause);
    cause.map_or("", Cause::as_str)
}

/// One that starts or recovers is waited for, within its incident's time.
fn starts(turn: &Turn<'_, Restart>) -> Outcome {
    let cluster = &turn.memo.cluster;
    Outcome::again(LATER, format!("cluster {cluster} is starting, or recovers"))
}

/// One that accepts connections is left to its next observations first, for it may
/// just have come back; no restart lets drover in where it is kept out.
fn accepts(turn: &mut Turn<'_, Restart>) -> Outcome {
    let cluster = &turn.memo.cluster;
    let seen = turn.seen.map(|seen| &seen.attributes);
    if let Some(seen) =
        seen.filter(|seen| seen.cause.is_some_and(|cause| cause.profile().its_own_word))
    {
        let said = seen.message.as_deref().unwrap_or("an error");
        return Outcome::skipped(format!(
            "cluster {cluster} accepts connections; what it says to drover no restart mends: {said}"
        ));
    }
    let why = format!(
        "cluster {cluster}: it accepts connections on its own socket; what keeps drover out lies \
         between"
    );
    turn.memo.accepts += 1;
    if turn.memo.accepts > ACCEPTS {
        return Outcome::skipped(why);
    }
    Outcome::again(LATER, why)
}

async fn restart(turn: &mut Turn<'_, Restart>) -> Work {
    let mode = match turn.params.how {
        How::Always => return always(turn).await,
        How::Follower => return follower(turn).await,
        How::Fast => "fast",
        How::Immediate => "immediate",
    };
    let (resource, server) = turn.resource()?;
    let text = format!("{ANSWERS}{RESTART_DEAD}");
    let clock = turn.memo.clock.unwrap_or(i64::MAX).to_string();
    let arguments = [mode, &clock, cause(turn)];
    let said = script::hear(turn, (resource, server), &text, &arguments, b"").await?;
    let touched = format!("cluster {} on {}", turn.memo.cluster, server.subject.name);
    let cluster = &turn.memo.cluster;
    match said.status {
        0 => Ok(Outcome::done(format!("{cluster}: {}", said.last_words())).touching(touched)),
        6 => Err(Outcome::again(SOON, said.last_words())),
        7 => Err(accepts(turn)),
        8 => Err(starts(turn)),
        _ => {
            let why = format!("{cluster} does not start: {}", said.last_words());
            Err(Outcome::failed(why).touching(touched))
        }
    }
}

async fn always(turn: &mut Turn<'_, Restart>) -> Work {
    let text = format!("{POSTMASTER}{RESTART}");
    let marked = [turn.memo.postmaster.as_str()];
    let said = script::at_cluster(turn, turn.resource()?, &text, &marked, b"").await?;
    let cluster = &turn.memo.cluster;
    Ok(Outcome::done(format!("{cluster} {}", said.last_words())))
}

async fn follower(turn: &mut Turn<'_, Restart>) -> Work {
    let (resource, server) = turn.resource()?;
    let said = script::hear(turn, (resource, server), RESTART_FOLLOWER, &[], b"").await?;
    let words = format!("{} on {}", said.last_words(), server.subject.name);
    match said.status {
        0 => {
            let touched = format!("cluster {}", resource.subject.name);
            Ok(Outcome::done(said.last_words()).touching(touched))
        }
        6 => Err(Outcome::again(SOON, words)),
        _ => Err(Outcome::failed(words)),
    }
}
