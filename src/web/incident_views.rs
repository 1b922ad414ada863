//! How incidents are shown.

use crate::api::{self, Public};
use crate::model::{Action, Incident};
use crate::store::incidents::{Listed, Open};

/// Shows an incident.
pub fn incident(listed: Listed) -> api::Incident {
    let actions = Action::possible(&listed.incident);
    let (subject, name) = listed.whose.0.unzip();
    let incident: Incident = listed.incident;
    api::Incident {
        id: Public(incident.id),
        subject,
        name,
        zone: incident.zone,
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
