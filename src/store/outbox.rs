//! Messages to people: written in the transaction of what they tell of, sent by
//! `notify` at least once.

use chrono::Utc;
use serde_json::Value;
use sqlx::PgConnection;

use super::statement::{only_row, only_value, row, rows, run, value};
use super::{incidents, leader_changes, operations, queue};
use crate::api::MessageCounts;
use crate::model::{
    Channel, Deed, Incident, IncidentId, LeaderChange, LeaderChangeKind, Matter, Message,
    MessageId, MessageState, Note, Provider, Severity,
};

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

/// Writes a message, with its job. Call it in the transaction of what it tells of, and
/// while that holds the incident's row, so that its messages are in one order.
pub async fn write(db: &mut PgConnection, new: &NewMessage) -> sqlx::Result<MessageId> {
    let id = MessageId::generate();
    let values = (
        id,
        new.incident,
        new.channel,
        new.action,
        new.severity,
        &new.summary,
        &new.detail,
    );
    let sql =
        "insert into outbox (id, incident_id, thread, channel, action, severity, summary, detail)
         values ($1, $2, $2, $3, $4, $5, $6, $7)";
    run(db, sql, values).await?;
    queue::insert_message_job(db, id).await?;
    Ok(id)
}

/// Has the systems of those who asked for it told of a change of leader. Call it in the
/// transaction that writes the change down: until its end, no other is written, so that
/// the messages about one name are in the order of its changes.
pub async fn announce(db: &mut PgConnection, change: &LeaderChange) -> sqlx::Result<MessageId> {
    let id = MessageId::generate();
    let how = match change.kind {
        LeaderChangeKind::Switchover => "took the lead as planned from",
        LeaderChangeKind::Failover => "took the lead from the lost",
        LeaderChangeKind::Adopted => "was found to lead, in place of",
        LeaderChangeKind::Unfollow => "leads on its own and follows no more",
    };
    let place = |node: &crate::model::Node| format!("{}:{}", node.address, node.port);
    let (new, old) = (place(&change.new_leader), place(&change.old_leader));
    let summary = format!(
        "{}: {new} {how} {old} (epoch {})",
        change.name, change.epoch
    );
    let values = (
        id,
        change.id,
        format!("leader:{}", change.name),
        Channel::Event,
        Deed::Trigger,
        Severity::Info,
        summary,
    );
    let sql =
        "insert into outbox (id, leader_change_id, thread, channel, action, severity, summary)
         values ($1, $2, $3, $4, $5, $6, $7)";
    run(db, sql, values).await?;
    queue::insert_message_job(db, id).await?;
    Ok(id)
}

