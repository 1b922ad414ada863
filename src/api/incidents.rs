//! Incidents: what is wrong, and what was done about it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;

use super::{ModeSet, Public};
use crate::model::{
    Action, Channel, Deed, IncidentId, IncidentKind, IncidentState, MessageState, Provider,
    PublicId, Severity,
};

/// An incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: Public<IncidentId>,
    /// Whose; null: a zone's, or the herd's.
    pub subject: Option<PublicId>,
    /// The subject's name.
    pub name: Option<String>,
    /// The zone, if it is about one.
    pub zone: Option<String>,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Where it stands.
    pub state: IncidentState,
    /// Since when it stands there.
    pub state_since: DateTime<Utc>,
    /// How loud a human is called; null: no worker has published the playbook.
    pub severity: Option<String>,
    /// What is wrong, for people.
    pub reason: String,
    /// When it was opened first.
    pub opened_at: DateTime<Utc>,
    /// How often it came back within minutes of being resolved.
    pub reopened: u16,
    /// The remedy that is next or at work.
    pub remedy: Option<String>,
    /// How often that was begun.
    pub attempt: u16,
    /// How often any was.
    pub attempts: u32,
    /// By when drover gives up.
    pub deadline: Option<DateTime<Utc>>,
    /// Until when a remedy's effect is waited for.
    pub wait_until: Option<DateTime<Utc>>,
    /// Why nothing is done just now.
    pub resting: Option<String>,
    /// When a human saw it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// Since when a human keeps resolvers off it.
    pub held_at: Option<DateTime<Utc>>,
    /// When a human was called.
    pub paged_at: Option<DateTime<Utc>>,
    /// When the customer was told.
    pub ticketed_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub resolved_at: Option<DateTime<Utc>>,
    /// By whose word: `observation`, `operator`, `forgotten`.
    pub resolved_by: Option<String>,
    /// What a person may do with it now.
    pub actions: Vec<Action>,
}

/// An incident with all that is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentTimeline {
    /// The incident.
    #[serde(flatten)]
    pub incident: Incident,
    /// What resolvers may do here.
    pub mode: ModeSet,
    /// What happened, oldest first.
    pub events: Vec<TimelineEvent>,
    /// What resolvers did, oldest first.
    pub runs: Vec<Run>,
    /// Who was told what, oldest first.
    pub messages: Vec<IncidentMessage>,
}

/// A line of the timeline of an incident or an operation.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// When.
    pub created_at: DateTime<Utc>,
    /// `opened`, `attempt`, `escalated` …, or `asked`, `step`, `waiting`, `done` …
    pub kind: String,
    /// A worker, or who asked.
    pub actor: String,
    /// For people.
    pub text: String,
    /// For programs.
    pub detail: Value,
}

/// A step of a remedy; one that was cut off has no end.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct Run {
    /// When it began.
    pub begun_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Who did it.
    pub worker: String,
    /// Under which fence: the later the higher.
    pub fence: i64,
    /// Of which playbook.
    pub resolver: String,
    /// Which remedy.
    pub remedy: String,
    /// Which step.
    pub step: String,
    /// How often the remedy was begun.
    pub attempt: i16,
    /// `done`, `again`, `skipped`, `failed`.
    pub outcome: Option<String>,
    /// What it touched in the world.
    pub touched: Vec<String>,
    /// What it did or saw, for people.
    pub detail: Option<String>,
}

/// A message about an incident, and whether it has arrived.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub struct IncidentMessage {
    /// `msg_…`.
    pub id: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Whom it is for.
    pub channel: Channel,
    /// What it does at the other side.
    pub action: Deed,
    /// How loud it is.
    pub severity: Severity,
    /// In one line.
    pub summary: String,
    /// What became of it.
    pub state: MessageState,
    /// How often it was sent.
    pub attempts: i32,
    /// What the last failed attempt met with.
    pub last_error: Option<String>,
    /// What delivered it.
    pub delivered_by: Option<Provider>,
    /// What the other side calls it.
    pub reference: Option<String>,
    /// When it was delivered or given up.
    pub settled_at: Option<DateTime<Utc>>,
}

/// An open incident, as its subject shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenIncident {
    /// Its id.
    pub id: Public<IncidentId>,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Where it stands.
    pub state: IncidentState,
}

/// `POST /v1/incidents/{id}/actions`.
pub type ActOnIncident = ActOn<Action>;

/// What is to be done about an incident or an operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActOn<A> {
    /// What.
    pub action: A,
    /// Why, for the timeline.
    pub reason: Option<String>,
    /// Who does it, for the timeline.
    pub by: Option<String>,
}
