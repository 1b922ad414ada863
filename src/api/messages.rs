//! Messages to people and their systems.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Public;
use crate::model::{
    Channel, Deed, IncidentId, LeaderChangeId, MessageId, MessageState, Provider, Severity,
};

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: Public<MessageId>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// The incident that it tells of.
    pub incident: Option<Public<IncidentId>>,
    /// Or the event.
    pub event: Option<Public<LeaderChangeId>>,
    /// Whom it is for.
    pub channel: Channel,
    /// What it does at the other side.
    pub action: Deed,
    /// How loud it is.
    pub severity: Severity,
    /// In one line.
    pub summary: String,
    /// More.
    pub detail: Value,
    /// What became of it.
    pub state: MessageState,
    /// How often it was sent.
    pub attempts: u32,
    /// What the last failed attempt met with.
    pub last_error: Option<String>,
    /// What delivered it.
    pub delivered_by: Option<Provider>,
    /// What the other side calls it.
    pub reference: Option<String>,
    /// When it was delivered or given up.
    pub settled_at: Option<DateTime<Utc>>,
}

/// `POST /v1/messages/{id}/actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ActOnMessage {
    /// Have a dead one sent again.
    Retry,
}
