//! `failover`: a leader is gone. It is fenced, and the follower that has most takes its
//! lead, its name and its followers.
//!
//! Architecture Invariant: nobody is promoted before it is proved that the leader accepts
//! no writes any more, unless its plan or a human says so, and the timeline with them.

mod candidates;
mod last_seen;

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{
    Durability, Observation, OperationKind, Resource, Server, State, SubjectId, Witness,
};
use drover::store::observations;
use drover::store::operations::{Fact, NewOperation, failover as record};
use drover::store::subjects::Known;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::create_resource::plan;
use super::fence::{FencedBy, fence};
use super::follow::{make_slot, node, replication_password};
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::{lead, script};
use crate::host::scripts::PROMOTE;
pub(super) use candidates::Lsn;
use candidates::{Candidate, Votes, ask_all};
use last_seen::LastSeen;

/// A follower takes the lead of a leader that is gone.
pub(super) struct Failover;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// The follower that is to lead; `None`: the one that has most.
    #[serde(default)]
    to: Option<SubjectId>,
    /// A human's word that it goes on all the same, if they have given it.
    #[serde(default, rename = "override")]
    word: Option<String>,
}

/// Who is to lead, and why that is safe.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    to: Option<SubjectId>,
    /// Up to where they have the WAL of the leader.
    lsn: Option<String>,
    /// How many bytes less than the leader was seen to have.
    behind_bytes: Option<u64>,
    fenced_by: Option<FencedBy>,
    /// Whether the leader came back before it was fenced.
    called_off: bool,
}

impl Operation for Failover {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Failover;
    const STEPS: &'static [Step<Self>] = &[
        step!("choose", "choose who is to lead" => choose),
        step!("fence", "prove that the leader accepts no writes any more" => fence_it),
        step!("promote", "promote the follower" => promote),
        step!("swap", "write down who leads" => swap),
        step!("repoint", "have the other followers follow it" => repoint),
        Step::new("conclude", "have the old leader made a follower", |turn| {
            Box::pin(async { conclude(turn) })
        }),
    ];

    fn also_changes(step: &str, _known: Option<&Known>, memo: &Memo) -> Option<SubjectId> {
        ["promote", "swap"]
            .contains(&step)
            .then_some(memo.to)
            .flatten()
    }
}

/// How long a follower, or a proof, is looked for before a human is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a proof is waited for that is on its way: a machine whose hardware is broken may
/// take minutes to stop. Once a human is told, playbooks would start it again instead.
const STOPPING: Duration = Duration::from_secs(300);
/// Tries to promote before another is chosen.
const TRIES: u32 = 2;

/// How long it has been asked for.
fn waited(turn: &Context<'_>) -> Duration {
    let waited = turn.now - turn.operation.opened_at;
    waited.to_std().unwrap_or_default()
}

/// What does not come about is tried for a while; then a human is told.
fn not_yet(turn: &Context<'_>, why: String) -> Outcome {
    if waited(turn) < PATIENCE {
        Outcome::again(Duration::from_millis(500), why)
    } else {
        Outcome::hopeless(why)
    }
}

