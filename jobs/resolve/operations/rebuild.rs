//! `rebuild`: a node that the record knows as a follower is made to follow: an old leader
//! that comes back, or a follower that cannot any more. It is rewound to where it parted
//! from its leader; where that cannot be done it is copied anew.

use std::time::Duration;

use drover::model::{OperationKind, Resource, Server, SubjectId, slot_of};
use drover::store::subjects::Known;
use serde::{Deserialize, Serialize};

use super::create_resource::{self, plan};
use super::failover::Lsn;
use super::follow::{Node, follow, make_slots, node, replication_password};
use super::kind::{self, Ended, Operation, Outcome, Step, Turn, Work, step};
use super::reconnect::follower;
use super::{await_available, script, switchover, sync};
use crate::host::ScriptError;
use crate::host::scripts::{
    COPY_LEADER, FENCE, LEADERS_TIMELINE, OPEN, REACHES, REWIND, STREAMS_FROM, TRY_CHECKPOINT,
};

/// A node is made to follow again.
pub(super) struct Rebuild;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// What is tried first; `None`: to rewind it.
    #[serde(default)]
    how: Option<How>,
    /// Whether it takes writes, and is stopped whatever becomes of it then.
    #[serde(default)]
    writes: bool,
    /// Whether another has its lead though nothing has stopped it: a human is called until
    /// something has.
    #[serde(default)]
    #[expect(dead_code, reason = "for the incident, which reads it in the record")]
    may_live: bool,
}

/// How it comes to follow again.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// It is rewound, and copied if that cannot be done.
    Rewind,
    /// It is copied anew.
    Copy,
}

/// What was done with it so far.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// Whom it was told to follow.
    leader: Option<SubjectId>,
    /// What is tried next, whatever was asked.
    how: Option<How>,
    /// Whether it was stopped.
    stopped: bool,
    rewound: bool,
    /// How many bytes of its own WAL are lost by that, where somebody can tell.
    lost_bytes: Option<u64>,
    /// Then there is nothing more that could be done.
    copied: bool,
}

impl Operation for Rebuild {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Rebuild;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "see whether it reaches its leader" => look).may_end(),
        step!("stop", "wait for its server, and stop it before it writes" => stop),
        step!("follow", "tell it whom it follows" => follow_it),
        step!("rewind", "rewind it to where it parted from its leader" => rewind),
        step!("copy", "copy its leader anew" => copy),
        step!("start", "start it" => start),
        step!("tidy", "drop the slots that it kept as a leader" => tidy),
        step!("stream", "wait until it streams" => stream),
        step!("names", "have its leader's commits wait for it, if they do for any" => names),
        await_available::step(),
    ];

    fn also_changes(step: &str, known: Option<&Known>, _memo: &Self::Memo) -> Vec<SubjectId> {
        match step {
            "follow" => kind::follows(known),
            _ => vec![],
        }
    }
}

/// Between two tries to reach a server that is down.
const SOON: Duration = Duration::from_secs(1);
/// How long one that was rewound may take to stream before it is copied.
const STREAMS: Duration = Duration::from_secs(45);
/// Starts that fail before it is copied.
const TRIES: u32 = 2;

/// The node with its server, and its leader. Where that is another one by now, all
/// begins anew; where it leads itself, there is nothing to do.
fn parts<'a>(
    turn: &mut Turn<'a, Rebuild>,
) -> Result<((&'a Resource, &'a Server), SubjectId), Outcome> {
    let on = turn.resource()?;
    let Some(leader) = on.0.leader else {
        return Err(Outcome::then("await_available", "it leads by now"));
    };
    if turn.memo.leader.is_some_and(|told| told != leader) {
        turn.memo.leader = None;
        return Err(Outcome::then("stop", "its leader is another one by now"));
    }
    Ok((on, leader))
}

