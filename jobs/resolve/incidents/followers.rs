//! What the playbooks of followers share: the other side, and the registry of their
//! steps.

mod elsewhere;
mod fence;
mod rebuild;
mod receiver;
mod restart;

use drover::model::{Resource, Server, SubjectId};
use drover::store::subjects::{self, Known};

use super::{Outcome, Turn};
pub(super) use elsewhere::REBUILD_ELSEWHERE;
pub(super) use fence::FENCE;
pub(super) use rebuild::{REBUILD, REWIND};
pub(super) use receiver::RESTART_RECEIVER;
pub(super) use restart::RESTART_FOLLOWER;

/// A resource with its server.
type Node = (Box<Resource>, Box<Server>);

/// Does a step of a remedy for a follower.
pub(super) async fn perform(turn: &Turn<'_>) -> Outcome {
    // On the heap: they are many, and a worker's stack is small.
    let done = match turn.step {
        "reconnect" => Box::pin(receiver::reconnect(turn)).await,
        "streams" => receiver::streams(turn).await,
        "restart_follower" => restart::restart(turn).await,
        "fence" => fence::fence(turn).await,
        "ask" => Box::pin(rebuild::ask(turn)).await,
        "rebuilt" => rebuild::watch(turn).await,
        "make" => Box::pin(elsewhere::make(turn)).await,
        "made" => elsewhere::watch(turn).await,
        "destroy" => elsewhere::destroy(turn),
        step => Err(Outcome::failed(format!("there is no step {step}"))),
    };
    done.unwrap_or_else(|outcome| outcome)
}

/// The follower that the turn is about, its server, and whom it follows.
///
/// # Errors
/// If it follows nobody.
fn follower<'t>(turn: &'t Turn<'_>) -> Result<(&'t Resource, &'t Server, SubjectId), Outcome> {
    let Known::Resource(resource, server) = turn.known else {
        return Err(Outcome::passed_over("a server follows nobody"));
    };
    let leader = resource.leader;
    let leader = leader.ok_or_else(|| Outcome::passed_over("it follows nobody"))?;
    Ok((resource, server, leader))
}

/// A resource of the record, with its secrets.
async fn node(turn: &Turn<'_>, id: SubjectId) -> Result<Node, Outcome> {
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let row = subjects::load(&mut db, &[id]).await.map_err(record)?.pop();
    let row = row.ok_or_else(|| Outcome::passed_over("its leader has left the herd"))?;
    let opened = row.open(&turn.tools.secret_key);
    match opened.map_err(|e| Outcome::failed(format!("the record: {e:#}")))? {
        Known::Resource(resource, server) => Ok((resource, server)),
        Known::Server(_) => Err(Outcome::passed_over("a server among databases")),
    }
}

fn record(e: sqlx::Error) -> Outcome {
    Outcome::failed(format!("the record does not answer: {e}"))
}
