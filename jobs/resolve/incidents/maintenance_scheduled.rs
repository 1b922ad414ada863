//! `maintenance_scheduled`: the cloud will take the hardware away from under a server.
//! It is moved to other hardware before that, in a maintenance window.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{
    IncidentKind, Kind, Mode, Observation, OperationId, OperationKind, OperationState, Severity,
    Window,
};
use drover::store;
use drover::store::operations::{self, NewOperation};
use drover::store::subjects::{self, Known, Page};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::instance::{self, Machine};
use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Asks, Ended, Outcome, Turn};
use crate::cloud::CloudAction;
use crate::think::{Scheduled, scheduled};

/// An operation does it, for which nobody has to be awake; the incident plans it and
/// watches. A window comes each week, and clouds give notice of two.
pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::MaintenanceScheduled,
    title: "the cloud will take the hardware away from under a server",
    opened_when: "the cloud says so of the instance",
    tiers: Tiers::All,
    severity: Severity::Warning,
    budget: Budget {
        attempts: 2,
        deadline: Duration::from_secs(21 * 24 * 3600),
    },
    blast_radius: Blast::Server,
    looks_round: false,
    remedies: &[Remedy {
        name: "stop_start",
        does: "stop the server and start it again on other hardware, in a maintenance window \
               before the cloud does it",
        attempts: 2,
        settle: Duration::from_secs(600),
        steps: &[Step::watching("plan"), Step::watching("watch")],
    }],
    undo: Some(Remedy {
        name: "call_off",
        does: "give the planned stop and start up, if it has not begun",
        attempts: 3,
        settle: Duration::from_secs(5),
        steps: &[Step::new("call_off")],
    }),
    tells: Tells::Page,
};

/// How long before the cloud's own time a server is moved at the latest.
const BEFORE: TimeDelta = TimeDelta::hours(1);
/// What a stop and start may take: a window must begin that long before.
const ROOM: TimeDelta = TimeDelta::minutes(30);
/// In mode hold, a human is told this long before.
const NOTICE: TimeDelta = TimeDelta::hours(24);
/// Between two looks at an operation that waits for its time. It wakes this incident
/// when it ends.
const SELDOM: Duration = Duration::from_secs(600);
/// The same while it is at work.
const OFTEN: Duration = Duration::from_secs(15);
/// When a server is planned for that another operation is at.
const LATER: Duration = Duration::from_secs(60);
/// So many databases have a say in when.
const MOST: i64 = 1000;

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let done = match turn.step {
        "plan" => plan(turn).await,
        "watch" => watch(turn).await,
        _ => call_off(turn),
    };
    done.unwrap_or_else(|outcome| outcome)
}

/// In mode hold nothing is planned, and the playbook's time is long: a human must hear
/// of it before the cloud acts.
pub(super) fn urgent(seen: Option<&Observation>, mode: Mode) -> Option<String> {
    match mode {
        Mode::Hold => {}
        Mode::Act | Mode::Advise => return None,
    }
    let seen = seen?;
    let event = scheduled(&seen.attributes)?.into_iter().next()?;
    let soon = event.not_before? - seen.created_at < NOTICE;
    soon.then(|| format!("{}, and in mode hold nothing is done", event.words()))
}

fn record(e: sqlx::Error) -> Outcome {
    Outcome::failed(format!("the record does not answer: {e}"))
}

async fn plan(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let machine = instance::able(turn, CloudAction::StopStart)?;
    let events = turn.seen.and_then(|seen| scheduled(&seen.attributes));
    let Some(event) = events.into_iter().flatten().next() else {
        let nothing = "what the cloud has planned is not known just now";
        return Err(Outcome::new(Ended::Again(LATER), nothing));
    };
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let asked_by = turn.incident.id.public();
    let id = machine.server.subject.id;
    if let Some(open) = operations::open_of(&mut db, id).await.map_err(record)? {
        if open.asked_by != asked_by {
            let waits = format!("it {} first", open.kind.profile().words);
            return Err(Outcome::new(Ended::Again(LATER), waits));
        }
        return Ok(Outcome::done("it is planned already")
            .remember("operation", open.id.to_string())
            .remember("undo", true));
    }
    let now = store::now(&mut db).await.map_err(record)?;
    let window = window(&mut db, &machine).await.map_err(record)?;
    let time = Time::of(&event, window, now);
    let new = NewOperation {
        subject: Some(id),
        kind: OperationKind::StopStart,
        params: json!({}),
        asked_by: asked_by.clone(),
        reason: Some(event.words()),
        not_before: Some(time.not_before),
    };
    let mut done = Outcome::done(time.words(&event, window)).remember("undo", true);
    done.asks = Some(Box::new(Asks::For(new)));
    Ok(done)
}

/// When a server's databases may be disturbed: in the window that all of them share,
/// else in the default one.
async fn window(db: &mut PgConnection, machine: &Machine<'_>) -> sqlx::Result<Window> {
    let page = Page {
        name: None,
        state: None,
        server: Some(machine.server.subject.id),
        after: None,
        limit: MOST,
    };
    let databases = subjects::list(db, Kind::Resource, &page).await?;
    let mut windows: Vec<Option<Window>> = Vec::new();
    for known in &databases {
        let Known::Resource(resource, _) = known else {
            continue;
        };
        if !windows.contains(&resource.window) {
            windows.push(resource.window);
        }
    }
    Ok(match windows.as_slice() {
        [Some(shared)] => *shared,
        _ => Window::default(),
    })
}

