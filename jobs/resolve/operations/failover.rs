//! `failover`: a leader is gone. It is fenced, and the follower that has most then takes its
//! lead, its name and its followers.
//!
//! Architecture Invariant: nobody is promoted before it is proved that the leader accepts
//! no writes any more, unless its plan or a human says so, and the timeline with them. Who is
//! promoted is asked for behind that proof: what a follower lacked before is no measure.
//! Until the leader is fenced it may be called off; where nobody can lead behind the fence,
//! the leader leads on.

mod candidates;
mod elect;
mod last_seen;
mod promote;
mod refusal;
mod revoke;
mod standing;
mod wanted;

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{OperationKind, SubjectId};
use drover::store::operations::{Fact, NewOperation};
use drover::store::subjects::Known;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::create_resource::plan;
use super::fence::{FencedBy, PATIENT, fence, is_stopped};
use super::follows::nobody_else_leads;
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::{lead, script};
use crate::host::scripts::LEAD_ON;
pub(super) use candidates::Lsn;
use elect::elected;
use refusal::{Answer, Refusal};
use standing::Standing;
use wanted::{by_a_playbook, seen_dead, unwanted};

/// A follower takes the lead of a leader that is gone.
pub(super) struct Failover;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// The follower that is to lead; `None`: the one that has most.
    #[serde(default)]
    to: Option<SubjectId>,
    /// What people have said to its refusals.
    #[serde(default)]
    answers: Vec<Answer>,
}

/// Who is to lead, and why that is safe.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    to: Option<SubjectId>,
    /// Up to where they have the WAL of the leader.
    lsn: Option<String>,
    /// How many bytes less than the leader had, as far as that is known.
    behind_bytes: Option<u64>,
    /// The number of the timeline that they begin.
    timeline: Option<u32>,
    fenced_by: Option<FencedBy>,
    /// When that was proved.
    fenced_at: Option<DateTime<Utc>>,
    /// Whose word any commit of the leader's needs, and who were told to give it no more, or are
    /// just being told.
    voters: Vec<SubjectId>,
    /// Since when they may have been.
    revoked_at: Option<DateTime<Utc>>,
    /// Whether not all of them could be, and another proof is looked for.
    cannot_revoke: bool,
    /// Who may have been told to lead: one of these may be leading.
    told: Vec<SubjectId>,
    /// Those of them that were fenced, since another was to do better.
    given_up: Vec<SubjectId>,
    /// Why drover alone does not go on, if it does not.
    refused: Option<Refusal>,
    /// The word of a human by which it went on all the same.
    overridden: Option<String>,
    /// Since when nobody could lead, behind the fence.
    nobody_since: Option<DateTime<Utc>>,
    /// Whether the leader leads on.
    called_off: bool,
    /// Whether it could not, though it was to.
    stays_fenced: bool,
}

impl Memo {
    fn fenced(&mut self, by: FencedBy, at: DateTime<Utc>) {
        self.fenced_by = Some(by);
        self.fenced_at = Some(at);
    }
}

impl Operation for Failover {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Failover;
    const STEPS: &'static [Step<Self>] = &[
        step!("choose", "see whether it is wanted, and who may lead" => choose),
        step!("fence", "prove that the leader accepts no writes any more" => fence_it),
        step!("revoke", "have its followers confirm nothing more to it" => revoke::revoke),
        step!("elect", "choose the follower that has most" => elect::elect),
        step!("promote", "promote the follower" => promote::promote),
        step!("swap", "write down who leads" => swap),
        step!("repoint", "have the other followers follow it" => repoint),
        step!("lead_on", "have the leader lead on where nobody else does" => lead_on),
        Step::new("conclude", "have the old leader made a follower", |turn| {
            Box::pin(async { conclude(turn) })
        }),
    ];

    fn also_changes(step: &str, _known: Option<&Known>, memo: &Memo) -> Vec<SubjectId> {
        let voters = memo.voters.iter().copied();
        match step {
            "revoke" | "lead_on" => voters.collect(),
            "promote" => voters.chain(memo.to).collect(),
            "swap" => memo.to.into_iter().collect(),
            _ => vec![],
        }
    }
}

