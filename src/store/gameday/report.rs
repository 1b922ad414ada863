//! What became of a game day, from the record alone: when it was noticed, what was
//! done, and when whoever was broken was in service again.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

pub use crate::api::Stage;
use crate::model::{
    Gameday, Harm, IncidentId, IncidentKind, IncidentState, Kind, PublicId, SubjectId,
};
use crate::store::statement::{only_row, only_value, row, rows};

/// What comes later than this after the break is not of the break.
const WINDOW: TimeDelta = TimeDelta::hours(6);

/// What the record says of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// How far it is.
    pub stage: Stage,
    /// The first failed observation, or change of state.
    pub detected_at: Option<DateTime<Utc>>,
    /// The first incident.
    pub incident_at: Option<DateTime<Utc>>,
    /// The first that was unavailable.
    pub unavailable_at: Option<DateTime<Utc>>,
    /// The first lead that went to another.
    pub failover_at: Option<DateTime<Utc>>,
    /// When the last of those that were broken was in service again.
    pub recovered_at: Option<DateTime<Utc>>,
    /// Who bears the leads that went to others.
    pub leaders: Vec<(PublicId, String)>,
    /// Incidents that came of it, in their order.
    pub incidents: Vec<Seen>,
    /// What was done, in its order.
    pub remedies: Vec<Used>,
}

/// An incident.
#[derive(Clone, Debug, FromRow)]
pub struct Seen {
    /// Its id.
    pub id: IncidentId,
    /// Its kind.
    pub kind: IncidentKind,
    /// How it stands.
    pub state: IncidentState,
    /// When it was opened, or came back.
    pub opened_at: DateTime<Utc>,
    /// When it was over.
    pub resolved_at: Option<DateTime<Utc>>,
}

/// A remedy of an incident.
#[derive(Clone, Debug, FromRow)]
pub struct Used {
    /// The playbook.
    pub resolver: String,
    /// Its remedy.
    pub remedy: String,
    /// When it was begun.
    pub begun_at: DateTime<Utc>,
    /// How its last step ended; `None`: it goes on, or was cut off.
    pub outcome: Option<String>,
}

/// Reads it.
pub async fn report(db: &mut PgConnection, gameday: &Gameday) -> sqlx::Result<Report> {
    let mut report = Report {
        stage: match (gameday.open, &gameday.problem, gameday.broken_at) {
            (_, Some(_), _) => Stage::Failed,
            (_, None, Some(_)) => Stage::Broken,
            (true, None, None) => Stage::Queued,
            (false, None, None) => Stage::Failed,
        },
        detected_at: None,
        incident_at: None,
        unavailable_at: None,
        failover_at: None,
        recovered_at: None,
        leaders: vec![],
        incidents: vec![],
        remedies: vec![],
    };
    let Some(since) = gameday.broken_at.filter(|_| report.stage == Stage::Broken) else {
        return Ok(report);
    };
    let span = (since, since + WINDOW);
    let watched = watched(db, gameday).await?;
    let names: Vec<&Bearer> = watched.iter().filter(|w| w.counts).collect();
    let ids: Vec<SubjectId> = watched.iter().map(|w| w.id).collect();

    let sql = "select min(created_at) from observations
               where subject_id = any($1) and created_at >= $2 and created_at < $3
                 and not (attributes->>'service_available')::boolean";
    let failed: Option<DateTime<Utc>> = only_value(db, sql, (&ids, span.0, span.1)).await?;
    let sql = "select min(created_at) filter (where from_state = 'available'),
                      min(created_at) filter (where to_state = 'unavailable')
               from transitions
               where subject_id = any($1) and created_at >= $2 and created_at < $3";
    let (left, unavailable): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
        only_row(db, sql, (&ids, span.0, span.1)).await?;
    report.detected_at = failed.into_iter().chain(left).min();
    report.unavailable_at = unavailable;

    let mut backs = Vec::new();
    let mut moved = 0;
    for name in names.iter().filter(|name| name.kind == Kind::Resource) {
        let back = back(db, name.id, span).await?;
        if let Back::Moved(change, ..) = &back {
            moved += 1;
            report.failover_at = Some(report.failover_at.map_or(change.0, |at| at.min(change.0)));
            report
                .leaders
                .push((PublicId::new(Kind::Resource, change.1), change.2.clone()));
        }
        backs.push(back);
    }
    for name in names.iter().filter(|name| name.kind == Kind::Server) {
        // A server whose leads went elsewhere may take its time.
        if moved == 0 {
            backs.push(back(db, name.id, span).await?);
        }
    }
    let all_incidents = incidents(db, &ids, span).await?;
    report.recovered_at = recovered(gameday.how, &backs, &all_incidents);
    if report.recovered_at.is_some() {
        report.stage = Stage::Recovered;
    }
    // What came after all was well is of something else.
    let end = report.recovered_at.unwrap_or(span.1);
    report.incidents = all_incidents;
    report
        .incidents
        .retain(|incident| incident.opened_at <= end);
    report.incident_at = report.incidents.first().map(|incident| incident.opened_at);
    // A full volume keeps nobody from answering at first.
    let noticed = [report.detected_at, report.incident_at];
    report.detected_at = noticed.into_iter().flatten().min();
    report.remedies = remedies(db, &report.incidents, span).await?;
    report.remedies.retain(|remedy| remedy.begun_at <= end);
    Ok(report)
}

