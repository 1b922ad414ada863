//! What a leader's commits wait for: `synchronous_standby_names`, kept as the record
//! has it.
//!
//! Strict: a leader whose record says `sync` always has a list. One without followers
//! has a name in it that nobody bears, so that its commits wait and none of them is
//! acknowledged that is in one place only. drover's own sessions there commit with
//! `synchronous_commit=local` (`prelude/superuser.sh`) and wait for nobody.
//!
//! Architecture Invariant: whoever is to lead gets its list before it is promoted, and
//! whoever changes the followers of a leader calls [`by_record`] afterwards. A list
//! that is left at a standby does nothing there.

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Durability, Resource, Server, State, SubjectId};

use super::follow::{Node, followers, node};
use super::{Context, Outcome, script};
use crate::host::scripts::SET_SYNCHRONOUS_NAMES;

const SOON: Duration = Duration::from_millis(500);
/// So often a list is written anew in one turn because the record has changed meanwhile.
const TRIES: u32 = 3;
/// What no follower is called: their slots end with their ids.
const NOBODY: &str = "f_nobody";

/// Has the commits of a leader wait for what the record says of it now: its durability
/// and its followers.
///
/// # Errors
/// The outcome of a step that cannot, or whose leader follows by now.
pub(super) async fn by_record(turn: &Context<'_>, leader: SubjectId) -> Result<String, Outcome> {
    for _ in 0..TRIES {
        let (found, names) = wanted(turn, leader).await?;
        let said = set(turn, (&found.0, &found.1), &names).await?;
        // Another operation may have read an older record, and written after us: the
        // last one to look finds what is true.
        if wanted(turn, leader).await?.1 == names {
            return Ok(said);
        }
    }
    Err(Outcome::again(SOON, "its followers are just changing"))
}

/// The same, if there is anything to do: an `async` leader's followers come and go
/// without it.
///
/// # Errors
/// As [`by_record`].
pub(super) async fn if_sync(turn: &Context<'_>, leader: SubjectId) -> Result<String, Outcome> {
    let (found, _) = node(turn, leader).await?;
    match found.durability {
        Durability::Sync => by_record(turn, leader).await,
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

/// The leader with its server, and its list by the record.
async fn wanted(turn: &Context<'_>, leader: SubjectId) -> Result<(Node, String), Outcome> {
    let found = node(turn, leader).await?;
    if found.0.leader.is_some() {
        let name = &found.0.subject.name;
        return Err(Outcome::failed(format!("{name} follows by now")));
    }
    let mut streaming = Vec::new();
    for (follower, _) in followers(turn, leader).await? {
        match follower.subject.state {
            State::Available | State::Uncertain | State::Unavailable => {
                streaming.push(follower.subject.id);
            }
            State::Creating | State::Destroying | State::Destroyed => {}
        }
    }
    let names = names(found.0.durability, &streaming);
    Ok((found, names))
}

/// The value of `synchronous_standby_names`; empty: none.
fn names(durability: Durability, followers: &[SubjectId]) -> String {
    let mut all: Vec<String> = followers.iter().map(|id| slot_of(*id)).collect();
    match durability {
        Durability::Async => return String::new(),
        Durability::Sync if all.is_empty() => all.push(NOBODY.into()),
        Durability::Sync => {}
    }
    let quoted: Vec<String> = all.iter().map(|name| format!("\"{name}\"")).collect();
    format!("ANY 1 ({})", quoted.join(", "))
}

async fn set(turn: &Context<'_>, on: (&Resource, &Server), names: &str) -> Result<String, Outcome> {
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
