//! `set_durability`: a leader's commits wait for a follower from now on (`sync`), or
//! do not any more (`async`).
//!
//! The record never promises more than the world keeps: `sync` is written down once it
//! is in force, `async` before it is.

use drover::model::slot_of;
use drover::model::{Durability, Resource, Server};
use drover::store::operations::Fact;

use super::follow::followers;
use super::instance::param;
use super::{Book, Context, Outcome, Step, Work, script, sync, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("look", "look whether a follower streams"),
        Step::new("set", "have its commits wait for a follower"),
        Step::new("write_down", "write down what its commits wait for"),
        Step::new("compare", "compare what is in force with the record"),
    ],
    creates: false,
};

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    let wanted = wanted(turn)?;
    if resource.leader.is_some() {
        return Err(Outcome::hopeless(
            "it follows by now, and has its leader's durability: ask that one",
        ));
    }
    match turn.step {
        "look" => look(turn, (resource, server), wanted).await,
        "set" => set(turn, (resource, server), wanted).await,
        "write_down" => {
            Ok(Outcome::done(format!("its durability is {wanted}")).with(Fact::Durability(wanted)))
        }
        // A follower's operation may have gone by the record that was.
        "compare" => {
            let said = sync::by_record(turn, resource.subject.id).await?;
            Ok(Outcome::done(said))
        }
        step => unknown(step),
    }
}

fn wanted(turn: &Context<'_>) -> Result<Durability, Outcome> {
    let word = param(turn, "durability")?.as_str();
    let word = word.and_then(|word| word.parse().ok());
    word.ok_or_else(|| Outcome::hopeless("the durability is neither async nor sync"))
}

const STREAMING: &str = include_str!("../../host/scripts/streaming_followers.sh");

/// Nothing is changed before one streams: all commits would wait.
async fn look(turn: &Context<'_>, on: (&Resource, &Server), wanted: Durability) -> Work {
    match wanted {
        Durability::Async => return Ok(Outcome::then("write_down", "it needs no follower")),
        Durability::Sync => {}
    }
    let followers = followers(turn, on.0.subject.id).await?;
    if followers.is_empty() {
        return Err(Outcome::hopeless(
            "it has no follower, and would take no commit any more",
        ));
    }
    let said = script::as_superuser(turn, on, STREAMING, &[], b"").await?;
    let streams = |slot: &String| said.out.lines().any(|line| line.trim() == slot);
    let streaming = followers
        .iter()
        .find(|(follower, _)| streams(&slot_of(follower.subject.id)));
    match streaming {
        Some((follower, _)) => Ok(Outcome::done(format!("{} streams", follower.subject.name))),
        None => Err(Outcome::failed(
            "none of its followers streams, and it would take no commit any more",
        )),
    }
}

async fn set(turn: &Context<'_>, on: (&Resource, &Server), wanted: Durability) -> Work {
    let all = followers(turn, on.0.subject.id).await?;
    let ids: Vec<_> = all
        .iter()
        .map(|(follower, _)| follower.subject.id)
        .collect();
    let said = sync::write(turn, on, wanted, &ids).await?;
    Ok(Outcome::done(said))
}