/// Writes into the timeline of what a message tells of: the incident's, or that of the
/// operation which changed the leader.
pub async fn note(
    db: &mut PgConnection,
    matter: Matter,
    actor: &str,
    note: &Note,
) -> sqlx::Result<()> {
    match matter {
        Matter::Incident(id) => incidents::note(db, id, actor, note).await,
        Matter::LeaderChange(id) => match leader_changes::load(db, id).await? {
            Some(change) => operations::note(db, change.operation, actor, note).await,
            None => Ok(()),
        },
    }
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

/// Reads one message.
pub async fn load(db: &mut PgConnection, id: MessageId) -> sqlx::Result<Option<Message>> {
    row(db, "select * from outbox where id = $1", [id]).await
}

/// A page of a listing of messages, newest first.
pub struct Page {
    /// Only those in this state.
    pub state: Option<MessageState>,
    /// Only those of this incident.
    pub incident: Option<IncidentId>,
    /// Only those written before this one.
    pub before: Option<MessageId>,
    /// At most this many.
    pub limit: i64,
}

/// Lists messages.
pub async fn list(db: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Message>> {
    let values = (page.state, page.incident, page.before, page.limit);
    let sql = "select * from outbox
               where ($1::text is null or state = $1)
                 and ($2::text is null or incident_id = $2)
                 and ($3::text is null or id < $3)
               order by id desc
               limit $4";
    rows(db, sql, values).await
}

/// Whether an earlier message of the same thread to the same people is still to be
/// sent: nobody should hear of an end before the beginning.
pub async fn waits_for_another(db: &mut PgConnection, message: &Message) -> sqlx::Result<bool> {
    let sql = "select exists (
                   select from outbox
                   where thread = $1 and channel = $2 and state = 'pending'
                     and seq < (select seq from outbox where id = $3))";
    only_value(db, sql, (&message.thread, message.channel, message.id)).await
}

/// Writes down that a message was delivered.
pub async fn delivered(
    db: &mut PgConnection,
    id: MessageId,
    by: Provider,
    reference: Option<&str>,
) -> sqlx::Result<()> {
    let sql = "update outbox
               set state = 'delivered', settled_at = now(), attempts = attempts + 1,
                   trying_since = null, delivered_by = $2, reference = $3
               where id = $1";
    run(db, sql, (id, by, reference)).await
}

/// Writes down that a message was not delivered, and whether it is given up.
pub async fn failed(
    db: &mut PgConnection,
    id: MessageId,
    why: &str,
    given_up: bool,
) -> sqlx::Result<()> {
    let sql = "update outbox
               set attempts = attempts + 1, last_error = $2,
                   trying_since = coalesce(trying_since, now()),
                   state = case when $3 then 'dead' else 'pending' end,
                   settled_at = case when $3 then now() end
               where id = $1";
    run(db, sql, (id, why, given_up)).await
}

/// Why a message is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is none.
    #[error("there is no such message")]
    NotFound,
    /// It is not dead.
    #[error("the message is {0}; only a dead one can be sent again")]
    NotDead(MessageState),
    /// A later word on the same matter is out already.
    #[error("{0}, which is later, was delivered: what this one says is out of date")]
    Overtaken(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Has a dead message sent again, at once, for another day. Call it in a transaction.
///
/// # Errors
/// See [`RetryError`].
pub async fn retry(
    db: &mut PgConnection,
    id: MessageId,
    actor: &str,
) -> Result<Message, RetryError> {
    let sql = "select * from outbox where id = $1 for update";
    let found: Option<Message> = row(db, sql, [id]).await?;
    let message = found.ok_or(RetryError::NotFound)?;
    match message.state {
        MessageState::Dead => {}
        MessageState::Pending | MessageState::Delivered => {
            return Err(RetryError::NotDead(message.state));
        }
    }
    let sql = "select id from outbox
               where thread = $1 and channel = $2 and state = 'delivered'
                 and seq > (select seq from outbox where id = $3)
               order by seq limit 1";
    let later: Option<MessageId> = value(db, sql, (&message.thread, message.channel, id)).await?;
    if let Some(later) = later {
        return Err(RetryError::Overtaken(later.public()));
    }
    let sql = "update outbox
               set state = 'pending', settled_at = null, attempts = 0, waiting_since = now(),
                   trying_since = null
               where id = $1
               returning *";
    let again: Message = only_row(db, sql, [id]).await?;
    queue::insert_message_job(db, id).await?;
    let text = format!("{} is sent again: asked for", message.channel);
    let text = Note::new("message", text);
    note(db, message.matter, actor, &text).await?;
    Ok(again)
}

/// How the messages stand.
pub async fn standing(db: &mut PgConnection) -> sqlx::Result<MessageCounts> {
    let day_ago = Utc::now() - chrono::TimeDelta::days(1);
    let sql = "with dead as (
             select o.seq, o.last_error from outbox o
             where o.state = 'dead'
               -- that something is over need not be told for ever
               and (o.action <> 'resolve' or o.settled_at > now() - interval '1 day')
               and not exists (
                 select from outbox later
                 where later.thread = o.thread and later.channel = o.channel
                   and later.seq > o.seq and later.state = 'delivered'))
         select (select count(*) from outbox where state = 'pending') as pending,
                (select extract(epoch from now() - min(waiting_since))::float8
                 from outbox where state = 'pending') as oldest_pending_s,
                (select count(*) from dead) as dead,
                (select last_error from dead order by seq desc limit 1) as last_error,
                (select count(*) from outbox where state = 'delivered' and id > $1) as delivered";
    only_row(db, sql, [MessageId::first_of(day_ago)]).await
}
