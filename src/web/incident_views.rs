//! How incidents are shown.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::modes::ModeView;
use crate::model::{Action, Incident, IncidentKind, IncidentState, PublicId};
use crate::store::incidents::{Event, Listed, Open, Told};
use crate::store::runs::Recorded;

/// An incident.
#[derive(Serialize)]
pub struct IncidentView {
    id: String,
    subject: Option<PublicId>,
    /// The subject's name.
    name: Option<String>,
    kind: IncidentKind,
    state: IncidentState,
    state_since: DateTime<Utc>,
    severity: Option<String>,
    reason: String,
    opened_at: DateTime<Utc>,
    /// How often it came back within minutes of being resolved.
    reopened: u16,
    /// The remedy that is next or at work.
    remedy: Option<String>,
    /// How often that was begun.
    attempt: u16,
    /// How often any was.
    attempts: u32,
    /// By when drover gives up.
    deadline: Option<DateTime<Utc>>,
    /// Until when a remedy's effect is waited for.
    wait_until: Option<DateTime<Utc>>,
    /// Why nothing is done just now.
    resting: Option<String>,
    acknowledged_at: Option<DateTime<Utc>>,
    acknowledged_by: Option<String>,
    held_at: Option<DateTime<Utc>>,
    paged_at: Option<DateTime<Utc>>,
    ticketed_at: Option<DateTime<Utc>>,
    resolved_at: Option<DateTime<Utc>>,
    resolved_by: Option<String>,
    /// What a person may do with it now.
    actions: Vec<Action>,
}

impl IncidentView {
    /// Shows an incident.
    pub fn new(listed: Listed) -> Self {
        let actions = Action::possible(&listed.incident);
        let (subject, name) = listed.subject.unzip();
        let incident: Incident = listed.incident;
        let (acknowledged_at, acknowledged_by) = incident.acknowledged.unzip();
        let (resolved_at, resolved_by) = incident.resolved.unzip();
        Self {
            id: incident.id.public(),
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
            acknowledged_at,
            acknowledged_by,
            held_at: incident.held_at,
            paged_at: incident.paged_at,
            ticketed_at: incident.ticketed_at,
            resolved_at,
            resolved_by,
            actions,
        }
    }
}

/// An incident with all that is known of it.
#[derive(Serialize)]
pub struct TimelineView {
    #[serde(flatten)]
    pub incident: IncidentView,
    /// What resolvers may do here.
    pub mode: ModeView,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// What resolvers did, oldest first.
    pub runs: Vec<Recorded>,
    /// Who was told what, oldest first.
    pub messages: Vec<Told>,
}

/// An open incident on its subject's view.
#[derive(Serialize)]
pub struct OpenView {
    id: String,
    kind: String,
    state: String,
}

impl OpenView {
    /// Shows it in few words.
    pub fn new(open: Open) -> Self {
        Self {
            id: open.id.public(),
            kind: open.kind,
            state: open.state,
        }
    }
}
