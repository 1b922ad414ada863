//! Fencing: proof that a leader which is to lose its lead accepts no write any more.
//!
//! Architecture Invariant: whoever is fenced stays so, whoever starts it: its data
//! directory says that it is a standby, and its `pg_hba.conf` lets nobody in but its own
//! machine. Where only its cloud could be asked it does not start by itself, since a
//! leader with followers never does (`start.conf`).

use std::fmt;
use std::time::Duration;

use drover::model::{Kind, Resource, Server, State};
use drover::store::subjects::{self, Page};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::leased::LeasedCloud;
use super::{Context, Outcome, script};
use crate::cloud::{Cloud as _, Instance, InstanceState};
use crate::host::scripts::FENCE;

/// So long the power is not cut to a machine that is in service, and whose sshd may
/// still do it more gently.
const GRACE: Duration = Duration::from_secs(2);
/// For who answers late, and is not to be missed.
pub(super) const PATIENT: Duration = Duration::from_secs(60);
/// Between two questions whether an instance is stopped.
const OFTEN: Duration = Duration::from_millis(250);
/// How long a turn waits for that.
const STOP: Duration = Duration::from_secs(14);

/// Why a follower may lead: what proves that the leader before it takes no writes, or
/// what goes on without a proof.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FencedBy {
    /// It was stopped over SSH.
    Ssh,
    /// Its cloud says that its machine is stopped.
    Cloud,
    /// Its followers confirm nothing to it any more: a commit that waits for them is accepted by
    /// nobody.
    Followers,
    /// Nothing proves it: a human's word.
    Override,
    /// Nothing proves it: its plan goes on all the same.
    Nothing,
}

/// How it was proved, in one word for programs and in words for people.
pub(super) struct Proof {
    pub(super) by: FencedBy,
    pub(super) words: String,
}

/// What each way has said, where none has proved it.
pub(super) struct Unproved {
    words: String,
    /// Whether its cloud has begun to stop its machine: a proof is on its way.
    pub(super) stopping: bool,
}

impl From<String> for Unproved {
    fn from(words: String) -> Self {
        let stopping = false;
        Self { words, stopping }
    }
}

impl fmt::Display for Unproved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.words)
    }
}

/// Tries every way at once; the first that proves it suffices. A way whose peer does not answer
/// within `patience` is given up; once its cloud has begun to stop its machine it is waited for.
///
/// # Errors
/// What each way has said, if none has proved it.
pub(super) async fn fence(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    patience: Duration,
) -> Result<Proof, Unproved> {
    let mut ways: FuturesUnordered<BoxFuture<'_, Result<Proof, Unproved>>> =
        FuturesUnordered::new();
    ways.push(Box::pin(over_ssh(turn, resource, server, patience)));
    ways.push(Box::pin(by_its_cloud(turn, resource, server, patience)));
    let mut said = Vec::new();
    while let Some(way) = ways.next().await {
        match way {
            Ok(proof) => return Ok(proof),
            Err(why) => said.push(why),
        }
    }
    Err(Unproved {
        stopping: said.iter().any(|said| said.stopping),
        words: said
            .into_iter()
            .map(|said| said.words)
            .collect::<Vec<_>>()
            .join("; "),
    })
}

async fn over_ssh(
    turn: &Context<'_>,
    resource: &Resource,
    server: &Server,
    patience: Duration,
) -> Result<Proof, Unproved> {
    let said = script::at_cluster(turn, (resource, server), FENCE, &[], b"");
    let said = within(patience, &server.subject.name, said).await?;
    let said = said.map_err(|e| e.to_string())?;
    Ok(Proof {
        by: FencedBy::Ssh,
        words: said.last_words(),
    })
}

async fn within<T>(
    patience: Duration,
    who: &str,
    answer: impl Future<Output = T>,
) -> Result<T, String> {
    let answer = timeout(patience, answer).await;
    answer.map_err(|_| format!("{who}: no answer within {patience:?}"))
}

/// What its cloud says of its machine, where that is stopped already.
pub(super) async fn is_stopped(turn: &Context<'_>, server: &Server) -> Option<String> {
    let (cloud, id) = at_its_cloud(turn, server).ok()?;
    let said = timeout(GRACE, cloud.describe(id)).await.ok()?.ok()?;
    is_off(&said).then_some(said.detail)
}

fn is_off(instance: &Instance) -> bool {
    use InstanceState::{Stopped, Terminated};
    matches!(instance.state, Stopped | Terminated)
}

fn at_its_cloud<'a>(
    turn: &Context<'a>,
    server: &'a Server,
) -> Result<(LeasedCloud<'a>, &'a str), String> {
    let cloud = turn.cloud(server).map_err(|outcome| outcome.note)?;
    let id = server.instance_id.as_deref();
    Ok((cloud, id.ok_or("its cloud does not know it")?))
}

async fn by_its_cloud(
    turn: &Context<'_>,
    resource: &Resource,
    server: &Server,
    patience: Duration,
) -> Result<Proof, Unproved> {
    let words = |outcome: Outcome| outcome.note;
    let (cloud, id) = at_its_cloud(turn, server)?;
    let stopped = async || match cloud.describe(id).await {
        Ok(instance) => Ok(is_off(&instance).then_some(instance.detail)),
        Err(e) => Err(format!("its cloud: {e}")),
    };
    let proof = |words| {
        let by = FencedBy::Cloud;
        Ok(Proof { by, words })
    };
    if let Some(detail) = within(patience, "its cloud", stopped()).await?? {
        return proof(detail);
    }
    if server.subject.state != State::Unavailable {
        if !is_alone(turn, resource, server).await.map_err(words)? {
            let others = "its server has other databases, which are in service";
            return Err(others.to_owned().into());
        }
        tokio::time::sleep(GRACE).await;
    }
    let cut = within(patience, "its cloud", cloud.cut_power(id)).await?;
    cut.map_err(|e| format!("its cloud does not stop it: {e}"))?;
    let deadline = tokio::time::Instant::now() + STOP;
    while tokio::time::Instant::now() < deadline {
        if let Some(detail) = stopped().await? {
            return proof(detail);
        }
        tokio::time::sleep(OFTEN).await;
    }
    Err(Unproved {
        words: "its cloud is stopping it".into(),
        stopping: true,
    })
}

/// Whether nothing else is on its server that would go down with it.
async fn is_alone(
    turn: &Context<'_>,
    resource: &Resource,
    server: &Server,
) -> Result<bool, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let page = Page {
        name: None,
        state: None,
        server: Some(server.subject.id),
        after: None,
        limit: 2,
    };
    let on_it = subjects::list(&mut db, Kind::Resource, &page).await?;
    Ok(on_it
        .iter()
        .all(|known| known.subject().id == resource.subject.id))
}
