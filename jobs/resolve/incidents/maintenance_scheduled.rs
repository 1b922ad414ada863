//! `maintenance_scheduled`: the cloud will take the hardware away from under a server.
//! It is moved to other hardware before that, in a maintenance window.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{
    IncidentKind, Kind, Mode, Observation, OperationKind, Severity, SubjectId, Window,
};
use drover::store::subjects::{self, Known, Page};
use sqlx::PgConnection;

use super::playbook::{Blast, Budget, Playbook, Remedy, When};
use crate::cloud::{Cloud as _, CloudAction};
use crate::resolve::Tools;
use crate::think::{Scheduled, scheduled};

/// An operation does it, for which nobody has to be awake; the incident plans it and
/// watches. A window comes each week, and clouds give notice of two.
pub const PLAYBOOK: Playbook = Playbook {
    title: "the cloud will take the hardware away from under a server",
    opened_when: "the cloud says so of the instance",
    severity: Severity::Warning,
    budget: Budget::new(2, 21 * 24 * 3600),
    blast_radius: Blast::Server,
    remedies: &[Remedy {
        when: When::Window,
        ..Remedy::new(
            "stop_start",
            "stop the server and start it again on other hardware, in a maintenance window before \
             the cloud does it",
            OperationKind::StopStart,
        )
        .tried(2)
        .settling(Duration::from_secs(600))
    }],
    ..Playbook::of(IncidentKind::MaintenanceScheduled)
};

/// How long before the cloud's own time a server is moved at the latest.
const BEFORE: TimeDelta = TimeDelta::hours(1);
/// What a stop and start may take: a window must begin that long before.
const ROOM: TimeDelta = TimeDelta::minutes(30);
/// In mode hold, a human is told this long before.
const NOTICE: TimeDelta = TimeDelta::hours(24);
/// So many databases have a say in when.
const MOST: i64 = 1000;

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

/// Whether its cloud can move a server at all: nothing is planned that cannot be done.
///
/// # Errors
/// Says why not.
pub(super) fn possible(tools: &Tools, known: Option<&Known>) -> Result<(), String> {
    let Some(Known::Server(server)) = known else {
        return Err("this is for servers only".into());
    };
    let name = &server.subject.name;
    let (Some(cloud), Some(id)) = (server.cloud, server.instance_id.as_deref()) else {
        return Err(format!("{name} is in no cloud that drover may ask"));
    };
    let region = server.region.as_deref();
    let found = tools.context.clouds.of(cloud, region).ok_or_else(|| {
        format!("this deployment has no access to the cloud {cloud}, where {name} is")
    })?;
    found
        .can(id, CloudAction::StopStart)
        .map_err(|e| e.to_string())
}

/// When a server is moved, and why then, in words; `None` if what its cloud has planned is
/// not known just now.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn plan(
    db: &mut PgConnection,
    seen: Option<&Observation>,
    servers: &[SubjectId],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(DateTime<Utc>, String)>> {
    let events = seen.and_then(|seen| scheduled(&seen.attributes));
    let (Some(event), [server]) = (events.into_iter().flatten().next(), servers) else {
        return Ok(None);
    };
    let window = window(db, *server).await?;
    let time = Time::of(&event, window, now);
    Ok(Some((time.not_before, time.words(&event, window))))
}

/// When a server's databases may be disturbed: in the window that all of them share,
/// else in the default one.
async fn window(db: &mut PgConnection, server: SubjectId) -> sqlx::Result<Window> {
    let page = Page {
        name: None,
        state: None,
        server: Some(server),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