/// How long a follower, or a proof, is looked for before a human is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a proof is waited for that is on its way: a machine whose hardware is broken may
/// take minutes to stop. Once a human is told, playbooks would start it again instead.
const STOPPING: Duration = Duration::from_secs(300);
/// How long a leader that others have seen dead, or its cloud, may take to answer where its
/// followers can stand for it.
const HASTE: Duration = Duration::from_millis(700);
/// Tries to promote before another is chosen.
const TRIES: u32 = 2;
/// Between two looks for somebody who could lead.
const SOON: Duration = Duration::from_millis(500);

/// How long it has been asked for.
fn waited(turn: &Context<'_>) -> Duration {
    let waited = turn.now - turn.operation.opened_at;
    waited.to_std().unwrap_or_default()
}

/// What does not come about is tried for a while; then a human is told.
fn not_yet(turn: &Context<'_>, why: String) -> Outcome {
    if waited(turn) < PATIENCE {
        Outcome::again(SOON, why)
    } else {
        Outcome::hopeless(why)
    }
}

async fn choose(turn: &mut Turn<'_, Failover>) -> Work {
    let on @ (resource, server) = turn.resource()?;
    unwanted(turn, resource).await?;
    let seen_dead = seen_dead(turn, resource).await?;
    // Before the followers are asked: then they say what they have behind that proof.
    let stopped = match seen_dead.filter(|_| turn.memo.told.is_empty()) {
        Some(_) => is_stopped(turn, server).await,
        None => None,
    };
    let stand = Standing::read(turn, on).await?;
    let votes = &stand.votes;
    let Some(best) = votes.best() else {
        let why = votes.passed_over("no follower can take the lead");
        return Err(not_yet(turn, why));
    };
    if by_a_playbook(turn)
        && let Some(witness) = votes.witness(seen_dead)
        && Refusal::Heard.answered(&turn.params.answers).is_none()
    {
        let why = format!(
            "{} hears from it: it lives, and drover alone does not reach it",
            witness.name
        );
        turn.memo.refused = Some(Refusal::Heard);
        return Err(not_yet(turn, why));
    }
    let behind = stand.behind(best);
    let mut word = None;
    if let Some((refusal, why)) = stand.forbids(resource, best, behind) {
        word = refusal.answered(&turn.params.answers);
        if word.is_none() {
            turn.memo.refused = Some(refusal);
            return Err(Outcome::hopeless(format!(
                "{why}; `override` has {} lead all the same",
                best.name
            )));
        }
    }
    turn.memo.refused = None;
    let Some(proof) = stopped else {
        return Ok(Outcome::done(format!(
            "{} may lead: it has all up to {}",
            best.name, best.lsn
        )));
    };
    turn.memo.fenced(FencedBy::Cloud, turn.context.now);
    turn.memo.overridden = word;
    let (words, fact) = elected(turn, &stand, best, (behind, None))?;
    Ok(Outcome::then("promote", format!("{proof}; {words}")).with(fact))
}

