//! What a change of leader takes, planned or not: shared by `switchover` and `failover`.

use std::time::Duration;

use drover::model::{Resource, Secret, Server, SubjectId};
use drover::store::operations::Fact;
use serde_json::Value;

use super::create_resource::{customer, plan};
use super::follow::{follow, followers, make_slot, node, replication_password};
use super::kind::{Context, Outcome, Work};
use super::{script, sync};
use crate::host::scripts::{PROMOTE, RESTART_FOLLOWER};

/// How soon one that was restarted is told to lead again.
const SOON: Duration = Duration::from_millis(500);
/// The status of what has to be restarted before it can lead.
const LACKS_SETTINGS: u32 = 6;

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

/// What the new leader's commits wait for is in force before there can be any: those who will
/// follow it as they are, the old leader among them only where it has handed over. Says what
/// they are.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn names(
    turn: &Context<'_>,
    resource: &Resource,
    to: SubjectId,
    planned: bool,
) -> Result<String, Outcome> {
    let others = sync::live(turn, resource.subject.id, true).await?;
    let mut will: Vec<SubjectId> = others.into_iter().filter(|id| *id != to).collect();
    will.extend(planned.then_some(resource.subject.id));
    let (follower, server) = node(turn, to).await?;
    sync::write(turn, (&follower, &server), resource.durability, &will).await
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
) -> Result<(u32, String), Outcome> {
    let number = timeline.to_string();
    let said = script::at_cluster(turn, on, PROMOTE, &[&number, "manual"], b"").await;
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

/// Makes slots at the new leader, and has the other followers follow it.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn repoint(turn: &Context<'_>, resource: &Resource, to: SubjectId) -> Work {
    let (leader, its_server) = node(turn, to).await?;
    // Its followers may have changed since it got its list.
    sync::if_sync(turn, to).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    let mut left = Vec::new();
    let mut count = 0;
    for (follower, server) in followers(turn, leader.subject.id).await? {
        if follower.subject.id == resource.subject.id {
            continue;
        }
        let moved = async {
            make_slot(turn, to, password, &follower, keep).await?;
            follow(turn, (&*follower, &*server), to, password).await
        };
        // One that cannot be told now holds up nobody.
        match moved.await {
            Ok(_) => count += 1,
            Err(outcome) => left.push(format!("{}: {}", follower.subject.name, outcome.note)),
        }
    }
    if left.is_empty() || turn.operation.failures >= 5 {
        let missed = match left.is_empty() {
            true => String::new(),
            false => format!("; not told: {}", left.join("; ")),
        };
        return Ok(Outcome::done(format!(
            "{count} other followers follow it{missed}"
        )));
    }
    Err(Outcome::failed(left.join("; ")))
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
