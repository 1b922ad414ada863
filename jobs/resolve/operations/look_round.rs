//! The last look before a server's power is cut: one that lives keeps it.

use std::time::Duration;

use drover::model::{Kind, State, SubjectId};
use drover::store::subjects::{self, Known, Page};
use drover::store::{observations, queue};
use serde::{Deserialize, Serialize};

use super::instance::{Machine, SOON};
use super::kind::{Context, Outcome, Work};
use crate::cloud::InstanceState;
use crate::host;
use crate::host::scripts::BOOT_ID;

/// What was asked of an operation that cuts a server's power.
#[derive(Deserialize)]
pub(super) struct Params {
    /// Whether it is done only to a server that is silent.
    #[serde(default)]
    pub(super) if_silent: bool,
}

/// How often it was found to live.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Looks {
    answered: u32,
    asked: u32,
}

/// How long the look may take.
const LOOK: Duration = Duration::from_secs(4);
/// So often a server that answers is left to its feeler; then it is mended after all,
/// for what it answers is not enough.
const ANSWERS: u32 = 15;
/// So often databases that were in service until now are waited for.
const ASKED: u32 = 5;
/// So many of them speak for the rest.
const DATABASES: i64 = 1000;

/// Power is cut only to a server that is silent. One that answered something that drover
/// cannot use, one that nobody could ask, and one whose databases serve are left to a
/// human.
pub(super) async fn unless_it_lives(
    turn: &Context<'_>,
    machine: &Machine<'_>,
    params: &Params,
    looks: &mut Looks,
) -> Work {
    let instance = machine.there().await?;
    if let Some(moved) = machine.moved(&instance) {
        return Ok(moved);
    }
    if instance.state == InstanceState::Stopped {
        return Ok(Outcome::done(instance.detail));
    }
    if !params.if_silent {
        return Ok(Outcome::done("it is done whether it answers or not"));
    }
    let cause = turn.seen.and_then(|seen| seen.attributes.cause);
    if let Some(cause) = cause.filter(|cause| cause.profile().not_silent) {
        return Err(Outcome::skipped(format!("{cause}: no reboot mends that")));
    }
    unless_it_answers(turn, looks).await?;
    unless_its_databases_answer(turn, looks).await?;
    let name = &turn.server()?.subject.name;
    Ok(Outcome::done(format!(
        "{name} and its databases are silent"
    )))
}

/// A server that came back by itself, or whose other incident was just mended, needs a
/// fresh observation.
async fn unless_it_answers(turn: &Context<'_>, looks: &mut Looks) -> Result<(), Outcome> {
    let server = turn.server()?;
    let host = turn.tools.context.host(server, LOOK);
    let host = host.map_err(|e| Outcome::skipped(e.message))?;
    let answer = host::look(&host, BOOT_ID, &[], b"").await;
    if answer.is_ok() {
        looks.answered += 1;
        if looks.answered < ANSWERS {
            let name = &server.subject.name;
            let waits = format!("{name} lets us in, and is looked at");
            return Err(Outcome::again(SOON, waits));
        }
    }
    Ok(())
}

/// Databases that have answered since the server does not. Those that were in service,
/// and have not been asked since, are asked first.
async fn unless_its_databases_answer(turn: &Context<'_>, looks: &mut Looks) -> Result<(), Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let page = Page {
        name: None,
        state: None,
        server: Some(turn.server()?.subject.id),
        after: None,
        limit: DATABASES,
    };
    let known = subjects::list(&mut db, Kind::Resource, &page).await?;
    let ids: Vec<SubjectId> = known.iter().map(|known| known.subject().id).collect();
    let newest = observations::newest(&mut db, &ids).await?;
    let since = turn.operation.opened_at;
    let subject = |id| known.iter().map(Known::subject).find(|s| s.id == id);
    let mut unasked = Vec::new();
    for (id, seen) in newest {
        if seen.created_at > since && seen.attributes.service_available {
            let name = subject(id).map_or("one", |s| s.name.as_str());
            return Err(Outcome::skipped(format!(
                "its databases answer: {name} was seen at {}",
                seen.created_at.format("%H:%M:%S")
            )));
        }
        if seen.created_at <= since && subject(id).is_some_and(|s| s.state == State::Available) {
            unasked.push(id);
        }
    }
    looks.asked += 1;
    if unasked.is_empty() || looks.asked >= ASKED {
        return Ok(());
    }
    queue::bring_forward(&mut db, &unasked).await?;
    Err(Outcome::again(SOON, "its databases are asked first"))
}
