//! Incidents: opened by think, closed by `resolve` on the word of a fresh
//! observation, or by an operator.

mod actions;
mod listing;

use std::collections::HashSet;

use chrono::Utc;
use serde_json::Value;
use sqlx::PgConnection;

use super::brake::{self, Trip};
use super::modes;
use super::queue;
use super::statement::{column, row, rows, run, touched, value};
use crate::model::{
    Incident, IncidentId, IncidentKind, IncidentState, Mode, Note, Opening, SubjectId,
};

pub use actions::{ActError, Asked, act};
pub use listing::{Listed, MOST_EVENTS, Open, Page, Wanted, events, find, list, messages, open_of};

/// An incident that returns this soon is the same one.
pub const SAME_AGAIN: &str = "10 minutes";
/// For this long an operator's word that it is over is not contradicted, unless
/// the subject's state changes. Not of the herd's: what had turned bad before `blind` was
/// closed no longer counts against the brake, so whatever trips it is news; and an old record
/// is old for as long as it is.
pub const OPERATORS_WORD: &str = "1 hour";

/// Reads one incident.
pub async fn load(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<Option<Incident>> {
    row(db, "select * from incidents where id = $1", [id]).await
}

/// Reads one incident and locks its row until the transaction ends.
pub async fn lock(db: &mut PgConnection, id: IncidentId) -> sqlx::Result<Option<Incident>> {
    let sql = "select * from incidents where id = $1 for update";
    row(db, sql, [id]).await
}

/// Which of these subjects (or the herd) and kinds have an open incident.
pub async fn open_among(
    db: &mut PgConnection,
    asked: &[(Option<SubjectId>, IncidentKind)],
) -> sqlx::Result<HashSet<(Option<SubjectId>, IncidentKind)>> {
    let (ids, kinds): (Vec<Option<SubjectId>>, Vec<IncidentKind>) = asked.iter().copied().unzip();
    let sql = "select i.subject_id, i.kind
               from unnest($1::text[], $2::text[]) as a (id, kind)
               join incidents i
                 on coalesce(i.subject_id, 'zone ' || i.zone, '') = coalesce(a.id, '')
                and i.kind = a.kind
               where i.state <> 'resolved'";
    let rows: Vec<(Option<SubjectId>, IncidentKind)> = rows(db, sql, (ids, kinds)).await?;
    Ok(rows.into_iter().collect())
}

/// Opens an incident, unless one of this subject and kind is open. One that was
/// resolved a moment ago is opened again and counted; one that an operator has
/// closed by hand stays closed for a while. Its token goes into the ring in the
/// same transaction. Tells which one was opened.
pub async fn open(
    db: &mut PgConnection,
    subject: Option<SubjectId>,
    opening: &Opening,
    actor: &str,
) -> sqlx::Result<Option<IncidentId>> {
    open_one(db, (subject, None), opening, actor).await
}

/// The same of `blind`, where too many servers turned bad at once.
pub async fn open_blind(
    db: &mut PgConnection,
    trip: Trip,
    actor: &str,
) -> sqlx::Result<Option<IncidentId>> {
    let opening = Opening {
        kind: IncidentKind::Blind,
        reason: trip.reason,
    };
    open_one(db, (None, trip.zone.as_deref()), &opening, actor).await
}

/// A subject, a zone or, without either, the herd.
type Owner<'a> = (Option<SubjectId>, Option<&'a str>);

async fn open_one(
    db: &mut PgConnection,
    owner: Owner<'_>,
    opening: &Opening,
    actor: &str,
) -> sqlx::Result<Option<IncidentId>> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select i.id, i.state <> 'resolved',
                coalesce(i.resolved_at > now() - interval '{SAME_AGAIN}', false),
                coalesce(i.resolved_by = 'operator' and i.subject_id is not null
                    and i.resolved_at > now() - interval '{OPERATORS_WORD}'
                    and (s.state_since is null or s.state_since < i.resolved_at), false)
         from incidents i left join subjects s on s.id = i.subject_id
         where coalesce(i.subject_id, 'zone ' || i.zone, '') = coalesce($1, 'zone ' || $3, '')
           and i.kind = $2
         order by i.state <> 'resolved' desc, i.resolved_at desc nulls last
         limit 1"
    ));
    let last: Option<(IncidentId, bool, bool, bool)> =
        row(db, sql, (owner.0, opening.kind, owner.1)).await?;
    match last {
        Some((_, true, _, _)) | Some((_, _, _, true)) => Ok(None),
        Some((id, false, true, false)) => reopen(db, (owner.0, id), opening, actor).await,
        Some((_, false, false, false)) | None => insert(db, owner, opening, actor).await,
    }
}

