//! The followers as the proof: a commit of a `sync` leader is acknowledged once one of its list
//! has confirmed it. Where all of them confirm nothing more, nobody acknowledges anything,
//! whatever becomes of the leader, and what they have is all that was acknowledged.
//!
//! Architecture Invariant: it is a proof, and no reason to fail over. It holds for everybody who
//! is counted: the list that is in force, and each that was ever asked for and not yet proved to
//! be another. It is given anew in the turn that promotes, under leases on all of them: from
//! before that turn on nobody is made to follow the old leader or put into its list
//! (`keeps_its_lead`), since somebody was told to take its lead.

use std::time::Duration;

use drover::model::{Durability, Resource, Server, SubjectId};
use drover::store::counted;
use futures::future::join_all;
use tokio::time::timeout;

use super::super::follow::{follow, node, replication_password};
use super::super::kind::{Context, Outcome, Turn, Work};
use super::super::script;
use super::candidates::Lsn;
use super::elect::elected;
use super::standing::Standing;
use super::wanted::unwanted;
use super::{Failover, FencedBy};
use crate::host::scripts::REVOKE;

/// How long one of them may take to be told something.
const TOLD: Duration = Duration::from_secs(5);
/// The status of a node that leads.
const LEADS: u32 = 3;

/// Whose word a commit of the leader's may have waited for; nobody, where commits wait for none,
/// or for nobody that there is.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn voters(
    turn: &Context<'_>,
    leader: &Resource,
) -> Result<Vec<SubjectId>, Outcome> {
    if leader.durability != Durability::Sync {
        return Ok(vec![]);
    }
    let mut db = turn.tools.pool.acquire().await?;
    let all = counted::followers(&mut db, leader.subject.id).await?;
    let counted = all.into_iter().filter(|one| one.counted);
    Ok(counted.map(|one| one.id).collect())
}

/// Where one of them stands that confirms nothing any more.
struct Revoked {
    id: SubjectId,
    timeline: u32,
    lsn: Lsn,
}

enum Said {
    Revoked(Revoked),
    Leads(SubjectId),
}

pub(super) async fn revoke(turn: &mut Turn<'_, Failover>) -> Work {
    let on @ (resource, _) = turn.resource()?;
    if let Err(outcome) = unwanted(turn, resource).await {
        give_back(turn, on).await;
        return Err(outcome);
    }
    let why = match all_revoked_for_a_reason(turn, on).await? {
        Ok((stand, said)) => {
            turn.memo.fenced(FencedBy::Followers, turn.context.now);
            return elect_of(turn, stand, &said);
        }
        Err(why) => why,
    };
    let back = give_back(turn, on).await;
    turn.memo.cannot_revoke = true;
    Ok(Outcome::then(
        "fence",
        format!("its followers cannot stand for it: {why}; {back}"),
    ))
}

/// Who of them has most by now, where that is known: they get no more. Its writers wait.
fn elect_of(turn: &mut Turn<'_, Failover>, mut stand: Standing, said: &[Said]) -> Work {
    let words = match said.len() {
        1 => "its one follower confirms nothing to it any more".to_owned(),
        n => format!("its {n} followers confirm nothing to it any more"),
    };
    let follow = said.iter().all(|one| match one {
        Said::Revoked(one) => stand.votes.stands_at(one.id, one.timeline, one.lsn),
        Said::Leads(_) => false,
    });
    let best = stand.votes.best().filter(|_| follow);
    let best = best.filter(|best| stand.may_lack_acknowledged(best).is_none());
    match best {
        Some(best) if turn.memo.told.is_empty() => {
            let behind = stand.behind(best);
            let (leads, fact) = elected(turn, &stand, best, (behind, None))?;
            Ok(Outcome::then("promote", format!("{words}; {leads}")).with(fact))
        }
        Some(_) | None => Ok(Outcome::then("elect", words)),
    }
}

/// Nobody is told anything while one of them hears from the leader, or where nobody could lead
/// behind it.
async fn all_revoked_for_a_reason(
    turn: &mut Turn<'_, Failover>,
    on: (&Resource, &Server),
) -> Result<Result<(Standing, Vec<Said>), String>, Outcome> {
    all_are_leased(turn).await?;
    let stand = Standing::read(turn, on).await?;
    let votes = &stand.votes;
    if let Some(witness) = votes.witness(None) {
        return Ok(Err(format!("{} hears from it", witness.name)));
    }
    let Some(best) = votes.best() else {
        return Ok(Err(votes.passed_over("no follower can take the lead")));
    };
    if let Some(why) = stand.may_lack_acknowledged(best) {
        return Ok(Err(why));
    }
    let said = ask_all(turn, turn.memo.voters.clone()).await;
    Ok(said.map(|said| (stand, said)))
}

