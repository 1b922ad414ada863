//! Messages to people and their systems, about incidents and changes of leader.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

use super::subject::named;
use super::{Channel, Deed, IncidentId, LeaderChangeId, MessageId, Severity};

named! {
    /// What became of a message.
    MessageState {
        /// Not sent yet, or not for good.
        Pending = "pending",
        /// The other side has it.
        Delivered = "delivered",
        /// Refused, or tried in vain for a day; an operator can have it sent again.
        Dead = "dead",
    }
}

named! {
    /// What delivers messages.
    Provider {
        /// PagerDuty's Events API v2.
        PagerDuty = "pagerduty",
        /// A signed webhook.
        Webhook = "webhook",
        /// Zendesk's tickets.
        Zendesk = "zendesk",
        /// The process's own log, where nobody else is named.
        Log = "log",
    }
}

impl Provider {
    /// As a sentence names it.
    pub const fn label(self) -> &'static str {
        match self {
            Provider::PagerDuty => "PagerDuty",
            Provider::Webhook => "the webhook",
            Provider::Zendesk => "Zendesk",
            Provider::Log => "the log",
        }
    }
}

/// What a message tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Something is wrong, or over.
    Incident(IncidentId),
    /// Another leads.
    LeaderChange(LeaderChangeId),
}

impl Matter {
    /// Its id as people see it.
    pub fn public(self) -> String {
        match self {
            Self::Incident(id) => id.public(),
            Self::LeaderChange(id) => id.public(),
        }
    }
}

impl FromRow<'_, PgRow> for Matter {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(match row.try_get("incident_id")? {
            Some(id) => Self::Incident(id),
            None => Self::LeaderChange(row.try_get("leader_change_id")?),
        })
    }
}

/// A message as the record has it. All but its state and what was met on the way
/// stays as it was written.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Message {
    /// Its id, its job's, and what the other side knows a repetition by.
    pub id: MessageId,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Of what it tells.
    #[sqlx(flatten)]
    pub matter: Matter,
    /// Messages of one thread to the same people are sent in their order.
    pub thread: String,
    /// Whom.
    pub channel: Channel,
    /// To what end.
    pub action: Deed,
    /// How loud.
    pub severity: Severity,
    /// One line, for people.
    pub summary: String,
    /// More; never a secret.
    pub detail: Value,
    /// What became of it.
    pub state: MessageState,
    /// How often it was sent, since it was written or an operator asked again.
    #[sqlx(try_from = "i32")]
    pub attempts: u32,
    /// Since when it is tried in vain.
    pub trying_since: Option<DateTime<Utc>>,
    /// What the last failed attempt met with.
    pub last_error: Option<String>,
    /// What delivered it.
    pub delivered_by: Option<Provider>,
    /// What the other side calls it.
    pub reference: Option<String>,
    /// When it was delivered or given up.
    pub settled_at: Option<DateTime<Utc>>,
}