/// An incident gives up what is there for a copy only if there is something to copy from.
/// Who comes back behind a failover waits for its leader.
async fn look(turn: &mut Turn<'_, Rebuild>) -> Work {
    if turn.incident.is_none() {
        return Ok(Outcome::done("it is stopped first"));
    }
    if turn.params.writes {
        follower(turn)?;
        return Ok(Outcome::done("it takes writes, and is stopped first"));
    }
    let (_, server, leader) = follower(turn)?;
    let (leader, its_server) = node(turn, leader).await?;
    let (host, port) = (its_server.address.as_str(), leader.port.to_string());
    match script::run(turn, server, REACHES, &[host, &port], b"").await {
        Ok(_) => Ok(Outcome::done(format!(
            "it reaches its leader at {host} port {port}"
        ))),
        Err(e) if e.status() == Some(9) => Err(Outcome::skipped(format!(
            "{} does not reach its leader at {host} port {port}: nothing could be copied",
            server.subject.name
        ))),
        Err(e) => Err(Outcome::failed(e.to_string())),
    }
}

/// Stops it at once: it may be an old leader that is just coming back.
async fn stop(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on, _) = parts(turn)?;
    let said = script::at_cluster(turn, on, FENCE, &[], b"").await;
    match said.map_err(Outcome::from) {
        Ok(said) => {
            turn.memo.stopped = true;
            Ok(Outcome::done(said.last_words()))
        }
        // However long its server takes: it is another's to mend.
        Err(outcome) if outcome.ended == Ended::Failed => Err(Outcome::again(SOON, outcome.note)),
        Err(outcome) => Err(outcome),
    }
}

async fn follow_it(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on @ (resource, _), leader) = parts(turn)?;
    let (leader, its_server) = node(turn, leader).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    make_slots(turn, to, password, &[resource], keep).await?;
    // It has none on its timeline before its first checkpoint, which PostgreSQL takes minutes
    // over. It is rewound when its leader has one.
    script::at_cluster(turn, to, TRY_CHECKPOINT, &[], b"").await?;
    let said = follow(turn, on, to, password).await?;
    turn.memo.leader = Some(leader.subject.id);
    Ok(match turn.memo.how.or(turn.params.how) {
        Some(How::Copy) => Outcome::then("copy", said),
        Some(How::Rewind) | None => Outcome::done(said),
    })
}

/// What a script needs to know to reach the leader.
fn arguments((leader, server): &Node, resource: &Resource) -> [String; 3] {
    [
        server.address.clone(),
        leader.port.to_string(),
        slot_of(resource.subject.id),
    ]
}

/// The timeline that a leader writes, and the one that its control file bears.
#[derive(Deserialize)]
pub(super) struct Timeline {
    pub(super) writes: u32,
    pub(super) bears: u32,
}

async fn rewind(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on, leader) = parts(turn)?;
    let leader = node(turn, leader).await?;
    let its = (&*leader.0, &*leader.1);
    let its: Timeline = script::ask(turn, its, LEADERS_TIMELINE, &[]).await?;
    // pg_rewind would see the old one, find no difference, and leave what is beyond it.
    if its.bears < its.writes {
        let text = format!(
            "its leader has made no checkpoint yet on timeline {}",
            its.writes
        );
        return Err(Outcome::again(SOON, text));
    }
    let [host, port, slot] = arguments(&leader, on.0);
    let job = format!("rewind-{}", turn.operation.id);
    // Who has led bears an older one than its leader, or one of the same number that nobody
    // else knows.
    let has_led = turn.params.writes || turn.incident.is_none();
    let older_than = if has_led { its.writes } else { u32::MAX }.to_string();
    let arguments = [host.as_str(), &port, &slot, &job, &older_than];
    let said = script::at_cluster(turn, on, REWIND, &arguments, b"").await;
    if let Err(e) = &said
        && e.status() == Some(ScriptError::HOPELESS)
    {
        return Ok(Outcome::then("copy", format!("{e}; it is copied")));
    }
    match said.map_err(Outcome::from) {
        Ok(said) => {
            let mut words = said.last_words();
            turn.memo.rewound = true;
            if let Some(bytes) = lost(said.value("end")?, said.value("parted")?) {
                words += &format!("; {bytes} bytes of its WAL were never replicated and are lost");
                // Its leader may have changed since it was rewound first.
                turn.memo.lost_bytes = most(turn.memo.lost_bytes, bytes);
            }
            Ok(Outcome::then("start", words))
        }
        Err(outcome) if outcome.ended == Ended::Failed && turn.operation.failures > 0 => {
            let text = format!("it cannot be rewound, and is copied: {}", outcome.note);
            Ok(Outcome::then("copy", text))
        }
        Err(outcome) => Err(outcome),
    }
}