async fn choose(turn: &mut Turn<'_, Failover>) -> Work {
    let (resource, server) = turn.resource()?;
    if resource.leader.is_some() {
        return Ok(Outcome::then("conclude", "it follows by now"));
    }
    if came_back(turn, resource).await? {
        turn.memo.called_off = true;
        let text = "it is in service again: nobody takes its lead over";
        return Ok(Outcome::then("conclude", text));
    }
    let last = {
        let mut db = turn.tools.pool.acquire().await?;
        let last = record::last_in_service(&mut db, resource.subject.id).await?;
        last.as_ref().and_then(LastSeen::of)
    };
    let votes = ask_all(turn, (resource, server), turn.params.to).await?;
    let best = match votes.best() {
        Some(best) => best,
        None => {
            let why = votes.passed_over("no follower can take the lead");
            return Err(not_yet(turn, why));
        }
    };
    if by_a_playbook(turn)
        && turn.params.word.is_none()
        && let Some(witness) = votes.witness(seen_dead(turn, resource).await?)
    {
        let why = format!(
            "{} hears from it: it lives, and drover alone does not reach it",
            witness.name
        );
        return Err(not_yet(turn, why));
    }
    if let Some(why) = forbids(resource, best, &votes, last.as_ref())
        && turn.params.word.is_none()
    {
        return Err(Outcome::hopeless(format!(
            "{why}; `override` has {} lead all the same",
            best.name
        )));
    }
    let behind = votes.behind(best, last.as_ref());
    let mut text = format!("{} is to lead: it has all up to {}", best.name, best.lsn);
    if behind > 0 {
        text += &format!(", {behind} bytes less than the leader was seen to have");
    }
    if !votes.silent.is_empty() {
        text += &format!("; {}", votes.passed_over("passed over"));
    }
    turn.memo.to = Some(best.id);
    turn.memo.lsn = Some(best.lsn.to_string());
    turn.memo.behind_bytes = Some(behind);
    Ok(Outcome::done(text))
}

/// Why only a human may have it lead, if so.
fn forbids(
    resource: &Resource,
    best: &Candidate,
    votes: &Votes,
    last: Option<&LastSeen>,
) -> Option<String> {
    let behind = votes.behind(best, last);
    match resource.durability {
        // One of them has every commit that was acknowledged, and it may be that one.
        Durability::Sync if !votes.silent.is_empty() => Some(format!(
            "{}: an acknowledged commit may be there alone",
            votes.passed_over("not every follower can be asked")
        )),
        Durability::Sync => None,
        Durability::Async if behind > resource.max_lag_bytes => Some(format!(
            "{} is {behind} bytes behind what the leader was seen to have, and {} at most may \
             be lost",
            best.name, resource.max_lag_bytes
        )),
        Durability::Async => match last {
            None => Some(format!(
                "the leader was not seen in service within a day: what {} lacks is not known",
                best.name
            )),
            Some(last) if votes.streamed(best, last) => None,
            Some(_) if !best.follows => Some(format!(
                "{} is told to follow another one: what it lacks is not known",
                best.name
            )),
            Some(_) => Some(format!(
                "{} did not stream any more when the leader was last seen in service: what it \
                 lacks is not known",
                best.name
            )),
        },
    }
}

/// Whether nobody but a playbook has asked for it.
fn by_a_playbook(turn: &Context<'_>) -> bool {
    turn.operation.asked_by.starts_with("inc_")
}

/// Whether the leader was seen in service since this was asked for by a playbook. What a
/// person asks for is done.
async fn came_back(turn: &Context<'_>, resource: &Resource) -> Result<bool, Outcome> {
    if !by_a_playbook(turn) || resource.subject.state != State::Available {
        return Ok(false);
    }
    let mut db = turn.tools.pool.acquire().await?;
    let newest = observations::list(&mut db, resource.subject.id, None, 2).await?;
    Ok(is_back(&newest, turn.operation.opened_at))
}

/// Whether the newest of these two observations is a good one, begun since then: it was
/// begun after the one before it was written down. One that was only written down since
/// may have been made before the leader died.
fn is_back(newest: &[Observation], since: DateTime<Utc>) -> bool {
    match newest {
        [newest, before] => newest.attributes.service_available && before.created_at > since,
        _ => false,
    }
}

/// When a second witness said of it, or of its server, that it is down, if it says so
/// still.
async fn seen_dead(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<Option<DateTime<Utc>>, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let both = [resource.subject.id, resource.server_id];
    let newest = observations::newest(&mut db, &both).await?;
    let dead = newest
        .iter()
        .filter(|(_, seen)| matches!(seen.attributes.witness, Some(Witness::Down { .. })));
    Ok(dead.map(|(_, seen)| seen.created_at).max())
}

