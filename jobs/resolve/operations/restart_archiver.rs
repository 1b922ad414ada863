//! `restart_archiver`: what hangs under a cluster's archiver is ended, it begins a new
//! segment, and is watched until it has caught up.

use std::time::Duration;

use drover::model::OperationKind;
use serde::{Deserialize, Serialize};

use super::follows::follows;
use super::kind::{NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::host::scripts::{LOOK_ARCHIVER, RESTART_ARCHIVER};

/// What hangs under an archiver is ended, and it goes on.
pub(super) struct RestartArchiver;

/// How it goes on.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// How it stood when it was restarted, or last archived a segment.
    progress: Option<Progress>,
}

/// What its archiver has counted, and when, in seconds of the server's clock.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Progress {
    archived: i64,
    failed: i64,
    at: i64,
}

impl Operation for RestartArchiver {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::RestartArchiver;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look what is wrong with its archiver" => look).may_end(),
        step!(
            "restart",
            "end what hangs under its archiver, and switch to a new segment" => restart
        )
        .may_end(),
        step!("catch_up", "wait until archiving keeps up" => catch_up)
            .may_end()
            .watching(),
    ];
}

/// How long one segment of 16 MiB may be under way, in seconds: longer than any
/// archive that keeps up with anything would take.
const HUNG_S: &str = "60";
/// How long a restarted archiver may take to archive one: it is started again
/// after 10 s, and looks for itself every 60 s.
const PROGRESS_S: i64 = 75;
const POLL: Duration = Duration::from_secs(2);

/// What a script tells.
#[derive(Debug, Deserialize)]
struct Told {
    on: bool,
    /// A follower, which archives nothing of its own.
    left_to_leader: bool,
    configured: bool,
    archived: i64,
    failed: i64,
    failing: bool,
    ready: u64,
    segment: Option<String>,
    /// Seconds of the server's clock.
    clock: i64,
    archiver: Option<String>,
    /// What hangs under it.
    hung: String,
    /// The log's last word on it.
    log: String,
    /// How many processes were ended.
    ended: String,
}

impl Told {
    fn progress(&self) -> Progress {
        Progress {
            archived: self.archived,
            failed: self.failed,
            at: self.clock,
        }
    }

    /// What is wrong with it, for people.
    fn why(&self) -> String {
        let mut words = Vec::new();
        if self.archiver.is_none() {
            words.push("there is no archiver".into());
        }
        if !self.hung.trim().is_empty() {
            words.push(format!("under the archiver hangs {}", self.hung.trim()));
        }
        if self.failing {
            let segment = self.segment.as_deref().unwrap_or("a segment");
            let said = match self.log.as_str() {
                "" => "the archive command fails",
                said => said,
            };
            words.push(format!("{said}, last for {segment}"));
        }
        words.push(format!("{} segments wait", self.ready));
        words.join("; ")
    }
}

async fn look(turn: &mut Turn<'_, RestartArchiver>) -> Work {
    let on = turn.resource()?;
    let told: Told = script::ask(turn, on, LOOK_ARCHIVER, &[HUNG_S]).await?;
    if !told.on {
        return Ok(Outcome::done("archiving is off"));
    }
    if told.left_to_leader {
        let why = follows(on.0.leader, true).unwrap_or_default();
        return Ok(Outcome::skipped(why));
    }
    if !told.configured {
        return Ok(Outcome::skipped(
            "archiving is on, but there is no archive_command: somebody has to say where to",
        ));
    }
    Ok(Outcome::done(told.why()))
}

async fn restart(turn: &mut Turn<'_, RestartArchiver>) -> Work {
    let (resource, server) = turn.resource()?;
    let told: Told = script::ask(turn, (resource, server), RESTART_ARCHIVER, &[HUNG_S]).await?;
    let ended = match told.ended.as_str() {
        "" | "0" => "nothing hung".into(),
        ended => format!("ended {ended} hung processes"),
    };
    turn.memo.progress = Some(told.progress());
    Ok(
        Outcome::done(format!("{ended}, reloaded and switched to a new segment")).touching(
            format!(
                "archiver of {} on {}",
                resource.subject.name, server.subject.name
            ),
        ),
    )
}

/// Waits for as long as segments go: a long queue is no failure.
async fn catch_up(turn: &mut Turn<'_, RestartArchiver>) -> Work {
    let told: Told = script::ask(turn, turn.resource()?, LOOK_ARCHIVER, &[HUNG_S]).await?;
    if !told.on || !told.failing && told.ready <= turn.rules.limits.archive_ready / 2 {
        let keeps_up = format!("archiving keeps up: {} segments wait", told.ready);
        return Ok(Outcome::done(keeps_up));
    }
    let last = *turn.memo.progress.get_or_insert(told.progress());
    if told.archived > last.archived {
        turn.memo.progress = Some(told.progress());
        return Ok(Outcome::again(
            POLL,
            format!("{} segments wait", told.ready),
        ));
    }
    // The one that was ended may count as failed itself.
    if told.failed > last.failed + 1 || told.clock - last.at > PROGRESS_S {
        return Ok(Outcome::failed(told.why()));
    }
    Ok(Outcome::again(POLL, told.why()))
}
