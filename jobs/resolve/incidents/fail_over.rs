//! The remedy `fail_over` of `resource_down` and `server_down`: a follower takes the
//! lead, by an operation of its own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{
    FailsOver, Incident, Observation, Operation, OperationState, SubjectId, Witness,
};
use drover::store::operations::{self, failover};
use sqlx::PgConnection;

use super::playbook::{Playbook, Remedy, Step};
use super::{Asks, Ended, Outcome, Turn};

pub(super) const REMEDY: Remedy = Remedy {
    name: "fail_over",
    does: "have a follower take the lead",
    attempts: 1,
    settle: Duration::ZERO,
    steps: &[Step::new("open"), Step::watching("watch")],
};

/// How often the operations are looked at.
const OFTEN: Duration = Duration::from_millis(500);
/// How long a failover may look for somebody before other remedies go on beside it.
const NOBODY: Duration = Duration::from_secs(7);
/// No reboot and no move to other hardware ends within less: a leader whose plan is
/// more patient than this is left to them first.
const OF_A_SERVER: Duration = Duration::from_secs(60);

/// The leaders that a follower should take over from now, because of this incident, with
/// what was last seen of its subject.
///
/// # Errors
/// If the record cannot be read.
pub async fn due(
    db: &mut PgConnection,
    incident: &Incident,
    seen: Option<&Observation>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SubjectId>> {
    let (Some(subject), Some(seen)) = (incident.subject, seen) else {
        return Ok(vec![]);
    };
    let server = match incident.kind.profile().fails_over {
        FailsOver::ItsLeaders => true,
        FailsOver::Itself => false,
        FailsOver::Nobody => return Ok(vec![]),
    };
    let dead = matches!(seen.attributes.witness, Some(Witness::Down { .. }));
    if seen.attributes.service_available || !dead && !serves_nobody(seen) {
        return Ok(vec![]);
    }
    let down_for = (now - incident.opened_at).to_std().unwrap_or_default();
    let leaders = failover::leaders_at(db, subject).await?;
    let due = leaders.into_iter().filter(|leader| {
        let late = down_for >= leader.patience || server && leader.patience < OF_A_SERVER;
        // Its machine lives, as far as anybody can tell: then only what was tried and did
        // not help, or its own silence, speaks against it.
        let gone = match server {
            true => dead || !leader.answers,
            false => dead || incident.attempts > 0,
        };
        late && gone
    });
    Ok(due.map(|leader| leader.id).collect())
}

fn serves_nobody(seen: &Observation) -> bool {
    let cause = seen.attributes.cause;
    cause.is_some_and(|cause| cause.profile().serves_nobody)
}

/// Its place in a playbook.
pub fn place(book: &Playbook) -> Option<u16> {
    let found = book.remedies.iter().position(|r| r.name == REMEDY.name);
    found.and_then(|place| u16::try_from(place).ok())
}

fn record(e: sqlx::Error) -> Outcome {
    Outcome::failed(format!("the record does not answer: {e}"))
}

/// Does a step.
pub(super) async fn perform(turn: &Turn<'_>) -> Outcome {
    let done = match turn.step {
        "open" => open(turn).await,
        _ => watch(turn).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn open(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let now = drover::store::now(&mut db).await.map_err(record)?;
    let leaders = due(&mut db, turn.incident, turn.seen, now)
        .await
        .map_err(record)?;
    if leaders.is_empty() {
        return Err(Outcome::passed_over("there is no leader with a follower"));
    }
    let reason = turn.incident.reason.clone();
    let mut done = Outcome::done(reason);
    done.asks = Some(Box::new(Asks::Failover(leaders)));
    Ok(done)
}

fn late(operation: &Operation, now: DateTime<Utc>) -> bool {
    let waited = (now - operation.opened_at).to_std().unwrap_or_default();
    waited >= NOBODY
}

/// Waits until each has come to its end, or needs a human.
async fn watch(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let ids = turn.incident.memo["failovers"].as_array();
    let ids = ids
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok());
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let now = drover::store::now(&mut db).await.map_err(record)?;
    let mut outcome = Outcome::done("");
    let mut words = Vec::new();
    for id in ids {
        let Some(operation) = operations::load(&mut db, id).await.map_err(record)? else {
            continue;
        };
        let public = id.public();
        match operation.state {
            OperationState::Done => words.push(format!("{public} is done")),
            OperationState::Cancelled => words.push(format!("{public} was given up")),
            OperationState::Open if operation.stuck_at.is_some() => {
                let note = operation.note.unwrap_or_default();
                return Err(Outcome::failed(format!("{public} needs a human: {note}")));
            }
            OperationState::Open if operation.step == 0 && late(&operation, now) => {
                // It goes on by itself, and so does what else may help.
                let note = operation.note.unwrap_or_default();
                words.push(format!("{public} finds nobody yet: {note}"));
            }
            OperationState::Open => {
                let waits = format!("{public} is at work");
                return Err(Outcome::new(Ended::Again(OFTEN), waits));
            }
        }
        outcome = outcome.touching(format!("operation {public}"));
    }
    outcome.note = words.join("; ");
    Ok(outcome)
}
