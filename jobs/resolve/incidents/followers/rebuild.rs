//! `rewind`, `rebuild`: the operation that makes a node follow again is asked for, and
//! watched.

use std::time::Duration;

use drover::model::{Operation, OperationId, OperationKind, OperationState, PublicId, Server};
use drover::store::operations::{self, NewOperation};
use serde_json::{Value, json};

use super::{follower, node, record};
use crate::resolve::incidents::playbook::{Remedy, Step};
use crate::resolve::incidents::{Asks, Ended, Outcome, Turn, shell};

pub(in crate::resolve::incidents) const REWIND: Remedy = Remedy {
    name: "rewind",
    does: "rewind it to where it parted from its leader, or copy its leader if it cannot be rewound",
    attempts: 1,
    settle: Duration::from_secs(45),
    steps: &[Step::new("ask"), Step::watching("rebuilt")],
};

pub(in crate::resolve::incidents) const REBUILD: Remedy = Remedy {
    name: "rebuild",
    does: "make it anew on its server, as a copy of its leader",
    attempts: 1,
    settle: Duration::from_secs(45),
    steps: &[Step::new("ask"), Step::watching("rebuilt")],
};

/// How often the operation is looked at.
const OFTEN: Duration = Duration::from_secs(2);

const REACHES: &str = include_str!("../../../host/scripts/reaches.sh");

/// What is there is given up for a copy: there must be something to copy from.
async fn reaches(turn: &Turn<'_>, server: &Server, host: &str, port: u16) -> Result<(), Outcome> {
    let port = port.to_string();
    let said = shell::run(turn.tools, server, REACHES, &[host, &port], turn.limit).await?;
    match said.status {
        0 => Ok(()),
        9 => Err(Outcome::passed_over(format!(
            "{} does not reach its leader at {host} port {port}: nothing could be copied",
            server.subject.name
        ))),
        _ => Err(Outcome::failed(said.last_words())),
    }
}

pub(super) async fn ask(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, server, leader) = follower(turn)?;
    let how = match turn.remedy {
        "rebuild" => "copy",
        _ => "rewind",
    };
    let asked_by = turn.incident.id.public();
    let open = {
        let mut db = turn.tools.pool.acquire().await.map_err(record)?;
        operations::open_of(&mut db, resource.subject.id)
            .await
            .map_err(record)?
    };
    match open.filter(|open| open.kind == OperationKind::Rebuild) {
        Some(open) if open.stuck_at.is_some() => {
            let note = open.note.unwrap_or_default();
            let public = open.id.public();
            return Err(Outcome::passed_over(format!(
                "{public} tries that already, and is stuck: {note}"
            )));
        }
        // Whoever asked for it, it is what is wanted.
        Some(open) => {
            let text = format!("{} is at it", open.id.public());
            return Ok(Outcome::done(text).remember("operation", open.id.to_string()));
        }
        None => {}
    }
    let (leader, its_server) = node(turn, leader).await?;
    reaches(turn, server, &its_server.address, leader.port).await?;
    let name = PublicId::new(leader.subject.kind, leader.subject.id);
    let mut done = Outcome::done(format!("it is to follow {name} again ({how})"));
    done.asks = Some(Box::new(Asks::For(NewOperation {
        subject: Some(resource.subject.id),
        kind: OperationKind::Rebuild,
        params: json!({ "how": how }),
        asked_by,
        reason: Some(turn.incident.reason.clone()),
        not_before: None,
    })));
    Ok(done)
}

/// Which operation was asked for, and how it stands.
async fn asked_for(turn: &Turn<'_>) -> Result<Operation, Outcome> {
    let id = turn.incident.memo["operation"].as_str();
    let id: Option<OperationId> = id.and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Outcome::failed("which operation was asked for is not known"))?;
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let found = operations::load(&mut db, id).await.map_err(record)?;
    found.ok_or_else(|| Outcome::failed(format!("{} is not there", id.public())))
}

pub(super) async fn watch(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, ..) = follower(turn)?;
    let operation = asked_for(turn).await?;
    let public = operation.id.public();
    let note = operation.note.unwrap_or_default();
    match operation.state {
        OperationState::Done => Ok(Outcome::done(format!("{public} is done"))
            .remember("operation", Value::Null)
            .touching(format!("cluster {}", resource.subject.name))),
        OperationState::Cancelled => {
            Err(Outcome::failed(format!("{public} was given up"))
                .remember("operation", Value::Null))
        }
        OperationState::Open if operation.stuck_at.is_some() => {
            Err(Outcome::failed(format!("{public} is stuck: {note}")))
        }
        OperationState::Open => {
            let text = format!("{public} is at work: {note}");
            Err(Outcome::new(Ended::Again(OFTEN), text))
        }
    }
}
