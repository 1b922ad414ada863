//! `xid_wraparound`: the transaction ids of a cluster run out.

use std::time::Duration;

use drover::model::{
    Incident, IncidentKind, IncidentState, Limits, Observation, Resource, Rules, Server, Severity,
};
use drover::store::subjects::Known;
use serde::Deserialize;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Ended, Outcome, Turn, follows, superuser};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::XidWraparound,
    title: "the transaction ids of a database run out",
    opened_when: "the oldest transaction id is older than limits.xid_age",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 3,
        deadline: Duration::from_secs(4 * 3600),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[Remedy {
        name: "freeze",
        does: "vacuum (freeze) the oldest tables of the oldest databases, for no longer than \
               limits.vacuum",
        attempts: 2,
        settle: Duration::from_secs(90),
        steps: &[
            Step::new("look"),
            Step::new("start"),
            Step::watching("watch"),
        ],
    }],
    undo: None,
    tells: Tells::Page,
};

/// The place of the step by which freezing is under way.
const WATCH: u16 = 2;
/// How long the remedy may take to begin before a human is called for the age alone.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(10);

const STATUS: &str = include_str!("../../host/scripts/look_freezing.sh");

const START: &str = include_str!("../../host/scripts/start_freezing.sh");

const RUNNER: &str = include_str!("../../host/scripts/freeze_tables.sh");

/// What [`STATUS`] tells.
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
        format!("{} is {} transactions old", self.database, self.age)
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

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has transactions");
    };
    let done = match turn.step {
        "look" => look(turn, resource, server).await,
        "start" => start(turn, resource, server).await,
        _ => watch(turn, resource, server).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn status(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Told, Outcome> {
    let old = old(&turn.rules.limits).to_string();
    let told = superuser::ask(turn, (resource, server), STATUS, &[&old]).await?;
    serde_json::from_value(told).map_err(|e| Outcome::failed(format!("psql told no figures: {e}")))
}

async fn look(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let told = status(turn, resource, server).await?;
    if let Some(why) = follows(resource.leader, told.in_recovery) {
        return Ok(Outcome::passed_over(why));
    }
    let gain = told.age - told.held_at;
    if !told.running && gain < told.age / 100 {
        return Ok(Outcome::passed_over(format!(
            "{}, and next to nothing of it can be frozen{}",
            told.oldest(),
            told.held()
        )));
    }
    let note = format!("{}{}", told.oldest(), told.held());
    Ok(Outcome::done(note).remember("age", told.age))
}

async fn start(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let limits = &turn.rules.limits;
    let told = status(turn, resource, server).await?;
    if told.running {
        return Ok(Outcome::done("freezing is under way already"));
    }
    if told.age <= old(limits) {
        return Ok(Outcome::done(format!("{}: nothing to do", told.oldest())));
    }
    let script = format!("RUNNER=$(cat <<'EOF'\n{RUNNER}EOF\n)\n{START}");
    let (age, seconds) = (old(limits).to_string(), limits.vacuum.as_secs().max(1));
    let arguments = [age.as_str(), &seconds.to_string()];
    superuser::ask(turn, (resource, server), &script, &arguments).await?;
    Ok(Outcome::done(format!(
        "began to freeze tables older than {age} transactions, for at most {seconds} s"
    ))
    .touching(format!(
        "tables of {} on {}",
        resource.subject.name, server.subject.name
    )))
}

async fn watch(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let told = status(turn, resource, server).await?;
    if told.running {
        let progress = told.progress.as_deref().unwrap_or("freezing");
        return Ok(Outcome::new(
            Ended::Again(POLL),
            format!("{}; {progress}", told.oldest()),
        ));
    }
    let was = turn.incident.memo["age"].as_i64().unwrap_or(told.age);
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

/// Near the end a human is called whatever drover does; but not before freezing has
/// begun, which goes on by itself.
pub fn urgent(incident: &Incident, seen: Option<&Observation>, rules: &Rules) -> Option<String> {
    let seen = seen?;
    let age = seen.attributes.resource.xid_age?;
    let limit = rules.limits.xid_page_age;
    let since = (seen.created_at - incident.state_since).to_std();
    let late = since.is_ok_and(|since| since > BEGUN_WITHIN);
    let begun = match incident.state {
        IncidentState::Triggered => late,
        IncidentState::Resolving => late || incident.step >= WATCH,
        IncidentState::Waiting | IncidentState::NeedsHuman | IncidentState::Resolved => true,
    };
    (age > limit && begun).then(|| {
        format!("the oldest transaction id is {age} transactions old, more than {limit}; at 2100 million writes stop")
    })
}
