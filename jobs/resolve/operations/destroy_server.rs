//! `destroy_server`: nothing of a server is left in its cloud.

use std::time::Duration;

use drover::model::{OperationKind, Server};
use drover::store::creation;
use drover::store::operations::Fact;
use serde::{Deserialize, Serialize};

use super::kind::{Context, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::leased::LeasedCloud;
use crate::cloud::Cloud as _;

/// A server is destroyed.
pub(super) struct DestroyServer;

/// What the record does not have.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// Another instance than the record's that bears its mark.
    instance: Option<String>,
}

impl Operation for DestroyServer {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::DestroyServer;
    const STEPS: &'static [Step<Self>] = &[
        step!("terminate", "take its instance away" => terminate),
        step!("await_gone", "wait until its instance is gone" => await_gone),
        step!("volumes", "delete its volumes" => volumes),
        Step::new("leave", "take it out of the ring", |_| {
            Box::pin(async { leave() })
        }),
    ];
}

const SOON: Duration = Duration::from_secs(1);
/// From this step of its creation on, the cloud may know of it.
const ASKED: u16 = 2;

/// `None`: the cloud was never asked for it, and need not be asked now.
async fn cloud<'a>(
    turn: &Context<'a>,
    server: &Server,
) -> Result<Option<LeasedCloud<'a>>, Outcome> {
    if server.instance_id.is_none() {
        let mut db = turn.tools.pool.acquire().await?;
        if !creation::was_asked_for(&mut db, server.subject.id, ASKED).await? {
            return Ok(None);
        }
    }
    turn.cloud(server).map(Some)
}

/// By its mark as well as by the id in the record: its creation may have been given
/// up before it wrote down what it had asked for.
async fn terminate(turn: &mut Turn<'_, DestroyServer>) -> Work {
    let server = turn.server()?;
    let Some(cloud) = cloud(turn, server).await? else {
        return Ok(Outcome::done("the cloud was never asked for it"));
    };
    if let Some(id) = &server.instance_id {
        cloud.destroy(id).await?;
    }
    match cloud.find(server.subject.id).await? {
        Some(instance) if Some(&instance.id) != server.instance_id.as_ref() => {
            cloud.destroy(&instance.id).await?;
            let done = format!("{} is taken away", instance.id);
            turn.memo.instance = Some(instance.id);
            Ok(Outcome::done(done))
        }
        Some(instance) => Ok(Outcome::done(format!("{} is taken away", instance.id))),
        None => {
            // What was asked for a moment ago may not be seen yet.
            let sure = server.instance_id.is_some() || turn.waited() >= cloud.consistent_within();
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

async fn await_gone(turn: &mut Turn<'_, DestroyServer>) -> Work {
    let server = turn.server()?;
    let Some(cloud) = cloud(turn, server).await? else {
        return Ok(Outcome::done("there is no instance"));
    };
    let found = turn.memo.instance.as_deref();
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

async fn volumes(turn: &mut Turn<'_, DestroyServer>) -> Work {
    let server = turn.server()?;
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

fn leave() -> Work {
    Ok(Outcome::done("nothing of it is left").with(Fact::Gone))
}

#[cfg(test)]
mod tests {
    use super::super::create_server::CreateServer;
    use super::*;

    #[test]
    fn the_cloud_is_asked_for_a_server_at_the_step_that_its_destruction_looks_for() {
        let asks = CreateServer::STEPS
            .iter()
            .position(|step| step.name == "ask");
        assert_eq!(asks, Some(usize::from(ASKED)));
    }
}