async fn fence_it(turn: &mut Turn<'_, Failover>) -> Work {
    let (resource, server) = turn.resource()?;
    // Behind a fence there is no way back but `lead_on`.
    if turn.memo.fenced_by.is_none() {
        unwanted(turn, resource).await?;
    }
    let voters = match std::mem::take(&mut turn.memo.cannot_revoke) {
        true => vec![],
        false => revoke::voters(turn, resource).await?,
    };
    let dead = seen_dead(turn, resource).await?.is_some();
    let patience = match dead && !voters.is_empty() {
        true => HASTE,
        false => PATIENT,
    };
    let why = match fence(turn, (resource, server), patience).await {
        Ok(proof) => {
            turn.memo.fenced(proof.by, turn.context.now);
            return Ok(Outcome::then("elect", proof.words));
        }
        Err(why) => why,
    };
    let unproved = format!("nothing proves that it accepts no writes: {why}");
    if !why.stopping && !voters.is_empty() {
        turn.memo.voters = voters;
        turn.memo.revoked_at.get_or_insert(turn.context.now);
        return Ok(Outcome::then("revoke", unproved));
    }
    if let Some(word) = Refusal::Unfenced.answered(&turn.params.answers) {
        let text = format!("{unproved}; it goes on by the word of {word}");
        turn.memo.overridden = Some(word);
        turn.memo.fenced(FencedBy::Override, turn.context.now);
        return Ok(Outcome::then("elect", text));
    }
    if plan(turn, resource).await?.failover_unfenced && turn.operation.failures > 0 {
        turn.memo.fenced(FencedBy::Nothing, turn.context.now);
        let text = format!("{unproved}; its plan goes on all the same");
        return Ok(Outcome::then("elect", text));
    }
    let patience = if why.stopping { STOPPING } else { PATIENCE };
    if waited(turn) < patience {
        return Err(Outcome::failed(unproved));
    }
    turn.memo.refused = Some(Refusal::Unfenced);
    Err(Outcome::hopeless(format!(
        "{unproved}; where you know that it does not, `override` goes on"
    )))
}

async fn swap(turn: &mut Turn<'_, Failover>) -> Work {
    let memo = &turn.memo;
    let detail = json!({
        "fenced_by": memo.fenced_by,
        "behind_bytes": memo.behind_bytes,
        "lsn": memo.lsn,
        "override": memo.overridden,
    });
    let to = lead::chosen(memo.to)?;
    let (old, _) = turn.resource()?;
    let swapped = lead::swap(turn, old, to, memo.timeline, detail).await?;
    Ok(match may_live(memo) {
        false => swapped,
        true => {
            let why = match memo.fenced_by {
                Some(FencedBy::Followers) => "its followers confirm nothing to it any more",
                _ => "its plan has it failed over all the same",
            };
            let reason = format!("{} led before it, and may live: {why}", old.subject.name);
            swapped.with(Fact::OldLeaderAlive(to, reason))
        }
    })
}

/// Whether nothing has stopped the old leader. Where a person has said that it accepts no writes,
/// they know.
fn may_live(memo: &Memo) -> bool {
    matches!(
        memo.fenced_by,
        Some(FencedBy::Followers | FencedBy::Nothing)
    )
}

async fn repoint(turn: &mut Turn<'_, Failover>) -> Work {
    lead::repoint(turn, turn.resource()?.0).await
}

/// Takes the fence back.
async fn lead_on(turn: &mut Turn<'_, Failover>) -> Work {
    let on @ (resource, server) = turn.resource()?;
    if resource.leader.is_some() {
        return Ok(Outcome::done("another leads"));
    }
    if matches!(turn.memo.fenced_by, Some(FencedBy::Cloud)) {
        // Its machine was off, and its cluster is as it was. Its incident starts them.
        turn.memo.called_off = true;
        let name = &server.subject.name;
        return Ok(Outcome::done(format!("it leads on once {name} is back")));
    }
    if matches!(turn.memo.fenced_by, Some(FencedBy::Followers)) {
        turn.memo.called_off = true;
        let words = revoke::give_back(turn, on).await;
        return Ok(Outcome::done(format!("it leads on: {words}")));
    }
    nobody_else_leads(turn, resource).await?;
    match script::at_cluster(turn, on, LEAD_ON, &[], b"").await {
        Ok(said) => {
            turn.memo.called_off = true;
            Ok(Outcome::done(said.last_words()))
        }
        Err(e) if turn.operation.failures < TRIES => Err(e.into()),
        Err(e) => {
            turn.memo.stays_fenced = true;
            Ok(Outcome::then("elect", format!("it does not lead on: {e}")))
        }
    }
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
        params: json!({ "how": "rewind", "may_live": may_live(&turn.memo) }),
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
