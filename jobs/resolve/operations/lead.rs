//! What a change of leader takes, planned or not: shared by `switchover` and `failover`.

use std::time::Duration;

use drover::model::{Resource, Secret, Server, SubjectId};
use drover::store::operations::Fact;
use futures::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use super::create_resource::{customer, plan};
use super::follow::{follow, followers, make_slots, node, replication_password};
use super::kind::{Context, Outcome, Work};
use super::{script, sync};
use crate::host::scripts::{PROMOTE, RESTART_FOLLOWER, START_CLUSTER};

/// How soon one that was restarted is told to lead again.
const SOON: Duration = Duration::from_millis(500);
/// The status of what has to be restarted before it can lead.
const LACKS_SETTINGS: u32 = 6;
/// The status of what has no local socket, or one that lets nobody in.
const NO_WAY_IN: u32 = 5;

/// What is said of an old leader that has got its lead back meanwhile.
pub(super) const LEADS_AGAIN: &str = "it leads again";

/// How long a follower may take to be told whom it follows.
const TOLD: Duration = Duration::from_secs(5);

/// So many numbers of timelines a follower is told to pass over, at most.
const FAR: u32 = 1000;

/// The number of the timeline that whoever is on this one begins: the first that nobody was
/// given. Servers tell what they bear, and may tell anything.
///
/// # Errors
/// If it is too far away.
pub(super) fn next_timeline(own: u32, given: u32) -> Result<u32, Outcome> {
    let next = given.max(own).checked_add(1);
    next.filter(|next| next - own <= FAR).ok_or_else(|| {
        Outcome::hopeless(format!(
            "who is to lead is on timeline {own}, and another on {given}: that is no number of \
             drover's"
        ))
    })
}

/// Whom an earlier step has chosen to lead.
///
/// # Errors
/// If none has.
pub(super) fn chosen(to: Option<SubjectId>) -> Result<SubjectId, Outcome> {
    to.ok_or_else(|| Outcome::hopeless("it is not known who is to lead"))
}

/// What the new leader's commits are to wait for from the first one on: those who will follow it
/// as they are, the old leader among them only where it has handed over.
async fn names_of(
    turn: &Context<'_>,
    resource: &Resource,
    to: SubjectId,
    planned: bool,
) -> Result<String, Outcome> {
    let others = sync::live(turn, resource.subject.id, true).await?;
    let mut will: Vec<SubjectId> = others.into_iter().filter(|id| *id != to).collect();
    will.extend(planned.then_some(resource.subject.id));
    Ok(sync::names(resource.durability, &will))
}

/// That is in force at a follower before it is promoted as planned. Says what they wait for.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn prepare(
    turn: &Context<'_>,
    resource: &Resource,
    to: SubjectId,
) -> Result<String, Outcome> {
    let (follower, server) = node(turn, to).await?;
    let names = names_of(turn, resource, to, true).await?;
    sync::set(turn, (&follower, &server), &names).await
}

/// Promotes a follower of a leader that is gone, to a timeline of this number.
///
/// # Errors
/// As [`promote`].
pub(super) async fn take_over(
    turn: &Context<'_>,
    resource: &Resource,
    on: (&Resource, &Server),
    timeline: u32,
) -> Result<(u32, String), Outcome> {
    let names = names_of(turn, resource, on.0.subject.id, false).await?;
    promote(turn, on, timeline, Some(&names)).await
}

/// Promotes a follower to a timeline of this number, on which others will follow it. Gives the
/// number that it has.
///
/// # Errors
/// The outcome of a step that cannot, or that has to be taken once more.
pub(super) async fn promote(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    timeline: u32,
    names: Option<&str>,
) -> Result<(u32, String), Outcome> {
    let number = timeline.to_string();
    let arguments: Vec<&str> = [&number, "manual"].into_iter().chain(names).collect();
    let mut said = script::at_cluster(turn, on, PROMOTE, &arguments, b"").await;
    if let Err(e) = &said
        && e.status() == Some(NO_WAY_IN)
    {
        // Its machine may have gone down since it was told, and nobody else starts it: for the
        // record it follows, and it may lead already.
        script::at_cluster(turn, on, START_CLUSTER, &[""], b"").await?;
        said = script::at_cluster(turn, on, PROMOTE, &arguments, b"").await;
    }
    let said = match said {
        Err(e) if e.status() == Some(LACKS_SETTINGS) => {
            script::at_cluster(turn, on, RESTART_FOLLOWER, &[], b"").await?;
            return Err(Outcome::again(SOON, format!("it is restarted: {e}")));
        }
        said => said?,
    };
    let told = said.value("timeline")?;
    let begun = told.parse().ok();
    let begun = begun.filter(|begun: &u32| begun.saturating_sub(timeline) <= FAR);
    let begun = begun.ok_or_else(|| {
        Outcome::hopeless(format!(
            "it leads, and says so of timeline {told}, not {timeline}"
        ))
    })?;
    Ok((begun, said.last_words()))
}