async fn fence_it(turn: &mut Turn<'_, Failover>) -> Work {
    let (resource, server) = turn.resource()?;
    let why = match fence(turn, resource, server).await {
        Ok(proof) => {
            turn.memo.fenced_by = Some(proof.by);
            return Ok(Outcome::done(proof.words));
        }
        Err(why) => why,
    };
    let unproved = format!("nothing proves that it accepts no writes: {why}");
    if let Some(word) = &turn.params.word {
        turn.memo.fenced_by = Some(FencedBy::Override);
        let text = format!("{unproved}; it goes on by the word of {word}");
        return Ok(Outcome::done(text));
    }
    if plan(turn, resource).await?.failover_unfenced && turn.operation.failures > 0 {
        turn.memo.fenced_by = Some(FencedBy::Nothing);
        let text = format!("{unproved}; its plan goes on all the same");
        return Ok(Outcome::done(text));
    }
    let patience = if why.stopping { STOPPING } else { PATIENCE };
    if waited(turn) < patience {
        return Err(Outcome::failed(unproved));
    }
    Err(Outcome::hopeless(format!(
        "{unproved}; where you know that it does not, `override` goes on"
    )))
}

async fn promote(turn: &mut Turn<'_, Failover>) -> Work {
    let to = lead::chosen(turn.memo.to)?;
    let (follower, server) = node(turn, to).await?;
    if turn.operation.failures > TRIES {
        return give_up_on(turn, &follower, &server).await;
    }
    // Whom its commits wait for is known before it takes the first.
    lead::names(turn, turn.resource()?.0, to).await?;
    let on = (&*follower, &*server);
    let said = script::at_cluster(turn, on, PROMOTE, &[], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// Another may do better. But one that was told to lead, and did not say that it does,
/// may be leading by now: it is fenced like the leader before it.
async fn give_up_on(turn: &Context<'_>, follower: &Resource, server: &Server) -> Work {
    let name = &follower.subject.name;
    match fence(turn, follower, server).await {
        Ok(proof) => Ok(Outcome::then(
            "choose",
            format!(
                "{name} cannot be promoted ({}); another is looked for",
                proof.words
            ),
        )),
        Err(why) if waited(turn) < PATIENCE => Err(Outcome::failed(format!(
            "{name} does not say whether it leads: {why}"
        ))),
        Err(why) => Err(Outcome::hopeless(format!(
            "{name} was told to lead and does not say whether it does; nothing proves that it \
             accepts no writes: {why}"
        ))),
    }
}

async fn swap(turn: &mut Turn<'_, Failover>) -> Work {
    let memo = &turn.memo;
    let detail = json!({
        "fenced_by": memo.fenced_by,
        "behind_bytes": memo.behind_bytes,
        "lsn": memo.lsn,
        "override": turn.params.word,
    });
    let to = lead::chosen(memo.to)?;
    lead::swap(turn, turn.resource()?.0, to, detail).await
}

/// The new leader keeps WAL for the old one from now on, which comes back some time.
async fn repoint(turn: &mut Turn<'_, Failover>) -> Work {
    let (resource, _) = turn.resource()?;
    let to = lead::chosen(turn.memo.to)?;
    let (leader, its_server) = node(turn, to).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    make_slot(turn, (&leader, &its_server), password, resource, keep).await?;
    lead::repoint(turn, resource, to).await
}

/// The rest is another operation's: it takes as long as the old leader's machine does,
/// and nobody waits for it.
fn conclude(turn: &Turn<'_, Failover>) -> Work {
    let (resource, _) = turn.resource()?;
    if turn.memo.called_off || resource.leader.is_none() {
        return Ok(Outcome::done("it leads on"));
    }
    let next = NewOperation {
        subject: Some(resource.subject.id),
        kind: OperationKind::Rebuild,
        params: json!({ "how": "rewind" }),
        asked_by: turn.operation.id.public(),
        reason: Some("it has lost its lead".into()),
        not_before: None,
    };
    Ok(
        Outcome::done("a follower leads; the old leader is made one when it is back")
            .with(Fact::Next(Box::new(next))),
    )
}

#[cfg(test)]
#[path = "failover/tests.rs"]
mod tests;
