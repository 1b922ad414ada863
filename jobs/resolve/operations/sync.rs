//! What a leader's commits wait for: `synchronous_standby_names`, kept as the record
//! has it.
//!
//! Strict: a leader whose record says `sync` always has a list. One without followers
//! has a name in it that nobody bears, so that its commits wait and none of them is
//! acknowledged that is in one place only. drover's own sessions there commit with
//! `synchronous_commit=local` (`prelude/superuser.sh`) and wait for nobody.
//!
//! The record has who is counted (`resources.counted`): from before a name is set until it is
//! proved to be set no more, and another one in the list has all that was acknowledged by then.
//! So those who may hold an acknowledged commit alone are known, whenever a worker dies.
//!
//! Architecture Invariant: whoever is to lead gets its list before it is promoted, with those
//! who will follow it as they are; one that has to be rewound joins behind that ([`join`]).
//! Whoever takes a follower away calls [`if_sync`] afterwards. A list that is left at a standby
//! does nothing there.

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Durability, Resource, Server, SubjectId};
use drover::store::counted::{self, Follower};

use super::follow::{Node, node};
use super::follows::keeps_its_lead;
use super::{Context, Outcome, script};
use crate::host::scripts::{CONFIRMED, SET_SYNCHRONOUS_NAMES};

const SOON: Duration = Duration::from_millis(500);
/// So often a list is written anew in one turn because the record has changed meanwhile.
const TRIES: u32 = 3;
/// What no follower is called: their slots end with their ids.
const NOBODY: &str = "f_nobody";

/// Has the commits of a leader wait for what the record says of it now: its durability
/// and its followers, but for those that are silent.
///
/// # Errors
/// The outcome of a step that cannot, or whose leader follows by now.
pub(super) async fn by_record(
    turn: &Context<'_>,
    leader: SubjectId,
    silent: &[SubjectId],
) -> Result<String, Outcome> {
    // Behind the count of who is to be in it: whoever takes its lead over asks those.
    keeps_its_lead(turn, leader).await?;
    for _ in 0..TRIES {
        let was = wanted(turn, leader, silent).await?;
        let on = (&*was.node.0, &*was.node.1);
        let said = set(turn, on, &was.names).await?;
        // Another operation may have read an older record, and written after us: the
        // last one to look finds what is true.
        if wanted(turn, leader, silent).await?.names == was.names {
            if !was.left_out.is_empty() && was.waits_for_some {
                // What was acknowledged so far may be with one that is left out alone.
                script::at_cluster(turn, on, CONFIRMED, &[], b"").await?;
            }
            // Nobody that was counted since then: that one's own operation goes on.
            let mut db = turn.tools.pool.acquire().await?;
            counted::discount(&mut db, leader, &was.left_out).await?;
            return Ok(said);
        }
    }
    Err(Outcome::again(SOON, "its followers are just changing"))
}

/// Has the commits of a leader wait for this follower too, which streams from it, if they wait
/// for any.
///
/// # Errors
/// As [`by_record`].
pub(super) async fn join(
    turn: &Context<'_>,
    leader: SubjectId,
    follower: SubjectId,
) -> Result<String, Outcome> {
    let (found, _) = node(turn, leader).await?;
    if found.durability == Durability::Sync {
        let mut db = turn.tools.pool.acquire().await?;
        counted::count(&mut db, &[follower]).await?;
    }
    if_sync(turn, leader).await
}

/// The same, if there is anything to do: an `async` leader's followers come and go
/// without it.
///
/// # Errors
/// As [`by_record`].
pub(super) async fn if_sync(turn: &Context<'_>, leader: SubjectId) -> Result<String, Outcome> {
    let (found, _) = node(turn, leader).await?;
    match found.durability {
        Durability::Sync => by_record(turn, leader, &[]).await,
        Durability::Async => Ok("its commits wait for no follower".into()),
    }
}

/// Writes the list of a node whatever the record says: of one that is to lead, before
/// it does, with the nodes that will follow it. With `async`, it loses the list that a
/// copy of its leader may have brought along.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn write(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    durability: Durability,
    followers: &[SubjectId],
) -> Result<String, Outcome> {
    set(turn, on, &names(durability, followers)).await
}

/// What a leader's list is to be by the record.
struct Wanted {
    /// The leader with its server.
    node: Node,
    names: String,
    /// Whether any follower is in it.
    waits_for_some: bool,
    /// Who is counted, and not in it.
    left_out: Vec<SubjectId>,
}

async fn wanted(
    turn: &Context<'_>,
    leader: SubjectId,
    silent: &[SubjectId],
) -> Result<Wanted, Outcome> {
    let node = node(turn, leader).await?;
    if node.0.leader.is_some() {
        let name = &node.0.subject.name;
        return Err(Outcome::failed(format!("{name} follows by now")));
    }
    let durability = node.0.durability;
    let all = of(turn, leader).await?;
    let counted = all.iter().filter(|one| one.counted);
    let (listed, left_out): (Vec<Follower>, _) = counted
        .partition(|one| one.live && durability == Durability::Sync && !silent.contains(&one.id));
    Ok(Wanted {
        node,
        waits_for_some: !listed.is_empty(),
        names: names(durability, &ids(listed)),
        left_out: ids(left_out),
    })
}

async fn of(turn: &Context<'_>, leader: SubjectId) -> Result<Vec<Follower>, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    Ok(counted::followers(&mut db, leader).await?)
}

fn ids(followers: Vec<Follower>) -> Vec<SubjectId> {
    followers.into_iter().map(|one| one.id).collect()
}

/// The followers that are neither coming nor going; of those, only who is counted, or all.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn live(
    turn: &Context<'_>,
    leader: SubjectId,
    counted_only: bool,
) -> Result<Vec<SubjectId>, Outcome> {
    let mut all = of(turn, leader).await?;
    all.retain(|one| one.live && (one.counted || !counted_only));
    Ok(ids(all))
}

/// The value of `synchronous_standby_names`; empty: none.
pub(super) fn names(durability: Durability, followers: &[SubjectId]) -> String {
    let mut all: Vec<String> = followers.iter().map(|id| slot_of(*id)).collect();
    match durability {
        Durability::Async => return String::new(),
        Durability::Sync if all.is_empty() => all.push(NOBODY.into()),
        Durability::Sync => {}
    }
    let quoted: Vec<String> = all.iter().map(|name| format!("\"{name}\"")).collect();
    format!("ANY 1 ({})", quoted.join(", "))
}

pub(super) async fn set(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    names: &str,
) -> Result<String, Outcome> {
    let said = script::at_cluster(turn, on, SET_SYNCHRONOUS_NAMES, &[names], b"").await?;
    Ok(said.last_words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_leader_waits_for_one_of_its_followers_and_without_any_for_ever() {
        let (a, b) = (SubjectId::generate(), SubjectId::generate());
        let both = names(Durability::Sync, &[a, b]);
        assert_eq!(
            both,
            format!("ANY 1 (\"{}\", \"{}\")", slot_of(a), slot_of(b))
        );
        assert_eq!(names(Durability::Sync, &[]), "ANY 1 (\"f_nobody\")");
        assert_eq!(names(Durability::Async, &[a]), "");
    }
}
