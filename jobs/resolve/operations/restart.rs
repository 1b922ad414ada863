//! `restart`: a resource's cluster is restarted: because somebody asked for it, letting
//! sessions end (stop mode fast), or because it does not answer, and then only if it
//! still does not.

use std::time::Duration;

use drover::model::{Cause, OperationKind};
use serde::{Deserialize, Serialize};

use super::follows::{nobody_else_leads, role};
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::{await_available, script};
use crate::host::ScriptError;
use crate::host::scripts::{
    LOOK_CLUSTER, MARK_POSTMASTER, RESTART_CLUSTER, RESTART_DEAD_CLUSTER, RESTART_FOLLOWER,
};

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
        step!("mark", "look how the cluster is" => mark)
            .may_end()
            .watching(),
        step!("restart", "restart the cluster" => restart)
            .within(Duration::from_secs(25))
            .may_end(),
        await_available::step(),
    ];
}

/// How soon a cluster that answers, or is on its way to, is looked at again.
const LATER: Duration = Duration::from_secs(2);
/// So often a cluster that accepts connections is left to its feeler.
const ACCEPTS: u64 = 5;

async fn mark(turn: &mut Turn<'_, Restart>) -> Work {
    match turn.params.how {
        How::Always => {}
        How::Fast | How::Immediate => return look(turn).await,
        How::Follower => return Ok(Outcome::done("it is restarted if it is a standby")),
    }
    let said = script::at_cluster(turn, turn.resource()?, MARK_POSTMASTER, &[], b"").await?;
    turn.memo.cluster = said.value("cluster")?.to_owned();
    turn.memo.postmaster = said.value("postmaster")?.to_owned();
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
    let on = turn.resource()?;
    let said = script::at_cluster(turn, on, LOOK_CLUSTER, &[cause(turn)], b"").await;
    let said = said.map_err(script::or_skip)?;
    let (cluster, alive) = (said.value("cluster")?, said.value("alive")?);
    cluster.clone_into(&mut turn.memo.cluster);
    match said.value("answers")? {
        "0" => return Err(accepts(turn)),
        "1" => return Err(starts(turn)),
        _ => {}
    }
    let name = &on.1.subject.name;
    let clock = said.value("clock")?.parse();
    turn.memo.clock = Some(clock.map_err(|_| Outcome::failed(format!("{name} has no clock")))?);
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
    let on = turn.resource()?;
    nobody_else_leads(turn, on.0).await?;
    let clock = turn.memo.clock.unwrap_or(i64::MAX).to_string();
    let arguments = [mode, &clock, cause(turn), role(on.0)];
    let said = script::at_cluster(turn, on, RESTART_DEAD_CLUSTER, &arguments, b"").await;
    let cluster = &turn.memo.cluster;
    let touched = format!("cluster {cluster} on {}", on.1.subject.name);
    match said {
        Ok(said) => {
            Ok(Outcome::done(format!("{cluster}: {}", said.last_words())).touching(touched))
        }
        Err(ScriptError::Failed { status, words, .. })
            if !matches!(
                status,
                ScriptError::NOTHING_THERE
                    | ScriptError::GOES_ON
                    | ScriptError::REFUSED
                    | ScriptError::NOT_PROVED
            ) =>
        {
            match status {
                7 => Err(accepts(turn)),
                8 => Err(starts(turn)),
                _ => {
                    let why = format!("{cluster} does not start: {words}");
                    Err(Outcome::failed(why).touching(touched))
                }
            }
        }
        Err(e) => Err(script::or_skip(e)),
    }
}

async fn always(turn: &mut Turn<'_, Restart>) -> Work {
    let on = turn.resource()?;
    nobody_else_leads(turn, on.0).await?;
    let arguments = [turn.memo.postmaster.as_str(), role(on.0)];
    let said = script::at_cluster(turn, on, RESTART_CLUSTER, &arguments, b"").await?;
    let cluster = &turn.memo.cluster;
    Ok(Outcome::done(format!("{cluster} {}", said.last_words())))
}

async fn follower(turn: &mut Turn<'_, Restart>) -> Work {
    let on = turn.resource()?;
    match script::at_cluster(turn, on, RESTART_FOLLOWER, &[], b"").await {
        Ok(said) => {
            let touched = format!("cluster {}", on.0.subject.name);
            Ok(Outcome::done(said.last_words()).touching(touched))
        }
        Err(e) => Err(script::or_skip(e)),
    }
}