async fn insert(
    db: &mut PgConnection,
    (subject, zone): Owner<'_>,
    opening: &Opening,
    actor: &str,
) -> sqlx::Result<Option<IncidentId>> {
    let id = IncidentId::generate();
    let sql = "insert into incidents (id, subject_id, zone, kind, state, reason)
               values ($1, $2, $3, $4, 'triggered', $5)
               on conflict do nothing";
    let values = (id, subject, zone, opening.kind, &opening.reason);
    let done = touched(db, sql, values).await?;
    if done == 0 {
        return Ok(None);
    }
    note(db, id, actor, &Note::new("opened", &opening.reason)).await?;
    queue::insert_incident_token(db, id, opening.kind.profile().lane).await?;
    Ok(Some(id))
}

/// What comes back while nobody is to mend it says nothing against its remedies, and is not
/// counted.
async fn reopen(
    db: &mut PgConnection,
    (subject, id): (Option<SubjectId>, IncidentId),
    opening: &Opening,
    actor: &str,
) -> sqlx::Result<Option<IncidentId>> {
    let sql = "update incidents
               set state = 'triggered', state_since = now(), revision = revision + 1, reason = $2,
                   deadline = null, remedy = null, attempt = 0, attempts = 0,
                   wait_until = null, acted_at = null, resting = null, reopened = reopened + $3,
                   -- what was done for the time being is still owed
                   memo = case when memo -> 'undo' = 'true' then memo else '{}' end,
                   acknowledged_at = null, acknowledged_by = null, held_at = null,
                   paged_at = null, ticketed_at = null, resolved_at = null, resolved_by = null
               where id = $1 and state = 'resolved'
               returning reopened";
    let counts = modes::effective(db, subject).await? == Mode::Act;
    let values = (id, &opening.reason, i16::from(counts));
    let again: Option<i16> = value(db, sql, values).await?;
    let Some(again) = again else { return Ok(None) };
    let text = match counts {
        true => format!("back for time {}: {}", again + 1, opening.reason),
        false => format!("back, while it is not to be mended: {}", opening.reason),
    };
    note(db, id, actor, &Note::new("reopened", text)).await?;
    queue::insert_incident_token(db, id, opening.kind.profile().lane).await?;
    Ok(Some(id))
}

/// Writes an event of an incident's timeline.
pub async fn note(
    db: &mut PgConnection,
    id: IncidentId,
    actor: &str,
    note: &Note,
) -> sqlx::Result<()> {
    let sql = "insert into incident_events (id, incident_id, kind, actor, text, detail)
               values ($1, $2, $3, $4, $5, $6)";
    super::write_note(db, sql, id.to_string(), actor, note).await
}

/// Writes an incident back as it now stands, if nobody has changed it since it
/// was read. Tells whether that was so.
///
/// `held_at` and the acknowledgement are an operator's alone and are not written;
/// `resolved_at` follows from the state.
pub async fn save(db: &mut PgConnection, incident: &Incident) -> sqlx::Result<bool> {
    let values = (
        incident.id,
        incident.revision,
        incident.state,
        &incident.reason,
        incident.deadline,
        &incident.remedy,
        i16::try_from(incident.attempt).unwrap_or(i16::MAX),
        i32::try_from(incident.attempts).unwrap_or(i32::MAX),
        incident.wait_until,
        incident.acted_at,
        &incident.memo,
        &incident.resting,
        incident.paged_at,
        incident.ticketed_at,
        &incident.resolved_by,
    );
    let sql = "update incidents
               set state_since = case when state = $3 then state_since else now() end,
                   state = $3, revision = revision + 1, reason = $4, deadline = $5, remedy = $6,
                   attempt = $7, attempts = $8, wait_until = $9, acted_at = $10, memo = $11,
                   resting = $12, paged_at = $13, ticketed_at = $14,
                   resolved_at = case when $3 = 'resolved' then now() end,
                   resolved_by = case when $3 = 'resolved' then $15 end
               where id = $1 and revision = $2";
    let touched = touched(db, sql, values).await?;
    Ok(touched == 1)
}