async fn copy(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on, leader) = parts(turn)?;
    let leader = node(turn, leader).await?;
    let [host, port, slot] = arguments(&leader, on.0);
    let rate = plan(turn, on.0).await?.backup_rate_mib.to_string();
    let job = format!("copy-{}", turn.operation.id);
    let arguments = [host.as_str(), &port, &slot, &job, &rate];
    let said = script::at_cluster(turn, on, COPY_LEADER, &arguments, b"").await;
    match said.map_err(Outcome::from) {
        Ok(said) => {
            turn.memo.copied = true;
            Ok(Outcome::done(said.last_words()))
        }
        // Somebody has started it meanwhile, or its leader keeps no slot for it any more.
        Err(outcome) if outcome.ended == Ended::Failed && turn.operation.failures >= TRIES => {
            turn.memo.how = Some(How::Copy);
            let text = format!("it cannot be copied yet: {}", outcome.note);
            Ok(Outcome::then("stop", text))
        }
        Err(outcome) => Err(outcome),
    }
}

async fn start(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on @ (resource, server), _) = parts(turn)?;
    script::at_cluster(turn, on, OPEN, &[], b"").await?;
    match create_resource::start(turn, resource, server).await {
        Err(outcome)
            if outcome.ended == Ended::Failed
                && turn.operation.failures >= TRIES
                && !turn.memo.copied =>
        {
            let text = format!("it does not start, and is copied: {}", outcome.note);
            Ok(Outcome::then("copy", text))
        }
        done => done,
    }
}

async fn tidy(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on, _) = parts(turn)?;
    switchover::tidy(turn, on).await
}

async fn stream(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on, _) = parts(turn)?;
    let said = script::at_cluster(turn, on, STREAMS_FROM, &[], b"").await?;
    let words = said.last_words();
    if words.starts_with("streaming") {
        return Ok(Outcome::done(words));
    }
    if turn.waited() > STREAMS && !turn.memo.copied {
        turn.memo.how = Some(How::Copy);
        let text = format!("it does not stream ({words}), and is copied");
        return Ok(Outcome::then("stop", text));
    }
    Err(Outcome::again(SOON / 2, words))
}

async fn names(turn: &mut Turn<'_, Rebuild>) -> Work {
    let (on, leader) = parts(turn)?;
    let said = sync::join(turn, leader, on.0.subject.id).await?;
    Ok(Outcome::done(said))
}

/// Bytes of WAL behind the place where it `parted` from its leader, by the `end` of its last
/// record (LSN and length); `None`: they did not part, or nobody can tell.
fn lost(end: &str, parted: &str) -> Option<u64> {
    let parted: Lsn = parted.parse().ok()?;
    let end = Lsn::end_of_record(end)?;
    Some(end.0.saturating_sub(parted.0))
}

/// What was lost in all, by what was known of it before: one that is rewound once more has
/// nothing left of what it lost then.
fn most(before: Option<u64>, now: u64) -> Option<u64> {
    before.max(Some(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_first_stands_when_it_is_rewound_once_more() {
        assert_eq!(most(None, 0), Some(0));
        assert_eq!(most(None, 2352), Some(2352));
        assert_eq!(most(Some(2352), 0), Some(2352));
    }

    #[test]
    fn what_was_lost_is_counted_from_the_fork_to_the_last_record() {
        assert_eq!(lost("0/5000148 114", "0/5000100"), Some(0x48 + 120));
        assert_eq!(lost("0/5000148 114", ""), None);
        assert_eq!(lost("", "0/5000100"), None);
        assert_eq!(lost("0/5000000 10", "0/5000100"), Some(0));
    }
}
