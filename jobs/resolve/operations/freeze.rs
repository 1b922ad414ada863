//! `freeze`: the oldest tables of a cluster's oldest databases are frozen, for no
//! longer than `limits.vacuum`.

use std::time::Duration;

use drover::model::{Limits, OperationKind, Resource, Server};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::follows::follows;
use super::kind::{Context, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::host::scripts::{FREEZE_TABLES, LOOK_FREEZING, START_FREEZING};

/// The oldest tables are frozen.
pub(super) struct Freeze;

/// What it began with.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// How old the oldest transaction id was.
    age: Option<i64>,
}

impl Operation for Freeze {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Freeze;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look how much of it can be frozen" => look).may_end(),
        step!("start", "begin to freeze the oldest tables" => start).may_end(),
        // Its name tells the playbook that freezing is under way.
        step!("watch", "wait until they are frozen" => watch)
            .may_end()
            .watching(),
    ];
}

const POLL: Duration = Duration::from_secs(10);

/// What [`LOOK_FREEZING`] tells.
#[derive(Debug, Deserialize)]
struct Told {
    in_recovery: bool,
    running: bool,
    progress: Option<String>,
    /// Of the oldest database that can be connected to.
    age: i64,
    database: String,
    /// Old databases that cannot, which only autovacuum can freeze.
    closed: Option<String>,
    /// Nothing younger than this can be frozen.
    held_at: i64,
    held_by: Option<String>,
}

impl Told {
    /// What keeps the ids from being frozen, for people.
    fn held(&self) -> String {
        let mut words = String::new();
        if let Some(by) = &self.held_by {
            words.push_str(&format!("; held back by {by}"));
        }
        if let Some(closed) = &self.closed {
            words.push_str(&format!(
                "; {closed} takes no connections and is left to autovacuum"
            ));
        }
        words
    }

    fn oldest(&self) -> String {
        format!("the oldest id of {} is {} old", self.database, self.age)
    }
}

/// Tables older than this are frozen: enough of them that it takes a while until the
/// limit is reached again. The incident ends at four fifths of the limit.
fn old(limits: &Limits) -> i64 {
    i64::try_from(limits.xid_age / 2).unwrap_or(i64::MAX)
}

fn low_enough(told: &Told, limits: &Limits) -> bool {
    told.age < i64::try_from(limits.xid_age / 5 * 4).unwrap_or(i64::MAX)
}

async fn status(turn: &Context<'_>, on: (&Resource, &Server)) -> Result<Told, Outcome> {
    let old = old(&turn.rules.limits).to_string();
    script::ask(turn, on, LOOK_FREEZING, &[&old]).await
}

async fn look(turn: &mut Turn<'_, Freeze>) -> Work {
    let on = turn.resource()?;
    let told = status(turn, on).await?;
    if let Some(why) = follows(on.0.leader, told.in_recovery) {
        return Ok(Outcome::skipped(why));
    }
    let gain = told.age - told.held_at;
    if !told.running && gain < told.age / 100 {
        return Ok(Outcome::skipped(format!(
            "{}, and next to nothing of it can be frozen{}",
            told.oldest(),
            told.held()
        )));
    }
    turn.memo.age = Some(told.age);
    Ok(Outcome::done(format!("{}{}", told.oldest(), told.held())))
}

async fn start(turn: &mut Turn<'_, Freeze>) -> Work {
    let (resource, server) = turn.resource()?;
    let limits = &turn.rules.limits;
    let told = status(turn, (resource, server)).await?;
    if told.running {
        return Ok(Outcome::done("freezing is under way already"));
    }
    if told.age <= old(limits) {
        return Ok(Outcome::done(format!("{}: nothing to do", told.oldest())));
    }
    let (age, seconds) = (
        old(limits).to_string(),
        limits.vacuum.as_secs().max(1).to_string(),
    );
    let arguments = [age.as_str(), seconds.as_str(), FREEZE_TABLES];
    let on = (resource, server);
    // Whether it holds its lock by now is for the next step to see.
    script::ask::<Map<String, Value>>(turn, on, START_FREEZING, &arguments).await?;
    Ok(Outcome::done(format!(
        "began to freeze tables with ids older than {age}, for at most {seconds} s"
    ))
    .touching(format!(
        "tables of {} on {}",
        resource.subject.name, server.subject.name
    )))
}

async fn watch(turn: &mut Turn<'_, Freeze>) -> Work {
    let told = status(turn, turn.resource()?).await?;
    if told.running {
        let progress = told.progress.as_deref().unwrap_or("freezing");
        let note = format!("{}; {progress}", told.oldest());
        return Ok(Outcome::again(POLL, note));
    }
    let was = turn.memo.age.unwrap_or(told.age);
    let note = format!(
        "froze for a while: {}, after {was}{}",
        told.oldest(),
        told.held()
    );
    Ok(if low_enough(&told, &turn.rules.limits) {
        Outcome::done(note)
    } else {
        Outcome::failed(note)
    })
}