/// Who is counted by now has to be among those that this turn has leases on.
async fn all_are_leased(turn: &mut Turn<'_, Failover>) -> Result<(), Outcome> {
    let (resource, _) = turn.resource()?;
    let counted = voters(turn, resource).await?;
    let leased = |id: &SubjectId| turn.leases.iter().any(|(other, _)| other == id);
    if counted.iter().all(leased) {
        return Ok(());
    }
    turn.memo.voters.extend(counted);
    turn.memo.voters.sort_unstable();
    turn.memo.voters.dedup();
    Err(Outcome::again(
        Duration::ZERO,
        "its followers have just changed",
    ))
}

/// Has all of them confirm nothing more.
async fn ask_all(turn: &Context<'_>, voters: Vec<SubjectId>) -> Result<Vec<Said>, String> {
    let asked = voters.iter().map(|id| async {
        let (follower, server) = node(turn, *id).await.map_err(|outcome| outcome.note)?;
        let name = &follower.subject.name;
        let on = (&*follower, &*server);
        let said = timeout(TOLD, script::at_cluster(turn, on, REVOKE, &[], b"")).await;
        let said = match said.map_err(|_| format!("{name} does not answer within {TOLD:?}"))? {
            Err(e) if e.status() == Some(LEADS) => return Ok(Said::Leads(*id)),
            said => said.map_err(|e| format!("{name}: {e}"))?,
        };
        let stands = || {
            let lsn = said.value("lsn").ok()?.parse().ok()?;
            let timeline = said.value("timeline").ok()?.parse().ok()?;
            Some(Revoked {
                id: *id,
                timeline,
                lsn,
            })
        };
        let stands = stands().ok_or_else(|| format!("{name} does not say how far it has come"))?;
        Ok(Said::Revoked(stands))
    });
    let (mut said, mut missed): (Vec<Said>, Vec<String>) = (vec![], vec![]);
    for one in join_all(asked).await {
        match one {
            Ok(one) => said.push(one),
            Err(why) => missed.push(why),
        }
    }
    match missed.is_empty() {
        true => Ok(said),
        false => Err(missed.join("; ")),
    }
}

/// In the turn that promotes: the proof, once more, and that who is to lead has all that any of
/// them has confirmed.
///
/// # Errors
/// The outcome of a turn that cannot promote.
pub(super) async fn has_most(turn: &mut Turn<'_, Failover>, to: SubjectId) -> Result<(), Outcome> {
    all_are_leased(turn).await?;
    let mut asked = turn.memo.voters.clone();
    if !asked.contains(&to) {
        asked.push(to);
    }
    let said = ask_all(turn, asked).await;
    let said = said.map_err(|why| Outcome::failed(format!("not all confirm nothing: {why}")))?;
    // One that leads was promoted by a turn before this, behind the same proof.
    if said
        .iter()
        .any(|one| matches!(one, Said::Leads(id) if *id == to))
    {
        return Ok(());
    }
    let place = |one: &Revoked| (one.timeline, one.lsn);
    let of = |said: &Said| match said {
        Said::Revoked(one) => Some((one.id == to, place(one))),
        Said::Leads(_) => None,
    };
    let all: Option<Vec<_>> = said.iter().map(of).collect();
    let all = all.ok_or_else(|| Outcome::then("elect", "another leads by now"))?;
    let own = all.iter().find(|(own, _)| *own).map(|(_, place)| *place);
    let most = all.iter().map(|(_, place)| *place).max();
    match own == most {
        true => Ok(()),
        false => Err(Outcome::then("elect", "another has more by now")),
    }
}

/// They follow the leader again, and say so. For how long its writers may have waited.
pub(super) async fn give_back(turn: &mut Turn<'_, Failover>, on: (&Resource, &Server)) -> String {
    let (leader, its_server) = on;
    let told = {
        let turn = &*turn;
        let told = turn.memo.voters.iter().map(|id| async {
            let (follower, server) = node(turn, *id).await.map_err(|outcome| outcome.note)?;
            let password = replication_password(leader).map_err(|outcome| outcome.note)?;
            let told = follow(turn, (&follower, &server), (leader, its_server), password);
            let name = &follower.subject.name;
            match timeout(TOLD, told).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(outcome)) => Err(format!("{name}: {}", outcome.note)),
                Err(_) => Err(format!("{name} does not answer within {TOLD:?}")),
            }
        });
        join_all(told).await
    };
    turn.memo.voters.clear();
    let since = turn.memo.revoked_at.take();
    let waited = since.and_then(|since| (turn.now - since).to_std().ok());
    let missed: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    let mut text = format!(
        "they follow it again, and its writers waited for {} s at most",
        waited.unwrap_or_default().as_secs() + 1
    );
    if !missed.is_empty() {
        text += &format!("; not told: {}", missed.join("; "));
    }
    text
}
