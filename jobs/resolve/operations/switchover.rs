//! `switchover`: a follower takes the lead, as planned: nothing is lost, and nobody
//! writes at two places. The old leader is shut down before the new one is promoted,
//! and comes back as its follower.

use std::time::Duration;

use drover::model::{OperationKind, Resource, Server, State, SubjectId};
use drover::store::operations::{Fact, failover as record};
use drover::store::subjects::Known;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::create_resource;
use super::fence::{PATIENT, fence};
use super::follow::{follow, followers, node, replication_password};
use super::follows::nobody_else_leads;
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::rebuild::Timeline;
use super::{await_available, lead, script};
use crate::host::scripts::{
    CAUGHT_UP, CHECKPOINT, FOLLOWER_STANDING, LEAD_ON, LEADERS_TIMELINE, STOP_LEADER, TIDY_SLOTS,
};

/// A follower takes the lead, as planned.
pub(super) struct Switchover;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// The follower that is to lead; `None`: whichever is closest.
    #[serde(default)]
    to: Option<SubjectId>,
}

/// Who is to lead, and what they must have first.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    to: Option<SubjectId>,
    /// Where the WAL of the old leader ends.
    lsn: Option<String>,
    /// The number of the timeline that the new one begins.
    timeline: Option<u32>,
    /// Whether it may have been told to lead.
    told: bool,
    /// Why the old leader leads on, if it does.
    called_off: Option<String>,
}

impl Operation for Switchover {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Switchover;
    const STEPS: &'static [Step<Self>] = &[
        step!("choose", "choose who is to lead" => choose),
        step!("names", "have its commits wait for whom the record says" => names),
        step!("checkpoint", "let the leader write down what it holds" => checkpoint),
        step!("stop", "shut the leader down" => stop),
        step!("catch_up", "wait until the follower has everything" => catch_up),
        step!("promote", "promote the follower, its leader being down" => promote),
        step!("swap", "write down who leads" => swap),
        step!("repoint", "have the other followers follow it" => repoint),
        step!("follow", "have the old leader follow it" => follow_it),
        step!("start", "start the old leader as a follower" => start),
        Step::new("tidy", "drop the slots that it kept as a leader", |turn| {
            Box::pin(async { tidy(turn, turn.resource()?).await })
        }),
        step!("lead_on", "have the leader lead on, if nobody has taken its lead" => lead_on),
        await_available::step(),
    ];

    fn also_changes(step: &str, _known: Option<&Known>, memo: &Memo) -> Vec<SubjectId> {
        // Until then only the leader is changed; who is to lead is asked, and may be mended.
        let is_changed = ["promote", "swap"].contains(&step);
        memo.to.filter(|_| is_changed).into_iter().collect()
    }
}

/// The steps that leave the leader as it is: where one of these is next or at work, it
/// may be called off.
pub(super) const HARMLESS: [&str; 3] = ["choose", "names", "checkpoint"];

/// So long between two questions about what a follower has.
const SOON: Duration = Duration::from_millis(100);
/// How long it may take to answer: nobody writes meanwhile.
const ANSWER: Duration = Duration::from_secs(2);
/// How long it may be silent before the old leader leads on: it does so before a failover would
/// find that it is down.
const SILENT: Duration = Duration::from_secs(3);
/// How long it is waited for before the old leader leads on.
const PATIENCE: Duration = Duration::from_secs(10);

