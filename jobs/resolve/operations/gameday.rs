//! `gameday`: something is broken on purpose, once, and left to be mended; without a
//! subject, what earlier ones broke is taken back, if its time is up.
//!
//! Architecture Invariant: nothing is broken in a deployment that is not marked for it,
//! and nothing twice: that it is being broken is committed before it is. What must be
//! taken back is in the record from then on, and no worker's death loses it.

use std::time::Duration;

use drover::config::GamedayMark;
use drover::model::{self, Harm, OperationId, OperationKind, Resource, Server};
use drover::store::gameday;
use drover::store::subjects::{self, Known};

use super::kind::{Context, NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::host::Change;
use crate::host::scripts::{GAMEDAY_EMPTY, GAMEDAY_FILL, GAMEDAY_SIGNAL};

/// Something is broken on purpose, or taken back. How, and for how long, stands in the
/// record of the game day.
pub(super) struct Gameday;

impl Operation for Gameday {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::Gameday;
    const STEPS: &'static [Step<Self>] = &[
        step!("act", "break it, or take back what was broken" => act)
            .within(Duration::from_secs(25)),
    ];
}

async fn act(turn: &mut Turn<'_, Gameday>) -> Work {
    match turn.known {
        Some(known) => break_it(turn, known).await,
        None => heal_all(turn).await,
    }
}

/// Whatever comes of it, the operation is over: nobody must wait for it.
async fn break_it(turn: &Context<'_>, known: &Known) -> Work {
    let id = turn.operation.id;
    let mut db = turn.tools.pool.acquire().await?;
    let found = gameday::load(&mut db, id).await?;
    let Some(found) = found else {
        return Err(Outcome::hopeless(
            "nothing is written down of this game day",
        ));
    };
    if turn.tools.gameday == GamedayMark::Refused {
        let why = "this resolve worker is not marked for game days: set DROVER_GAMEDAY=allow for \
                   all of them";
        gameday::fail(&mut db, id, why).await?;
        return Ok(Outcome::done(format!("nothing was broken: {why}")));
    }
    if !gameday::begin(&mut db, id).await? {
        let note = "its worker died over it; whether it was broken, the next look tells";
        return Ok(Outcome::done(note));
    }
    // The harm may take its time; others need connections too.
    drop(db);
    match harm(turn, known, found.how).await {
        Ok(note) => Ok(Outcome::done(format!("{}: {note}", found.how))),
        Err(Outcome { note: why, .. }) => {
            let mut db = turn.tools.pool.acquire().await?;
            gameday::fail(&mut db, id, &why).await?;
            Ok(Outcome::done(format!("nothing was broken: {why}")))
        }
    }
}

/// What was done, or why it was not.
async fn harm(turn: &Context<'_>, known: &Known, how: Harm) -> Result<String, Outcome> {
    let server = server_of(known);
    let name = &server.subject.name;
    match how {
        Harm::Kill => signal(turn, known, "KILL").await,
        Harm::Freeze => match known {
            Known::Server(server) if is_local(server) => {
                at_cloud(turn, server, Deed::Freeze).await?;
                Ok(format!("every process of {name} is stopped"))
            }
            Known::Server(_) | Known::Resource(..) => signal(turn, known, "STOP").await,
        },
        Harm::Unplug => {
            at_cloud(turn, server, Deed::Unplug).await?;
            Ok(format!("{name} has no power any more"))
        }
        Harm::Partition => {
            at_cloud(turn, server, Deed::Partition).await?;
            Ok(format!("nobody reaches {}", server.address))
        }
        Harm::Fill => on_volume(turn, known, GAMEDAY_FILL).await,
    }
}

fn server_of(known: &Known) -> &Server {
    match known {
        Known::Server(server) | Known::Resource(_, server) => server,
    }
}

fn is_local(server: &Server) -> bool {
    server.cloud == Some(drover::model::Cloud::Local) && server.instance_id.is_some()
}