/// Writes down what an incident owes: what was done for the time being and is to be taken
/// back once all is well; `Null`: nothing.
pub async fn owe(db: &mut PgConnection, id: IncidentId, what: &Value) -> sqlx::Result<()> {
    let sql = "update incidents
         set revision = revision + 1,
             memo = case when $2::jsonb = 'null' then memo - 'undo' - 'read_only'
                         else memo || jsonb_build_object('undo', true, 'read_only', $2::jsonb) end
         where id = $1";
    run(db, sql, (id, what)).await
}

/// The open incident of a resource's server that stands for the resource's own:
/// nothing on a server can be mended while the server itself is not.
pub async fn covering(
    db: &mut PgConnection,
    subject: SubjectId,
) -> sqlx::Result<Option<(IncidentId, IncidentKind)>> {
    let values = (
        subject,
        IncidentKind::names_where(|kind| kind.covers_databases),
    );
    let sql = "select i.id, i.kind from resources r join incidents i on i.subject_id = r.server_id
               where r.id = $1 and i.state <> 'resolved'
                 and i.kind = any($2)
               order by i.opened_at limit 1";
    row(db, sql, values).await
}

/// The open `blind` incident of the herd, or of the zone that this subject is in, if there is
/// one.
pub async fn blind(
    db: &mut PgConnection,
    subject: Option<SubjectId>,
) -> sqlx::Result<Option<IncidentId>> {
    let zone = brake::zone_of(db, subject).await?;
    let sql = "select id from incidents
               where coalesce(subject_id, 'zone ' || zone, '') in ('', 'zone ' || $1)
                 and kind = 'blind' and state <> 'resolved'
               order by zone nulls first limit 1";
    value(db, sql, [zone]).await
}

/// The open `record_is_old` incident, if there is one: nothing is changed meanwhile.
pub async fn old_record(db: &mut PgConnection) -> sqlx::Result<Option<IncidentId>> {
    let sql = "select id from incidents
               where coalesce(subject_id, 'zone ' || zone, '') = '' and kind = 'record_is_old'
                 and state <> 'resolved'";
    value(db, sql, ()).await
}

/// Open incidents by kind and state.
pub async fn count_open(db: &mut PgConnection) -> sqlx::Result<Vec<(String, String, i64)>> {
    let sql = "select kind, state, count(*) from incidents where state <> 'resolved'
               group by 1, 2 order by 1, 2";
    rows(db, sql, ()).await
}

/// Closes the open incidents of a subject that leaves the herd, and calls off
/// whoever was called for them.
pub async fn forget(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    let sql = "select id from incidents where subject_id = $1 and state <> 'resolved' order by id";
    let open: Vec<IncidentId> = column(db, sql, [subject]).await?;
    for id in open {
        let Some(mut incident) = lock(db, id).await? else {
            continue;
        };
        close(
            db,
            &mut incident,
            "forgotten",
            "api",
            "the subject was forgotten",
        )
        .await?;
    }
    Ok(())
}

/// Closes an incident whose row is locked: its token goes, its page and ticket
/// are called off. Tells whether it was still as it was read.
pub async fn close(
    db: &mut PgConnection,
    incident: &mut Incident,
    by: &str,
    actor: &str,
    reason: &str,
) -> sqlx::Result<bool> {
    incident.state = IncidentState::Resolved;
    incident.resting = None;
    incident.resolved_at = Some(Utc::now());
    incident.resolved_by = Some(by.to_owned());
    if !save(db, incident).await? {
        return Ok(false);
    }
    note(db, incident.id, actor, &Note::new("resolved", reason)).await?;
    super::outbox::call_off(db, incident, reason).await?;
    queue::remove_from_resolve(db, queue::Token::Incident(incident.id)).await?;
    // What it has asked for is not needed any more, unless it is half done.
    queue::wake_asked_by(db, incident.id).await?;
    Ok(true)
}
