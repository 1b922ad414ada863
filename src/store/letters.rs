//! What has to stand in a message, read when it is sent.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::leader_changes;
use super::statement::only_row;
use crate::model::{
    IncidentId, IncidentKind, Kind, LeaderChange, LeaderChangeId, Matter, Message, PublicId,
    SubjectId,
};

/// A message and what has to stand in it. Besides the message, and for what else people are
/// called by now, nothing here changes while it is tried, so that a repetition says the same as
/// the first try.
#[derive(Clone, Debug)]
pub enum Written {
    /// Of an incident.
    Incident(Letter),
    /// Of a change of leader.
    LeaderChange(Notice),
}

impl Written {
    /// What is to be said.
    pub fn message(&self) -> &Message {
        match self {
            Self::Incident(letter) => &letter.message,
            Self::LeaderChange(notice) => &notice.message,
        }
    }
}

/// A message of a change of leader.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What is to be said.
    pub message: Message,
    /// What changed.
    pub change: LeaderChange,
}

/// A message of an incident.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What is to be said.
    pub message: Message,
    /// Of which incident.
    pub incident: IncidentId,
    /// The kind of its incident.
    pub kind: IncidentKind,
    /// When that was opened.
    pub opened_at: DateTime<Utc>,
    /// Whose it is; `None`: the herd's.
    pub about: Option<About>,
    /// What the other side calls what the incident's last trigger opened there.
    pub opened: Option<String>,
    /// What people are called for by now because of this kind.
    pub calls: Calls,
}

/// The incidents of a kind that people are being called for, one message each, or one for many.
#[derive(Clone, Copy, Debug, Default, FromRow)]
pub struct Calls {
    /// Those that are open and have a call of their own, which went out within ten minutes.
    pub own: i64,
    /// Those that are open and were told together, without this one.
    pub together: i64,
    /// Whether such a call went out within the last minute.
    pub lately: bool,
}

/// What a call is known as that tells of many incidents of a kind.
pub fn of_many(kind: IncidentKind) -> String {
    format!("drover/many/{kind}")
}

async fn calls(
    db: &mut PgConnection,
    message: &Message,
    incident: IncidentId,
    kind: IncidentKind,
) -> sqlx::Result<Calls> {
    let sql = "select count(*) filter (
                   where o.reference is distinct from $3
                     and o.settled_at > now() - interval '10 minutes') as own,
               count(*) filter (where o.reference = $3) as together,
               coalesce(bool_or(
                   o.reference = $3
                   and o.settled_at > now() - interval '1 minute'), false) as lately
               from outbox o join incidents i on i.id = o.incident_id
               where i.kind = $1 and i.state <> 'resolved' and i.id <> $4
                 and o.channel = $2 and o.action = 'trigger' and o.state = 'delivered'";
    only_row(db, sql, (kind, message.channel, of_many(kind), incident)).await
}

/// The subject of a message.
#[derive(Clone, Debug)]
pub struct About {
    /// Its id.
    pub id: PublicId,
    /// Its name.
    pub name: String,
    /// Whose rules it goes by.
    pub tier: String,
    /// The name of the server that it is or is on.
    pub server: String,
}

#[derive(FromRow)]
struct Around {
    kind: IncidentKind,
    opened_at: DateTime<Utc>,
    subject_id: Option<SubjectId>,
    subject_kind: Option<Kind>,
    name: Option<String>,
    tier: Option<String>,
    server: Option<String>,
    opened: Option<String>,
}

/// Reads what has to stand in a message.
pub async fn write_out(db: &mut PgConnection, message: Message) -> sqlx::Result<Written> {
    match message.matter {
        Matter::Incident(id) => letter(db, message, id).await.map(Written::Incident),
        Matter::LeaderChange(id) => notice(db, message, id).await.map(Written::LeaderChange),
    }
}

async fn notice(
    db: &mut PgConnection,
    message: Message,
    id: LeaderChangeId,
) -> sqlx::Result<Notice> {
    let change = leader_changes::load(db, id).await?;
    let change = change.ok_or(sqlx::Error::RowNotFound)?;
    Ok(Notice { message, change })
}

async fn letter(
    db: &mut PgConnection,
    message: Message,
    incident: IncidentId,
) -> sqlx::Result<Letter> {
    let sql = "select i.kind, i.opened_at, i.subject_id, s.kind as subject_kind, s.name, s.tier,
                      coalesce(on_server.name, s.name) as server,
                      (select o.reference from outbox o
                       where o.incident_id = i.id and o.channel = $2
                         and o.seq < (select seq from outbox where id = $3)
                         and o.action = 'trigger' and o.state = 'delivered'
                       order by o.seq desc limit 1) as opened
               from incidents i
               left join subjects s on s.id = i.subject_id
               left join resources r on r.id = s.id
               left join subjects on_server on on_server.id = r.server_id
               where i.id = $1";
    let around: Around = only_row(db, sql, (incident, message.channel, message.id)).await?;
    let of = around.subject_kind.zip(around.subject_id);
    let about = of.map(|(kind, id)| About {
        id: PublicId::new(kind, id),
        name: around.name.unwrap_or_default(),
        tier: around.tier.unwrap_or_default(),
        server: around.server.unwrap_or_default(),
    });
    Ok(Letter {
        calls: calls(db, &message, incident, around.kind).await?,
        message,
        incident,
        kind: around.kind,
        opened_at: around.opened_at,
        about,
        opened: around.opened,
    })
}