/// The follower that was named, or the first that streams and is closest.
async fn choose(turn: &mut Turn<'_, Switchover>) -> Work {
    let (resource, _) = turn.resource()?;
    if resource.leader.is_some() {
        return Err(Outcome::hopeless(
            "it follows by now; only a leader hands over",
        ));
    }
    let mut best: Option<(i64, SubjectId, String)> = None;
    let mut skipped = Vec::new();
    for (follower, server) in followers(turn, resource.subject.id).await? {
        let name = follower.subject.name.clone();
        if turn.params.to.is_some_and(|to| to != follower.subject.id) {
            continue;
        }
        if follower.subject.state != State::Available {
            skipped.push(format!("{name} is {}", follower.subject.state));
            continue;
        }
        let on = (&*follower, &*server);
        match script::at_cluster(turn, on, FOLLOWER_STANDING, &[], b"").await {
            Ok(said) => {
                let words: Vec<&str> = said.text().split('|').collect();
                let lag = words.get(2).and_then(|lag| lag.parse::<i64>().ok());
                match (words.first(), words.get(1), lag) {
                    (Some(&"t"), Some(&"streaming"), Some(lag)) => {
                        if best.as_ref().is_none_or(|(least, ..)| lag < *least) {
                            best = Some((lag, follower.subject.id, name));
                        }
                    }
                    _ => skipped.push(format!("{name} does not stream")),
                }
            }
            Err(e) => skipped.push(format!("{name}: {e}")),
        }
    }
    match best {
        Some((lag, id, name)) => {
            turn.memo.to = Some(id);
            Ok(Outcome::done(format!(
                "{name} is to lead ({lag} bytes behind)"
            )))
        }
        None if skipped.is_empty() => Err(Outcome::hopeless("it has no follower")),
        None => Err(Outcome::failed(format!(
            "no follower will do: {}",
            skipped.join("; ")
        ))),
    }
}

async fn names(turn: &mut Turn<'_, Switchover>) -> Work {
    let to = lead::chosen(turn.memo.to)?;
    let said = lead::prepare(turn, turn.resource()?.0, to).await?;
    Ok(Outcome::done(said))
}

async fn checkpoint(turn: &mut Turn<'_, Switchover>) -> Work {
    let on @ (resource, _) = turn.resource()?;
    let timeline: Timeline = script::ask(turn, on, LEADERS_TIMELINE, &[]).await?;
    let given = {
        let mut db = turn.tools.pool.acquire().await?;
        record::timelines(&mut db, resource.subject.id).await?
    };
    let number = lead::next_timeline(timeline.writes, given.newest)?;
    turn.memo.timeline = Some(number);
    let said = script::at_cluster(turn, on, CHECKPOINT, &[], b"").await?;
    Ok(Outcome::done(said.last_words()).with(Fact::Timeline(number)))
}

async fn stop(turn: &mut Turn<'_, Switchover>) -> Work {
    let said = script::at_cluster(turn, turn.resource()?, STOP_LEADER, &[], b"").await?;
    let lsn = said.value("lsn")?.to_owned();
    if !lsn.contains('/') {
        return Err(Outcome::failed(format!(
            "where its WAL ends is not known: {lsn}"
        )));
    }
    let done = Outcome::done(format!("it is shut down; its WAL ends at {lsn}"));
    turn.memo.lsn = Some(lsn);
    Ok(done)
}

/// Whom to tell to lead; where nobody can be told in time, the old leader leads on.
async fn catch_up(turn: &mut Turn<'_, Switchover>) -> Work {
    let (follower, its_server) = node(turn, lead::chosen(turn.memo.to)?).await?;
    let lsn = turn.memo.lsn.as_deref().unwrap_or_default();
    let on = (&*follower, &*its_server);
    let name = &follower.subject.name;
    let arguments = [lsn];
    let asked = script::at_cluster(turn, on, CAUGHT_UP, &arguments, b"");
    let (why, patience) = match timeout(ANSWER, asked).await {
        Ok(Ok(said)) if said.text() == "t" => {
            let words = format!("{name} has everything up to {lsn}");
            // In the record before it is told: until then the leader may lead on.
            turn.memo.told = true;
            return Ok(Outcome::done(words));
        }
        Ok(Ok(_)) => (format!("{name} has not replayed {lsn} yet"), PATIENCE),
        Ok(Err(e)) => (e.to_string(), SILENT),
        Err(_) => (format!("{name} does not answer within {ANSWER:?}"), SILENT),
    };
    if turn.waited() < patience {
        return Err(Outcome::again(SOON, why));
    }
    if turn.memo.told {
        return Err(Outcome::failed(why));
    }
    // In the record before it leads on: whoever goes on from there promotes nobody.
    turn.memo.called_off = Some(why.clone());
    Err(Outcome::then("lead_on", why))
}