/// A secret for the record: only as this of this subject can it be read again.
///
/// # Errors
/// If it cannot be sealed.
pub(super) fn seal(
    turn: &Context<'_>,
    id: SubjectId,
    what: &str,
    plain: &Secret,
) -> Result<Vec<u8>, Outcome> {
    let sealed = turn.tools.secret_key.seal(plain, &format!("{id}/{what}"));
    sealed.map_err(|e| Outcome::failed(e.to_string()))
}

/// Writes down that this follower leads, in its leader's place.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn swap(
    turn: &Context<'_>,
    resource: &Resource,
    to: SubjectId,
    timeline: Option<u32>,
    detail: Value,
) -> Work {
    if resource.leader == Some(to) {
        return Ok(Outcome::done("it is written down"));
    }
    let (follower, _) = node(turn, to).await?;
    let text = format!(
        "{} leads; it bears the name of its leader",
        follower.subject.name
    );
    Ok(Outcome::done(text).with(Fact::HandOver {
        to,
        customer: seal(turn, to, "customer", &customer(resource)?.password)?,
        replication: seal(turn, to, "replication", replication_password(resource)?)?,
        by: (turn.operation.id, turn.operation.kind),
        timeline,
        detail,
    }))
}

/// Makes slots at the new leader, one for the old leader too, and has the other followers follow
/// it. Once it is written down who leads, that is the one that counts: it may be dead by now, and
/// another lead in its place.
///
/// They are told while their slots are made, since its commits may wait for one of them: one
/// that finds none asks again a second later.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn repoint(turn: &Context<'_>, resource: &Resource) -> Work {
    let Some(to) = resource.leader else {
        return Ok(Outcome::done(LEADS_AGAIN));
    };
    let (leader, its_server) = node(turn, to).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    let mut others = followers(turn, leader.subject.id).await?;
    others.retain(|(follower, _)| follower.subject.id != resource.subject.id);
    let nodes = others.iter().map(|(follower, _)| &**follower);
    let nodes: Vec<&Resource> = nodes.chain([resource]).collect();
    let made = make_slots(turn, to, password, &nodes, keep);
    let told = others.iter().map(|(follower, server)| async {
        let told = timeout(TOLD, follow(turn, (&**follower, &**server), to, password)).await;
        let why = match told {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(outcome)) => outcome.note,
            Err(_) => format!("it does not answer within {TOLD:?}"),
        };
        Err(format!("{}: {why}", follower.subject.name))
    });
    let (made, told) = tokio::join!(made, join_all(told));
    made?;
    // Its followers may have changed since it got its list. Not before: its commits wait for
    // one who follows it.
    sync::if_sync(turn, leader.subject.id).await?;
    let count = told.iter().filter(|told| told.is_ok()).count();
    let missed: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    if missed.is_empty() {
        return Ok(Outcome::done(format!("{count} other followers follow it")));
    }
    // Writers may wait for the old leader, which is next: who cannot be told now holds up
    // nobody, and is told by its own playbook.
    let missed = missed.join("; ");
    match turn.operation.failures {
        0 => Err(Outcome::failed(missed)),
        _ => Ok(Outcome::done(format!(
            "{count} other followers follow it; not told: {missed}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_the_first_that_nobody_was_given_and_none_that_is_made_up() {
        assert_eq!(next_timeline(1, 1).unwrap(), 2);
        assert_eq!(next_timeline(1, 4).unwrap(), 5);
        assert_eq!(next_timeline(7, 0).unwrap(), 8);
        assert!(next_timeline(1, 5000).is_err());
        assert!(next_timeline(u32::MAX, u32::MAX).is_err());
    }
}