/// When a server is moved.
#[derive(Debug, PartialEq)]
struct Time {
    not_before: DateTime<Utc>,
    /// Whether it cannot wait for a window.
    urgent: bool,
}

impl Time {
    /// In the next window, if that leaves time enough before the event; else as late as
    /// an hour before it, or at once.
    fn of(event: &Scheduled, window: Window, now: DateTime<Utc>) -> Self {
        let begins = window.next(now).0.max(now);
        match event.not_before {
            Some(at) if begins + ROOM > at => Self {
                not_before: (at - BEFORE).max(now),
                urgent: true,
            },
            Some(_) | None => Self {
                not_before: begins,
                urgent: false,
            },
        }
    }

    fn words(&self, event: &Scheduled, window: Window) -> String {
        let at = self.not_before.format("%Y-%m-%d %H:%M UTC");
        let event = event.words();
        if self.urgent {
            format!(
                "urgent: a stop and start is planned for {at}, outside the maintenance window \
                 ({window}), because none comes in time: {event}"
            )
        } else {
            format!(
                "a stop and start is planned for {at}, in the maintenance window ({window}): \
                 {event}"
            )
        }
    }
}

fn planned(turn: &Turn<'_>) -> Result<OperationId, Outcome> {
    let id = turn.incident.memo["operation"].as_str();
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| Outcome::failed("which operation was planned is not known"))
}

async fn watch(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let server = instance::server(turn)?;
    let id = planned(turn)?;
    let mut db = turn.tools.pool.acquire().await.map_err(record)?;
    let found = operations::load(&mut db, id).await.map_err(record)?;
    let operation =
        found.ok_or_else(|| Outcome::failed(format!("{} is not there", id.public())))?;
    let public = id.public();
    match operation.state {
        OperationState::Done => Ok(Outcome::done(format!("{public} is done"))
            .touching(format!("server {}", server.subject.name))
            .remember("undo", Value::Null)),
        OperationState::Cancelled => Err(Outcome::failed(format!("{public} was given up"))
            .remember("undo", Value::Null)
            .remember("operation", Value::Null)),
        OperationState::Open if operation.stuck_at.is_some() => {
            let note = operation.note.unwrap_or_default();
            Err(Outcome::failed(format!("{public} is stuck: {note}")))
        }
        OperationState::Open => {
            let now: DateTime<Utc> = store::now(&mut db).await.map_err(record)?;
            let due = operation.not_before.map(|due| due - now);
            let wait = due.and_then(|wait| wait.to_std().ok()).unwrap_or_default();
            let waits = format!("{public} waits for its time, or is at work");
            Err(Outcome::new(Ended::Again(wait.clamp(OFTEN, SELDOM)), waits))
        }
    }
}

/// The cloud has given its plan up. What is at work already goes on.
fn call_off(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let mut done = Outcome::done("the cloud has nothing planned for it any more")
        .remember("undo", Value::Null);
    done.asks = planned(turn).ok().map(|id| Box::new(Asks::Off(id)));
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn seen(not_before: Value) -> Observation {
        let event = json!({"code": "instance-stop", "not_before": not_before});
        Observation {
            id: drover::model::ObservationId::generate(),
            created_at: at("2026-01-14T12:00:00Z"),
            worker: "w".into(),
            feelers: 1,
            attributes: serde_json::from_value(json!({"cloud": {"events": [event]}})).unwrap(),
        }
    }

    fn event(not_before: Value) -> Scheduled {
        scheduled(&seen(not_before).attributes).unwrap().remove(0)
    }

    #[test]
    fn a_window_is_kept_if_one_comes_in_time_and_else_broken_as_late_as_possible() {
        // A Wednesday; the next default window begins on Sunday at three.
        let now = at("2026-01-14T12:00:00Z");
        let time = |not_before: Value| Time::of(&event(not_before), Window::default(), now);
        let (sunday, kept) = (at("2026-01-18T03:00:00Z"), false);
        for (event, not_before, urgent) in [
            (json!("2026-01-20T00:00:00Z"), sunday, kept),
            (json!("2026-01-18T03:30:00Z"), sunday, kept),
            (json!(null), sunday, kept),
            (
                json!("2026-01-18T03:29:00Z"),
                at("2026-01-18T02:29:00Z"),
                true,
            ),
            (
                json!("2026-01-14T18:00:00Z"),
                at("2026-01-14T17:00:00Z"),
                true,
            ),
            (json!("2026-01-14T12:30:00Z"), now, true),
            (json!("2026-01-13T00:00:00Z"), now, true),
        ] {
            assert_eq!(time(event.clone()), Time { not_before, urgent }, "{event}");
        }
        // In the midst of a window it is done at once.
        let open = at("2026-01-18T05:00:00Z");
        let time = Time::of(
            &event(json!("2026-01-20T00:00:00Z")),
            Window::default(),
            open,
        );
        assert_eq!((time.not_before, time.urgent), (open, false));
    }

    #[test]
    fn in_mode_hold_a_human_hears_of_it_a_day_before() {
        let tomorrow = seen(json!("2026-01-15T11:59:00Z"));
        assert!(urgent(Some(&tomorrow), Mode::Hold).is_some());
        assert_eq!(urgent(Some(&tomorrow), Mode::Act), None);
        let later = seen(json!("2026-01-15T12:01:00Z"));
        assert_eq!(urgent(Some(&later), Mode::Hold), None);
        assert_eq!(urgent(None, Mode::Hold), None);
    }
}