/// A proof counts for the moment that it was made: that the old leader is down is proved once
/// more, in the turn that promotes.
async fn promote(turn: &mut Turn<'_, Switchover>) -> Work {
    let on @ (resource, its_server) = turn.resource()?;
    if turn.memo.called_off.is_some() {
        return Ok(Outcome::then("lead_on", "it was called off"));
    }
    let down = match script::at_cluster(turn, on, STOP_LEADER, &[], b"").await {
        Ok(said) => {
            let lsn = said.value("lsn")?.to_owned();
            if turn.memo.lsn.as_ref() != Some(&lsn) {
                let text = format!("its leader ran meanwhile, and its WAL ends at {lsn}");
                turn.memo.lsn = Some(lsn);
                return Ok(Outcome::then("catch_up", text));
            }
            lsn
        }
        Err(e) => {
            // Its server may be gone meanwhile. Then its cloud has to say so.
            let proof = fence(turn, (resource, its_server), PATIENT).await;
            proof
                .map_err(|why| Outcome::failed(format!("{e}; {why}")))?
                .words
        }
    };
    let (follower, server) = node(turn, lead::chosen(turn.memo.to)?).await?;
    let number = turn.memo.timeline.unwrap_or_default();
    let (begun, words) = lead::promote(turn, (&follower, &server), number, None).await?;
    turn.memo.timeline = Some(begun);
    let words = format!("its leader is down ({down}); {words}");
    Ok(Outcome::done(words).with(Fact::Timeline(begun)))
}

/// What is in the record is done.
async fn lead_on(turn: &mut Turn<'_, Switchover>) -> Work {
    let on @ (resource, _) = turn.resource()?;
    let Some(why) = turn
        .memo
        .called_off
        .clone()
        .filter(|_| resource.leader.is_none())
    else {
        return Ok(Outcome::done("another leads"));
    };
    nobody_else_leads(turn, resource).await?;
    let said = script::at_cluster(turn, on, LEAD_ON, &[], b"").await?;
    Ok(Outcome::done(format!("{why}; {}", said.last_words())))
}

async fn swap(turn: &mut Turn<'_, Switchover>) -> Work {
    let to = lead::chosen(turn.memo.to)?;
    lead::swap(
        turn,
        turn.resource()?.0,
        to,
        turn.memo.timeline,
        Value::Null,
    )
    .await
}

async fn repoint(turn: &mut Turn<'_, Switchover>) -> Work {
    lead::repoint(turn, turn.resource()?.0).await
}

async fn follow_it(turn: &mut Turn<'_, Switchover>) -> Work {
    let on @ (resource, _) = turn.resource()?;
    let Some(leader) = resource.leader else {
        return Ok(Outcome::done(lead::LEADS_AGAIN));
    };
    let (leader, its_server) = node(turn, leader).await?;
    let password = replication_password(&leader)?;
    let to = (&*leader, &*its_server);
    let said = follow(turn, on, to, password).await?;
    Ok(Outcome::done(said))
}

async fn start(turn: &mut Turn<'_, Switchover>) -> Work {
    let (resource, server) = turn.resource()?;
    create_resource::start(turn, resource, server).await
}

/// Drops the slots that this cluster kept as a leader.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn tidy(turn: &Context<'_>, on: (&Resource, &Server)) -> Work {
    // Called off: it leads on, and keeps its slots.
    if on.0.leader.is_none() {
        return Ok(Outcome::done("it leads on"));
    }
    let said = script::at_cluster(turn, on, TIDY_SLOTS, &[], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_know_of_its_steps_are_steps() {
        for name in HARMLESS {
            let steps = Switchover::STEPS;
            assert!(steps.iter().any(|step| step.name == name), "{name}");
        }
    }
}