/// Who may show what was broken.
struct Bearer {
    id: SubjectId,
    kind: Kind,
    /// Whether it has to be in service again, for the game day to be over.
    counts: bool,
}

/// Who was named, a server's resources, and a resource's server, whose incident may
/// stand for it.
async fn watched(db: &mut PgConnection, gameday: &Gameday) -> sqlx::Result<Vec<Bearer>> {
    let subject = gameday.subject;
    let named = Bearer {
        id: subject.id,
        kind: subject.kind,
        counts: true,
    };
    let sql = "select s.id, s.kind from resources r join subjects s on s.id = r.id
               where r.server_id = $1 and s.created_at < $2 and s.state <> 'creating'
                 and (s.forgotten_at is null or s.forgotten_at > $2)
               union all
               select v.id, v.kind from resources r join subjects v on v.id = r.server_id
               where r.id = $1";
    let others: Vec<(SubjectId, Kind)> = rows(db, sql, (subject.id, gameday.broken_at)).await?;
    let mut all = vec![named];
    for (id, kind) in others {
        all.push(Bearer {
            id,
            kind,
            counts: kind == Kind::Resource,
        });
    }
    Ok(all)
}

/// Where a name stands.
enum Back {
    /// It was seen in service all the time.
    Never,
    /// It is not known yet, or not in service again.
    NotYet,
    /// It is in service again since then.
    Since(DateTime<Utc>),
    /// Another bears it: since when, who, and the name; and since when that one was
    /// seen in service.
    Moved((DateTime<Utc>, SubjectId, String), Option<DateTime<Utc>>),
}

/// When a subject was in service again, or another under its name.
async fn back(
    db: &mut PgConnection,
    id: SubjectId,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Back> {
    let sql = "select created_at, new_leader_id, name from leader_changes
         where old_leader_id = $1 and kind <> 'unfollow' and created_at >= $2 and created_at < $3
         order by seq limit 1";
    let moved: Option<(DateTime<Utc>, SubjectId, String)> =
        row(db, sql, (id, since, until)).await?;
    let sql = "select min(created_at) from transitions
               where subject_id = $1 and from_state = 'available'
                 and created_at >= $2 and created_at < $3";
    let left: Option<DateTime<Utc>> = only_value(db, sql, (id, since, until)).await?;
    let sql = "select min(created_at) from transitions
               where subject_id = $1 and to_state = 'available' and created_at > $2
                 and created_at < $3";
    let itself: Option<DateTime<Utc>> = only_value(db, sql, (id, left, until)).await?;
    if let Some((at, to, name)) = moved
        && itself.is_none_or(|itself| itself > at)
    {
        let seen = seen_well(db, to, at, until).await?;
        return Ok(Back::Moved((at, to, name), seen));
    }
    Ok(match (left, itself) {
        (Some(_), Some(at)) => Back::Since(at),
        (Some(_), None) => Back::NotYet,
        // An observation that was begun before the break says nothing.
        (None, _) => match seen_well(db, id, since, until).await? {
            Some(_) => Back::Never,
            None => Back::NotYet,
        },
    })
}

/// When it was first seen in service by an observation that was begun after this.
async fn seen_well(
    db: &mut PgConnection,
    id: SubjectId,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "select min(created_at) from observations
         where subject_id = $1 and created_at >= $2 and created_at < $3
           and (attributes->>'service_available')::boolean
           and created_at - coalesce((attributes->>'latency_ms')::float8, 0) * interval '1 ms' > $2";
    only_value(db, sql, (id, since, until)).await
}

/// When all were in service again that had not been.
fn recovered(how: Harm, backs: &[Back], incidents: &[Seen]) -> Option<DateTime<Utc>> {
    let mut last: Option<DateTime<Utc>> = None;
    for back in backs {
        match back {
            Back::Never => {}
            Back::NotYet | Back::Moved(_, None) => return None,
            Back::Since(at) | Back::Moved(_, Some(at)) => last = last.max(Some(*at)),
        }
    }
    // A full volume need not keep anybody from answering: it is over with its incidents.
    if how == Harm::Fill {
        for incident in incidents {
            last = last.max(Some(incident.resolved_at?));
        }
    }
    last
}

async fn incidents(
    db: &mut PgConnection,
    of: &[SubjectId],
    (since, until): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<Seen>> {
    let sql = "select i.id, i.kind, i.state, i.resolved_at, min(e.created_at) as opened_at
               from incidents i join incident_events e on e.incident_id = i.id
               where i.subject_id = any($1) and e.kind in ('opened', 'reopened')
                 and e.created_at >= $2 and e.created_at < $3
               group by i.id, i.kind, i.state, i.resolved_at
               order by opened_at, i.id";
    rows(db, sql, (of, since, until)).await
}

async fn remedies(
    db: &mut PgConnection,
    incidents: &[Seen],
    (since, until): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<Used>> {
    let ids: Vec<IncidentId> = incidents.iter().map(|i| i.id).collect();
    let sql = "select resolver, remedy, min(created_at) as begun_at,
                      (array_agg(outcome order by created_at desc, phase desc))[1] as outcome
               from resolver_runs
               where incident_id = any($1) and created_at >= $2 and created_at <= $3
               group by incident_id, resolver, remedy
               order by begun_at";
    rows(db, sql, (ids, since, until)).await
}
