//! Messages to people: written in the transaction of what they tell of, sent by
//! `notify` at least once.

use serde_json::Value;
use sqlx::PgConnection;

use super::queue;
use crate::model::{Channel, Deed, Incident, IncidentId, MessageId, Severity};

/// A message to be written.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Of what it tells.
    pub incident: IncidentId,
    /// Whom.
    pub channel: Channel,
    /// To what end.
    pub action: Deed,
    /// How loud.
    pub severity: Severity,
    /// One line, for people.
    pub summary: String,
    /// More, for people and programs; never a secret.
    pub detail: Value,
}

/// Writes a message, with its job. Call it in the transaction of what it tells of.
pub async fn write(db: &mut PgConnection, new: &NewMessage) -> sqlx::Result<MessageId> {
    let id = MessageId::generate();
    sqlx::query(
        "insert into outbox (id, incident_id, channel, action, severity, summary, detail)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(new.incident.to_string())
    .bind(new.channel.as_str())
    .bind(new.action.as_str())
    .bind(new.severity.as_str())
    .bind(&new.summary)
    .bind(&new.detail)
    .execute(&mut *db)
    .await?;
    queue::insert_message_job(db, id).await?;
    Ok(id)
}

/// Tells whoever was called for an incident that it is over.
pub async fn call_off(
    db: &mut PgConnection,
    incident: &Incident,
    reason: &str,
) -> sqlx::Result<()> {
    let told = [
        (Channel::Page, incident.paged_at),
        (Channel::Ticket, incident.ticketed_at),
    ];
    for (channel, _) in told.into_iter().filter(|(_, at)| at.is_some()) {
        let new = NewMessage {
            incident: incident.id,
            channel,
            action: Deed::Resolve,
            severity: Severity::Info,
            summary: format!("resolved: {reason}"),
            detail: Value::Object(Default::default()),
        };
        write(db, &new).await?;
    }
    Ok(())
}
