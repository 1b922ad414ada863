//! `destroy_resource`: its cluster goes, with all that is in it; and the server that
//! was made for it, when nothing else is on it.

use drover::model::{Resource, Server, State};
use drover::store::creation;
use drover::store::operations::Fact;

use super::create_resource::customer;
use super::unfollow::{names_without, slot_away};
use super::{Book, Context, Outcome, Step, Work, script, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("drop", "drop its cluster"),
        Step::new("slot", "drop the slot that its leader kept for it"),
        Step::new("names", "have nobody wait for it"),
        Step::new("leave", "take it out of the ring"),
    ],
    creates: false,
};

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    match turn.step {
        "drop" => drop_cluster(turn, resource, server).await,
        "slot" => drop_slot(turn, resource).await,
        "names" => names_without(turn, resource.leader).await,
        // The server follows in the same transaction, if it was made for this.
        "leave" => Ok(Outcome::done("nothing of it is left").with(Fact::Gone)),
        step => unknown(step),
    }
}

const DROP: &str = include_str!("../../host/scripts/drop_cluster.sh");

async fn drop_cluster(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    if !was_begun(turn, resource).await? {
        return Ok(Outcome::done("no cluster was ever made for it"));
    }
    let answers = server.subject.state == State::Available;
    if !answers && goes_too(turn, server, resource).await? {
        let name = &server.subject.name;
        return Ok(Outcome::done(format!("it goes with its server {name}")));
    }
    let name = &customer(resource)?.database;
    let said = script::run(turn, server, DROP, &[name], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// Its server may never have been made: then there is nobody to ask.
async fn was_begun(turn: &Context<'_>, resource: &Resource) -> Result<bool, Outcome> {
    let failed = |e: sqlx::Error| Outcome::failed(format!("the record cannot be read: {e}"));
    let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
    let begun = creation::was_begun(&mut db, resource.subject.id);
    begun.await.map_err(failed)
}

/// Whether the server was made for a plan's resources, and this is the last one: then
/// it is destroyed with all that is on it.
async fn goes_too(
    turn: &Context<'_>,
    server: &Server,
    resource: &Resource,
) -> Result<bool, Outcome> {
    if server.for_plan.is_none() {
        return Ok(false);
    }
    let failed = |e: sqlx::Error| Outcome::failed(format!("the record cannot be read: {e}"));
    let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
    let others = creation::others_on(&mut db, server.subject.id, resource.subject.id);
    Ok(!others.await.map_err(failed)?)
}

async fn drop_slot(turn: &Context<'_>, resource: &Resource) -> Work {
    slot_away(turn, resource, resource.leader).await
}
