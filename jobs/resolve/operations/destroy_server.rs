//! `destroy_server`: nothing of a server is left in its cloud.

use std::time::Duration;

use drover::model::Server;
use drover::store::creation;
use drover::store::operations::Fact;

use super::{Book, Context, Outcome, Step, Work, unknown};
use crate::cloud::{AnyCloud, Cloud as _};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("terminate", "take its instance away"),
        Step::new("await_gone", "wait until its instance is gone"),
        Step::new("volumes", "delete its volumes"),
        Step::new("leave", "take it out of the ring"),
    ],
    creates: false,
};

const SOON: Duration = Duration::from_secs(1);
/// From this step of its creation on, the cloud may know of it.
const ASKED: u16 = 2;

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let server = turn.server()?;
    match turn.step {
        "terminate" => terminate(turn, server).await,
        "await_gone" => await_gone(turn, server).await,
        "volumes" => volumes(turn, server).await,
        "leave" => Ok(Outcome::done("nothing of it is left").with(Fact::Gone)),
        step => unknown(step),
    }
}

/// `None`: the cloud was never asked for it, and need not be asked now.
async fn cloud<'a>(turn: &Context<'a>, server: &Server) -> Result<Option<AnyCloud<'a>>, Outcome> {
    if server.instance_id.is_none() {
        let failed = |e: sqlx::Error| Outcome::failed(format!("the record cannot be read: {e}"));
        let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
        let asked = creation::was_asked_for(&mut db, server.subject.id, ASKED);
        if !asked.await.map_err(failed)? {
            return Ok(None);
        }
    }
    turn.cloud(server).map(Some)
}

/// By its mark as well as by the id in the record: its creation may have been given
/// up before it wrote down what it had asked for.
async fn terminate(turn: &Context<'_>, server: &Server) -> Work {
    let Some(cloud) = cloud(turn, server).await? else {
        return Ok(Outcome::done("the cloud was never asked for it"));
    };
    if let Some(id) = &server.instance_id {
        cloud.destroy(id).await?;
    }
    match cloud.find(server.subject.id).await? {
        Some(instance) if Some(&instance.id) != server.instance_id.as_ref() => {
            cloud.destroy(&instance.id).await?;
            Ok(Outcome::done(format!("{} is taken away", instance.id))
                .remember("instance", instance.id))
        }
        Some(instance) => Ok(Outcome::done(format!("{} is taken away", instance.id))),
        None => {
            // What was asked for a moment ago may not be seen yet.
            let waited = (turn.now - turn.operation.step_since)
                .to_std()
                .unwrap_or_default();
            let sure = server.instance_id.is_some() || waited >= cloud.consistent_within();
            if sure {
                return Ok(Outcome::done("there is no instance of it"));
            }
            Err(Outcome::again(
                SOON * 2,
                "the cloud knows of no instance of it; it may yet",
            ))
        }
    }
}

async fn await_gone(turn: &Context<'_>, server: &Server) -> Work {
    let Some(cloud) = cloud(turn, server).await? else {
        return Ok(Outcome::done("there is no instance"));
    };
    let found = turn.operation.memo["instance"].as_str();
    for id in server.instance_id.as_deref().into_iter().chain(found) {
        let instance = cloud.describe(id).await?;
        // Long after it was made, an instance that nobody knows is gone.
        if !instance.state.is_gone() {
            return Err(Outcome::again(SOON, instance.detail));
        }
    }
    if let Some(instance) = cloud.find(server.subject.id).await? {
        cloud.destroy(&instance.id).await?;
        return Err(Outcome::again(SOON, instance.detail));
    }
    Ok(Outcome::done("its instance is gone"))
}

async fn volumes(turn: &Context<'_>, server: &Server) -> Work {
    let Some(cloud) = cloud(turn, server).await? else {
        return Ok(Outcome::done("there are no volumes"));
    };
    let left = cloud.volumes_of(server.subject.id).await?;
    if left.is_empty() {
        return Ok(Outcome::done("no volume of it is left"));
    }
    for volume in &left {
        cloud.delete_volume(volume).await?;
    }
    Err(Outcome::again(
        SOON,
        format!("{} are being deleted", left.join(", ")),
    ))
}