/// The port of a resource's cluster; of a server, all.
fn port(known: &Known) -> String {
    let of: Option<&Resource> = match known {
        Known::Server(_) => None,
        Known::Resource(resource, _) => Some(resource),
    };
    of.map_or_else(|| "all".into(), |resource| resource.port.to_string())
}

async fn signal(turn: &Context<'_>, known: &Known, signal: &str) -> Result<String, Outcome> {
    let (server, port) = (server_of(known), port(known));
    let said = script::run(turn, server, GAMEDAY_SIGNAL, &[&port, signal], b"").await?;
    Ok(said.last_words())
}

async fn on_volume(turn: &Context<'_>, known: &Known, todo: &Change) -> Result<String, Outcome> {
    let (server, port) = (server_of(known), port(known));
    let said = script::run(turn, server, todo, &[&port], b"").await?;
    Ok(said.last_words())
}

#[derive(Clone, Copy)]
enum Deed {
    Unplug,
    Freeze,
    Thaw,
    Partition,
    Heal,
}

async fn at_cloud(turn: &Context<'_>, server: &Server, deed: Deed) -> Result<(), Outcome> {
    let cloud = turn.cloud(server)?;
    let name = &server.subject.name;
    let instance = server.instance_id.as_deref();
    let instance = instance.ok_or_else(|| Outcome::failed(format!("{name} is in no cloud")))?;
    // On the heap: a cloud's work is large for a worker's stack.
    let done = match deed {
        Deed::Unplug => Box::pin(cloud.does(cloud.itself().unplug(instance))).await,
        Deed::Freeze => cloud.does(cloud.itself().freeze(instance)).await,
        Deed::Thaw => cloud.does(cloud.itself().thaw(instance)).await,
        Deed::Partition => cloud.does(cloud.itself().partition(instance)).await,
        Deed::Heal => cloud.does(cloud.itself().heal(instance)).await,
    };
    Ok(done?)
}

/// Takes back all whose time is up. What cannot be taken back now holds up no other, and
/// is tried again.
async fn heal_all(turn: &Context<'_>) -> Work {
    let mut db = turn.tools.pool.acquire().await?;
    let due = gameday::due(&mut db).await?;
    drop(db);
    let (mut healed, mut left) = (Vec::new(), Vec::new());
    for found in due {
        let name = found.name.clone();
        match heal(turn, &found).await {
            Ok(note) => {
                note_healed(turn, found.id).await?;
                healed.push(format!("{name}: {note}"));
            }
            Err(outcome) => left.push(format!("{name}: {}", outcome.note)),
        }
    }
    match left.is_empty() {
        true if healed.is_empty() => Ok(Outcome::done("nothing is to be taken back")),
        true => Ok(Outcome::done(healed.join("; "))),
        false => Err(Outcome::failed(left.join("; "))),
    }
}

async fn note_healed(turn: &Context<'_>, id: OperationId) -> Result<(), Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    Ok(gameday::healed(&mut db, id).await?)
}

/// One may be healed any number of times.
async fn heal(turn: &Context<'_>, found: &model::Gameday) -> Result<String, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let rows = subjects::load(&mut db, &[found.subject.id]).await;
    drop(db);
    let Some(row) = rows?.pop() else {
        return Ok("it has left the herd".into());
    };
    let known = row
        .open(&turn.tools.secret_key)
        .map_err(|e| Outcome::failed(e.to_string()))?;
    let server = server_of(&known);
    match found.how {
        Harm::Partition => {
            at_cloud(turn, server, Deed::Heal).await?;
            Ok(format!("{} can be reached again", server.address))
        }
        Harm::Fill => on_volume(turn, &known, GAMEDAY_EMPTY).await,
        Harm::Freeze => match &known {
            Known::Server(server) if is_local(server) => {
                at_cloud(turn, server, Deed::Thaw).await?;
                Ok("its processes go on".into())
            }
            Known::Server(_) | Known::Resource(..) => signal(turn, &known, "CONT").await,
        },
        Harm::Kill | Harm::Unplug => Ok("that is for drover to mend".into()),
    }
}
