//! `replace`: another follower is made on a server of its own, and the broken one is
//! destroyed once that one is there.
//!
//! What it has asked for is in the record under its own name, so a turn that is done
//! again asks for nothing twice.

use std::time::Duration;

use drover::model::{Kind, OperationKind, Origin, PublicId, Resource, Server, State, SubjectId};
use drover::store::creation::{self, CreateError, WantedFollower};
use drover::store::operations::{self, Fact};
use drover::store::subjects::{self, Known};
use drover::store::{changes, plans};
use serde::{Deserialize, Serialize};

use super::follow::node;
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::reconnect::follower;

/// A broken follower is replaced.
pub(super) struct Replace;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// One that is being made already.
    #[serde(default)]
    replacement: Option<SubjectId>,
}

/// Who takes its place.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    replacement: Option<SubjectId>,
}

impl Operation for Replace {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Replace;
    // Behind the first, it is brought to its end: a broken follower that recovers
    // meanwhile is one too many.
    const STEPS: &'static [Step<Self>] = &[
        step!("make", "ask for another follower" => make).may_end(),
        step!("made", "wait until that one is there" => made).watching(),
        step!("destroy", "have this one destroyed" => destroy),
    ];
}

/// How often the other one is looked at.
const OFTEN: Duration = Duration::from_secs(3);

fn public(id: SubjectId) -> PublicId {
    PublicId::new(Kind::Resource, id)
}

async fn make(turn: &mut Turn<'_, Replace>) -> Work {
    let (resource, server, leader) = follower(turn)?;
    if let Some(other) = turn.params.replacement {
        turn.memo.replacement = Some(other);
        return Ok(Outcome::done(format!("{} is being made", public(other))));
    }
    if resource.subject.origin != Origin::Created {
        return Err(Outcome::skipped(
            "it was adopted: drover makes and destroys what it made",
        ));
    }
    let (leader, _) = node(turn, leader).await?;
    let wanted = wanted(turn, server, &leader).await?;
    let name = wanted.name.clone();
    let by = turn.operation.id.public();
    let mut tx = turn.tools.pool.begin().await?;
    // One at a time: a turn that comes late finds what the next one has asked for.
    changes::hold(&mut tx, leader.subject.id).await?;
    let since = turn.operation.opened_at;
    let asked = operations::asked_by(&mut tx, &by, OperationKind::CreateFollower, since).await;
    if let Some(other) = asked?.into_iter().find_map(|asked| asked.subject) {
        turn.memo.replacement = Some(other);
        return Ok(Outcome::done(format!("{} is being made", public(other))));
    }
    match creation::follow(&mut tx, &turn.tools.secret_key, &wanted).await {
        Ok((id, _)) => {
            tx.commit().await?;
            turn.memo.replacement = Some(id);
            Ok(Outcome::done(format!("{name} is to follow in its place")))
        }
        Err(CreateError::Database(e)) => Err(e.into()),
        Err(e) => Err(Outcome::failed(format!("{name}: {e}"))),
    }
}

/// One of the same size and in the same zone.
async fn wanted(
    turn: &Context<'_>,
    server: &Server,
    leader: &Resource,
) -> Result<WantedFollower, Outcome> {
    let (Some(cloud), Some(region), Some(zone)) = (server.cloud, &server.region, &server.zone)
    else {
        return Err(Outcome::skipped("where its server is is not known"));
    };
    let mut db = turn.tools.pool.acquire().await?;
    let plan = plans::find(&mut db, &leader.plan).await?;
    let plan =
        plan.ok_or_else(|| Outcome::skipped(format!("there is no plan {} any more", leader.plan)))?;
    let sizes = match &server.size {
        Some(size) => vec![size.clone()],
        None => plan.sizes_in(cloud).to_vec(),
    };
    // Told from the one that it replaces by the end of the operation's id.
    let tail = turn.operation.id.to_string().to_ascii_lowercase();
    let stem = &leader.subject.name;
    let stem = stem.get(..44).unwrap_or(stem);
    Ok(WantedFollower {
        name: format!("{stem}-{}", &tail[tail.len() - 6..]),
        leader: leader.subject.id,
        plan,
        sizes,
        cloud,
        region: region.clone(),
        zone: zone.clone(),
        own_password: leader.password.clone(),
        asked_by: turn.operation.id.public(),
    })
}

async fn made(turn: &mut Turn<'_, Replace>) -> Work {
    let id = turn.memo.replacement;
    let id = id.ok_or_else(|| Outcome::skipped("which follower takes its place is not known"))?;
    let mut db = turn.tools.pool.acquire().await?;
    let row = subjects::load(&mut db, &[id]).await?.pop();
    let gone = || Outcome::skipped(format!("{} is gone", public(id)));
    let known = row.ok_or_else(gone)?.without_secrets();
    let known = known.map_err(|e| Outcome::failed(format!("the record: {e:#}")))?;
    let Known::Resource(other, _) = known else {
        return Err(Outcome::skipped("it is no database"));
    };
    let name = &other.subject.name;
    match other.subject.state {
        State::Available => Ok(Outcome::done(format!("{name} follows in its place"))),
        State::Destroying | State::Destroyed => Err(gone()),
        State::Creating | State::Uncertain | State::Unavailable => {
            let open = operations::open_of(&mut db, id).await?;
            Err(
                match open.into_iter().find(|open| open.stuck_at.is_some()) {
                    // What was made stays, and is somebody's.
                    Some(open) => {
                        let note = open.note.unwrap_or_default();
                        Outcome::skipped(format!("{name} is not made: {note}"))
                    }
                    None => Outcome::again(OFTEN, format!("{name} is {}", other.subject.state)),
                },
            )
        }
    }
}

async fn destroy(turn: &mut Turn<'_, Replace>) -> Work {
    let (resource, ..) = follower(turn)?;
    let name = &resource.subject.name;
    Ok(Outcome::done(format!("{name} is destroyed"))
        .touching(format!("cluster {name}"))
        .with(Fact::Unneeded))
}
