//! `rebuild_elsewhere`: another follower is made on a server of its own, and the broken
//! one is destroyed once that one is there.

use std::time::Duration;

use drover::model::{Kind, Origin, PublicId, State, SubjectId};
use drover::store::creation::WantedFollower;
use drover::store::subjects::{self, Known};
use drover::store::{operations, plans};
use serde_json::Value;

use super::{follower, node, record};
use crate::resolve::incidents::playbook::{Remedy, Step};
use crate::resolve::incidents::{Asks, Ended, Outcome, Turn};

pub(in crate::resolve::incidents) const REBUILD_ELSEWHERE: Remedy = Remedy {
    name: "rebuild_elsewhere",
    does: "make another follower on a new server of the same zone and size, and destroy this one \
           when that one is there",
    attempts: 1,
    settle: Duration::from_secs(600),
    steps: &[
        Step::new("make"),
        Step::watching("made"),
        Step::new("destroy"),
    ],
};

/// How often the other one is looked at.
const OFTEN: Duration = Duration::from_secs(3);

/// From here on it is brought to its end: a broken follower that recovers meanwhile is
/// one too many.
pub(super) async fn make(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, server, leader) = follower(turn)?;
    if let Ok(other) = replacement(turn) {
        return Ok(Outcome::done(format!("{} is being made", public(other))));
    }
    if resource.subject.origin != Origin::Created {
        return Err(Outcome::passed_over(
            "it was adopted: drover makes and destroys what it made",
        ));
    }
    let (leader, _) = node(turn, leader).await?;
    let (Some(cloud), Some(region), Some(zone)) = (server.cloud, &server.region, &server.zone)
    else {
        return Err(Outcome::passed_over("where its server is is not known"));
    };
    let plan = {
        let mut db = turn.tools.pool.acquire().await.map_err(record)?;
        plans::find(&mut db, &leader.plan).await.map_err(record)?
    };
    let plan = plan.ok_or_else(|| {
        Outcome::passed_over(format!("there is no plan {} any more", leader.plan))
    })?;
    let sizes = match &server.size {
        Some(size) => vec![size.clone()],
        None => plan.sizes_in(cloud).to_vec(),
    };
    let tail = SubjectId::generate().to_string().to_ascii_lowercase();
    let stem = &leader.subject.name;
    let stem = stem.get(..44).unwrap_or(stem);
    let name = format!("{stem}-{}", &tail[tail.len() - 6..]);
    let mut done =
        Outcome::done(format!("{name} is to follow in its place")).remember("half_done", true);
    done.asks = Some(Box::new(Asks::Follow(Box::new(WantedFollower {
        name,
        leader: leader.subject.id,
        plan,
        sizes,
        cloud,
        region: region.clone(),
        zone: zone.clone(),
        own_password: leader.password.clone(),
        asked_by: turn.incident.id.public(),
    }))));
    Ok(done)
}

fn replacement(turn: &Turn<'_>) -> Result<SubjectId, Outcome> {
    let id = turn.incident.memo["replacement"].as_str();
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| failed("which follower takes its place is not known"))
}

fn public(id: SubjectId) -> PublicId {
    PublicId::new(Kind::Resource, id)
}

/// Nothing is left half done: what was made stays, and is somebody's.
fn failed(why: impl Into<String>) -> Outcome {
    Outcome::failed(why).remember("half_done", Value::Null)
}

pub(super) async fn watch(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let id = replacement(turn)?;
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let row = subjects::load(&mut db, &[id]).await.map_err(record)?.pop();
    let gone = || failed(format!("{} is gone", public(id)));
    let known = row.ok_or_else(gone)?.without_secrets();
    let Known::Resource(other, _) = known.map_err(|e| failed(format!("the record: {e:#}")))? else {
        return Err(failed("it is no database"));
    };
    let open = operations::open_of(&mut db, id).await.map_err(record)?;
    let name = &other.subject.name;
    match other.subject.state {
        State::Available => Ok(Outcome::done(format!("{name} follows in its place"))),
        State::Destroying | State::Destroyed => Err(gone()),
        State::Creating | State::Uncertain | State::Unavailable => {
            let stuck = open.filter(|open| open.stuck_at.is_some());
            Err(match stuck {
                Some(open) => {
                    let note = open.note.unwrap_or_default();
                    failed(format!("{name} is not made: {note}"))
                }
                None => {
                    let text = format!("{name} is {}", other.subject.state);
                    Outcome::new(Ended::Again(OFTEN), text)
                }
            })
        }
    }
}

pub(super) fn destroy(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, ..) = follower(turn)?;
    let mut done = Outcome::done(format!("{} is destroyed", resource.subject.name))
        .remember("half_done", Value::Null)
        .touching(format!("cluster {}", resource.subject.name));
    done.asks = Some(Box::new(Asks::Destroy(resource.subject.id)));
    Ok(done)
}
