//! What was recorded between two moments, for thinking again: read a subject at a
//! time and a page at a time, so that a long history needs no more memory than a
//! short one.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::observations::{self, Before};
use super::statement::rows;
use crate::model::{IncidentKind, Observation, ObservationId, State, Subject, SubjectId};

/// From when to when; the end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub since: DateTime<Utc>,
    /// The first one after it.
    pub until: DateTime<Utc>,
}

/// A subject as it stood when a span began.
#[derive(Clone, Debug, FromRow)]
pub struct Past {
    /// With the state of that time.
    #[sqlx(flatten)]
    pub subject: Subject,
    /// A resource's server.
    #[sqlx(rename = "server_id")]
    pub server: Option<SubjectId>,
}

/// The subjects that were in the herd at some moment of this span, servers first.
/// With `who`, only those of this bare id or name.
pub async fn subjects(
    db: &mut PgConnection,
    span: Span,
    who: Option<&str>,
) -> sqlx::Result<Vec<Past>> {
    let sql = "select s.id, s.kind, s.name, s.origin, s.tier, s.created_at, r.server_id,
                      coalesce(before.to_state, after.from_state, s.state) as state,
                      coalesce(before.created_at,
                               case when after.from_state is null then s.state_since end,
                               s.created_at) as state_since
               from subjects s
               left join resources r on r.id = s.id
               left join lateral (
                   select to_state, created_at from transitions t
                   where t.subject_id = s.id and t.created_at < $1
                   order by created_at desc, id desc limit 1) before on true
               left join lateral (
                   select from_state from transitions t
                   where t.subject_id = s.id and t.created_at >= $1
                   order by created_at, id limit 1) after on true
               where s.created_at < $2
                 and (s.forgotten_at is null or s.forgotten_at >= $1)
                 and ($3::text is null or s.id = $3 or s.name = $3)
               order by s.kind desc, s.id";
    rows(db, sql, (span.since, span.until, who)).await
}

/// A page of what was seen of a subject, oldest first, behind `after` if given.
pub async fn seen(
    db: &mut PgConnection,
    subject: SubjectId,
    span: Span,
    after: Option<&Observation>,
    limit: i64,
) -> sqlx::Result<Vec<Observation>> {
    let values = (
        subject,
        after.map_or(span.since, |seen| seen.created_at),
        span.until,
        after.map(|seen| seen.id),
        limit,
    );
    let sql = "select id, created_at, worker, feelers, attributes from observations
               where subject_id = $1 and created_at >= $2 and created_at < $3
                 and ($4::text is null or (created_at, id) > ($2, $4))
               order by created_at, id
               limit $5";
    rows(db, sql, values).await
}

/// What was seen of a subject before a span began, newest first.
pub async fn seen_before(
    db: &mut PgConnection,
    subject: SubjectId,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Observation>> {
    let before = Before {
        created_at: since,
        id: ObservationId::first_of(DateTime::UNIX_EPOCH),
    };
    observations::list(db, subject, Some(before), limit).await
}

/// A change of state that was made.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Turn {
    /// When.
    #[sqlx(rename = "created_at")]
    pub at: DateTime<Utc>,
    /// The state that was left.
    #[sqlx(rename = "from_state")]
    pub from: State,
    /// The state that was entered.
    #[sqlx(rename = "to_state")]
    pub to: State,
    /// Why, for people.
    pub reason: String,
    /// The observation that caused it.
    #[sqlx(rename = "observation_id")]
    pub because: ObservationId,
}

/// A subject's changes of state from the beginning of a span on, oldest first;
/// those soon after its end too, which what was seen at its end has caused.
pub async fn turns(
    db: &mut PgConnection,
    subject: SubjectId,
    span: Span,
) -> sqlx::Result<Vec<Turn>> {
    let sql = "select created_at, from_state, to_state, reason, observation_id from transitions
               where subject_id = $1 and created_at >= $2 and created_at < $3 + interval '2 minutes'
               order by created_at, id";
    rows(db, sql, (subject, span.since, span.until)).await
}

/// When an incident of each kind was opened that was open in this span: the first
/// of them, which may be from before the span.
pub async fn opened(
    db: &mut PgConnection,
    subject: SubjectId,
    span: Span,
) -> sqlx::Result<Vec<(IncidentKind, DateTime<Utc>)>> {
    let sql = "select i.kind, min(e.created_at) from incidents i
               join incident_events e on e.incident_id = i.id and e.kind in ('opened', 'reopened')
               left join lateral (
                   select min(x.created_at) as at from incident_events x
                   where x.incident_id = i.id and x.kind = 'resolved'
                     and x.created_at > e.created_at) ended on true
               where i.subject_id = $1 and e.created_at < $3
                 and (ended.at is null or ended.at > $2)
               group by i.kind order by 2, 1";
    rows(db, sql, (subject, span.since, span.until)).await
}

/// Whom a resource follows, from when on.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Following {
    /// Since when.
    pub since: DateTime<Utc>,
    /// `None`: it leads.
    #[sqlx(rename = "leader_id")]
    pub leader: Option<SubjectId>,
    /// The change of leader that this is, counted.
    pub epoch: i64,
    /// How far behind, in bytes of WAL, it may be.
    #[sqlx(try_from = "i64")]
    pub max_lag_bytes: u64,
}

/// Whom a resource has followed until the end of this span, oldest first; nothing of a
/// server.
pub async fn followings(
    db: &mut PgConnection,
    subject: SubjectId,
    span: Span,
) -> sqlx::Result<Vec<Following>> {
    let sql = "select since, leader_id, epoch, max_lag_bytes from followings
               where resource_id = $1 and since < $2 + interval '2 minutes' order by since, id";
    rows(db, sql, (subject, span.until)).await
}
