//! Incidents as people ask for them: listed, and each with its timeline.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::{Incident, IncidentId, IncidentKind, IncidentState, SubjectId};
use crate::api::{IncidentMessage, TimelineEvent};
use crate::model::{PublicId, Severity};
use crate::store::statement::{row, rows};
use crate::store::subjects::Whose;

/// So many events of a timeline are read, the newest.
pub const MOST_EVENTS: i64 = 1000;

/// Which states a listing is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// All but resolved.
    Open,
    /// One.
    In(IncidentState),
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Only in these states.
    pub state: Option<Wanted>,
    /// Only of this kind.
    pub kind: Option<IncidentKind>,
    /// Only of this subject.
    pub subject: Option<PublicId>,
    /// Only those for which a human is called this loudly.
    pub severity: Option<Severity>,
    /// Only those first opened at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only behind this incident.
    pub before: Option<IncidentId>,
    /// At most this many.
    pub limit: i64,
}

/// An incident, and what people call what it has to do with.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    /// The incident.
    #[sqlx(flatten)]
    pub incident: Incident,
    /// Whose; `None`: the herd's.
    #[sqlx(flatten)]
    pub whose: Whose,
    /// How loud a human is called, if a worker has published the playbook.
    pub severity: Option<String>,
    /// The remedy that is next or at work, if a worker has published the playbook.
    #[sqlx(rename = "remedy_name")]
    pub remedy: Option<String>,
}

const COLUMNS: &str = "
    select i.*, s.kind as subject_kind, s.name as subject_name,
           b.playbook ->> 'severity' as severity,
           case when i.state in ('resolving', 'waiting') then i.remedy end as remedy_name
    from incidents i
    left join subjects s on s.id = i.subject_id
    left join resolvers b on b.kind = i.kind";

/// Lists incidents, newest first.
pub async fn list(db: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Listed>> {
    let state = match page.state {
        Some(Wanted::In(state)) => Some(state),
        Some(Wanted::Open) | None => None,
    };
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "{COLUMNS}
         where (not $1 or i.state <> 'resolved')
           and ($2::text is null or i.state = $2)
           and ($3::text is null or i.kind = $3)
           and ($4::text is null or (i.subject_id = $4 and s.kind = $5))
           and ($6::text is null or b.playbook ->> 'severity' = $6)
           and ($7::timestamptz is null or i.opened_at >= $7)
           and ($8::text is null or i.id < $8)
         order by i.id desc
         limit $9"
    )))
    .bind(page.state == Some(Wanted::Open))
    .bind(state)
    .bind(page.kind)
    .bind(page.subject.map(|s| s.id))
    .bind(page.subject.map(|s| s.kind))
    .bind(page.severity)
    .bind(page.since)
    .bind(page.before)
    .bind(page.limit)
    .fetch_all(db)
    .await
}

/// Reads one incident as [`list`] does.
pub async fn find(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<Option<Listed>> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} where i.id = $1"));
    row(db, sql, [id]).await
}

/// An open incident, in few words.
#[derive(Clone, Debug, FromRow)]
pub struct Open {
    /// Its id.
    pub id: IncidentId,
    /// Whose.
    pub subject_id: SubjectId,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Where it stands.
    pub state: IncidentState,
}

/// The open incidents of these subjects, oldest first.
pub async fn open_of(db: &mut PgConnection, subjects: &[SubjectId]) -> sqlx::Result<Vec<Open>> {
    let sql = "select id, subject_id, kind, state from incidents
               where subject_id = any($1) and state <> 'resolved' order by id";
    rows(db, sql, [subjects]).await
}

/// The newest events of a timeline, oldest of them first.
pub async fn events(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<Vec<TimelineEvent>> {
    let sql = "select created_at, kind, actor, text, detail from (
                   select * from incident_events where incident_id = $1
                   order by created_at desc, id desc limit $2) newest
               order by created_at, id";
    rows(db, sql, (id, MOST_EVENTS)).await
}

/// The messages about an incident, oldest first.
pub async fn messages(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<Vec<IncidentMessage>> {
    let sql =
        "select 'msg_' || id as id, created_at, channel, action, severity, summary, state, attempts,
                last_error, delivered_by, reference, settled_at
         from (select * from outbox where incident_id = $1 order by seq desc limit 1000) o
         order by seq";
    rows(db, sql, [id]).await
}
