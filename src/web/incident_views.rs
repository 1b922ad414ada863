//! How incidents are shown.

use crate::api::{self, Public};
use crate::model::{Action, Incident};
use crate::store::incidents::{Event, Listed, Open, Told};
use crate::store::runs::Recorded;

/// Shows an incident.
pub fn incident(listed: Listed) -> api::Incident {
    let actions = Action::possible(&listed.incident);
    let (subject, name) = listed.subject.unzip();
    let incident: Incident = listed.incident;
    api::Incident {
        id: Public(incident.id),
        subject,
        name,
        kind: incident.kind,
        state: incident.state,
        state_since: incident.state_since,
        severity: listed.severity,
        reason: incident.reason,
        opened_at: incident.opened_at,
        reopened: incident.reopened,
        remedy: listed.remedy,
        attempt: incident.attempt,
        attempts: incident.attempts,
        deadline: incident.deadline,
        wait_until: incident.wait_until,
        resting: incident.resting,
        acknowledged_at: incident.acknowledged_at,
        acknowledged_by: incident.acknowledged_by,
        held_at: incident.held_at,
        paged_at: incident.paged_at,
        ticketed_at: incident.ticketed_at,
        resolved_at: incident.resolved_at,
        resolved_by: incident.resolved_by,
        actions,
    }
}

/// Shows an open incident in few words.
pub fn open_incident(open: Open) -> api::OpenIncident {
    api::OpenIncident {
        id: Public(open.id),
        kind: open.kind,
        state: open.state,
    }
}

/// Shows a line of a timeline.
pub fn event(event: Event) -> api::IncidentEvent {
    api::IncidentEvent {
        created_at: event.created_at,
        kind: event.kind,
        actor: event.actor,
        text: event.text,
        detail: event.detail,
    }
}

/// Shows a step that a resolver did.
pub fn run(run: Recorded) -> api::Run {
    api::Run {
        begun_at: run.begun_at,
        ended_at: run.ended_at,
        worker: run.worker,
        fence: run.fence,
        resolver: run.resolver,
        remedy: run.remedy,
        step: run.step,
        attempt: run.attempt,
        outcome: run.outcome,
        touched: run.touched,
        detail: run.detail,
    }
}

/// Shows what somebody was told.
pub fn message(told: Told) -> api::IncidentMessage {
    api::IncidentMessage {
        id: told.id,
        created_at: told.created_at,
        channel: told.channel,
        action: told.action,
        severity: told.severity,
        summary: told.summary,
        state: told.state,
        attempts: told.attempts,
        last_error: told.last_error,
        delivered_by: told.delivered_by,
        reference: told.reference,
        settled_at: told.settled_at,
    }
}
