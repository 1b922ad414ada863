//! Game days: something is broken on purpose, and the record tells how it was mended.
//! web breaks nothing: a resolve worker does, by an operation.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Web;
use super::act::{asker, who_and_why};
use super::auth::Admin;
use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::params::{Id, Params, none_such, public_id};
use super::subjects::find;
use super::views::cut;
use crate::api::{
    self, BreakOnPurpose, GamedayIncident, GamedayLeader, GamedayRemedy, Passed, Public,
};
use crate::config::GamedayMark;
use crate::model::{
    Cloud, Gameday, Harm, Kind, OperationId, OperationKind, PublicId, Server, State as SubjectState,
};
use crate::store::gameday::{self, NewGameday, Page, Report, Stage};
use crate::store::subjects::{self, Known};
use crate::store::{self, changes, incidents, operations};

/// How long it lasts where it ends by itself, and how long it may.
const USUAL_S: u32 = 300;
const LONGEST_S: u32 = 3600;
/// So many of a server's databases are looked at.
const MOST: i64 = 1000;

/// Everything below `/v1/gameday`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(list).post(begin))
        .route("/{id}", get(show))
        .route("/{id}/heal", post(heal))
}

fn shown(gameday: Gameday, report: Report) -> api::Gameday {
    let after = |at: DateTime<Utc>| {
        let passed = at - gameday.broken_at?;
        let s = passed.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6;
        Some((s * 1000.0).round() / 1000.0)
    };
    let incidents = report.incidents.iter().map(|incident| GamedayIncident {
        id: Public(incident.id),
        kind: incident.kind,
        state: incident.state,
        opened_s: after(incident.opened_at),
        resolved_s: incident.resolved_at.and_then(after),
    });
    let remedies = report.remedies.into_iter().map(|used| GamedayRemedy {
        begun_s: after(used.begun_at),
        resolver: used.resolver,
        remedy: used.remedy,
        outcome: used.outcome,
    });
    let leaders = report.leaders.into_iter();
    api::Gameday {
        after_s: Passed {
            detected: report.detected_at.and_then(after),
            failover: report.failover_at.and_then(after),
            healed: gameday.healed_at.and_then(after),
            incident: report.incident_at.and_then(after),
            recovered: report.recovered_at.and_then(after),
            unavailable: report.unavailable_at.and_then(after),
        },
        incidents: incidents.collect(),
        remedies: remedies.collect(),
        leaders: leaders
            .map(|(id, name)| GamedayLeader { id, name })
            .collect(),
        id: Public(gameday.id),
        subject: gameday.subject,
        name: gameday.name,
        how: gameday.how,
        reason: gameday.reason,
        asked_by: gameday.asked_by,
        asked_at: gameday.asked_at,
        state: report.stage,
        problem: gameday.problem,
        broken_at: gameday.broken_at,
        heal_at: gameday.heal_at,
        healed_at: gameday.healed_at,
    }
}

async fn view(db: &mut PgConnection, id: OperationId) -> Result<api::Gameday> {
    let found = gameday::load(db, id).await?;
    let found = found.ok_or_else(|| none_such("game day", id))?;
    let report = gameday::report(db, &found).await?;
    Ok(shown(found, report))
}

async fn list(State(web): State<Web>, params: Params) -> Result<Json<api::Page<api::Gameday>>> {
    params.only(&["subject", "limit", "cursor"])?;
    let limit = params.limit()?;
    let page = Page {
        id: None,
        subject: params.subject()?.map(|subject| subject.id),
        before: params.cursor(|text| OperationId::from_public(text).ok())?,
        limit: limit + 1,
    };
    let mut db = web.pool.acquire().await?;
    let rows = gameday::list(&mut db, &page).await?;
    let rows = cut(rows, limit, |gameday| gameday.id.public());
    let mut items = Vec::new();
    for found in rows.items {
        let report = gameday::report(&mut db, &found).await?;
        items.push(shown(found, report));
    }
    Ok(Json(api::Page {
        items,
        next_cursor: rows.next_cursor,
    }))
}

async fn show(State(web): State<Web>, Id(id): Id<OperationId>) -> Result<Json<api::Gameday>> {
    // One snapshot: the parts of a report have to fit each other.
    let mut db = store::snapshot(&web.pool).await?;
    let view = view(&mut db, id).await?;
    db.rollback().await?;
    Ok(Json(view))
}

async fn begin(
    _: Admin,
    State(web): State<Web>,
    body: Body,
) -> Result<(StatusCode, Json<api::Gameday>)> {
    if web.config.gameday == GamedayMark::Refused {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "gameday_not_allowed",
            "this deployment is not marked for game days: set DROVER_GAMEDAY=allow for web and for \
             its resolve workers, and only where something may be broken (docs/configuration.md)",
        ));
    }
    let asked = read(&body)?;
    let (subject, how) = (asked.subject, asked.how);
    let mut db = web.pool.begin().await?;
    find(&mut db, subject).await?;
    changes::hold(&mut db, subject.id).await?;
    let known = find(&mut db, subject).await?;
    in_service(&known)?;
    fits(&mut db, &known, how).await?;
    all_is_well(&mut db, &known).await?;
    one_at_a_time(&mut db, subject).await?;
    if let Some(open) = operations::in_the_way(&mut db, subject.id, OperationKind::Gameday).await? {
        let (what, id) = (open.kind.profile().words, open.id.public());
        let message = format!("{subject} {what}: {id} is open; one at a time");
        return Err(ApiError::conflict("busy", message));
    }
    let new = NewGameday {
        subject: subject.id,
        how,
        for_s: how.ends().then(|| asked.for_s.unwrap_or(USUAL_S)),
        reason: asked.reason,
        asked_by: asker(asked.by),
    };
    let id = gameday::open(&mut db, &new).await?;
    let id = id.ok_or_else(ApiError::internal)?;
    let view = view(&mut db, id).await?;
    db.commit().await?;
    tracing::warn!(gameday = %id.public(), %subject, %how, by = %new.asked_by,
        "something is to be broken on purpose");
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Reads what is to be broken.
///
/// # Errors
/// If it is not said what, how and why.
pub fn read(body: &Body) -> Result<BreakOnPurpose> {
    body.only(&["subject", "how", "for_s", "reason", "by"])?;
    let subject = public_id("subject", body.required("subject")?)?;
    let how: Harm = body.required("how")?.parse().map_err(|known: String| {
        ApiError::unprocessable("unknown_harm", format!("how {known}")).field("how")
    })?;
    let (by, reason) = who_and_why(body)?;
    let reason = reason.ok_or_else(|| missing("reason"))?;
    let for_s = body.number("for_s", 1..=LONGEST_S)?;
    if for_s.is_some() && !how.ends() {
        let message = format!("{how} does not end by itself: drover has to mend it");
        return Err(ApiError::invalid("for_s", message));
    }
    Ok(BreakOnPurpose {
        subject,
        how,
        for_s,
        reason,
        by,
    })
}

/// What is down already shows nothing.
fn in_service(known: &Known) -> Result<()> {
    let subject = known.subject();
    match subject.state {
        SubjectState::Available => Ok(()),
        SubjectState::Creating
        | SubjectState::Uncertain
        | SubjectState::Unavailable
        | SubjectState::Destroying
        | SubjectState::Destroyed => {
            let message = format!(
                "{} is {}; only what is available is broken on purpose",
                subject.name, subject.state
            );
            Err(ApiError::conflict("wrong_state", message))
        }
    }
}

/// Whether that can be done to it.
async fn fits(db: &mut PgConnection, known: &Known, how: Harm) -> Result<()> {
    let (server, of_resource): (&Server, bool) = match known {
        Known::Server(server) => (server, false),
        Known::Resource(_, server) => (server, true),
    };
    let refuse = |message: String| Err(ApiError::invalid("how", message));
    if how.is_of_server() && of_resource {
        let page = subjects::Page {
            server: Some(server.subject.id),
            limit: 2,
            ..Default::default()
        };
        let all = subjects::list(db, Kind::Resource, &page).await?;
        if all.len() > 1 {
            let id = PublicId::new(server.subject.kind, server.subject.id);
            return refuse(format!(
                "{how} is done to a whole server, and this one has other resources too: name \
                 the server {id}"
            ));
        }
    }
    match (how, server.cloud) {
        (Harm::Kill | Harm::Freeze | Harm::Fill, _)
        | (Harm::Unplug, Some(Cloud::Local | Cloud::Ec2))
        | (Harm::Partition, Some(Cloud::Local)) => Ok(()),
        (Harm::Unplug, None) => refuse("its server is in no cloud that could unplug it".into()),
        (Harm::Partition, Some(Cloud::Ec2) | None) => refuse(
            "only a server of the local cloud can be cut off: no other network is drover's".into(),
        ),
    }
}

/// What is being mended already would be taken for this day's doing.
async fn all_is_well(db: &mut PgConnection, known: &Known) -> Result<()> {
    let mut of = vec![known.subject().id];
    match known {
        Known::Resource(_, server) => of.push(server.subject.id),
        Known::Server(server) => {
            let page = subjects::Page {
                server: Some(server.subject.id),
                limit: MOST,
                ..Default::default()
            };
            let resources = subjects::list(db, Kind::Resource, &page).await?;
            of.extend(resources.iter().map(|known| known.subject().id));
        }
    }
    match incidents::open_of(db, &of).await?.first() {
        None => Ok(()),
        Some(open) => {
            let message = format!(
                "{} is open there ({}); only what is well is broken on purpose",
                open.id.public(),
                open.kind
            );
            Err(ApiError::conflict("incident_open", message))
        }
    }
}

/// The one before must be over: what it did would be taken for this one's doing.
async fn one_at_a_time(db: &mut PgConnection, subject: PublicId) -> Result<()> {
    let page = Page {
        subject: Some(subject.id),
        limit: 1,
        ..Page::default()
    };
    let Some(last) = gameday::list(db, &page).await?.pop() else {
        return Ok(());
    };
    let stage = gameday::report(db, &last).await?.stage;
    let to_heal = last.heal_at.is_some() && last.healed_at.is_none();
    let lasts = to_heal && stage != Stage::Failed;
    let hour_ago = crate::store::now(db).await? - chrono::TimeDelta::hours(1);
    let recent = last.broken_at.is_none_or(|at| at > hour_ago);
    if lasts || stage == Stage::Queued || (stage == Stage::Broken && recent) {
        let message = format!(
            "the game day {} of {subject} is not over; one at a time",
            last.id.public()
        );
        return Err(ApiError::conflict("busy", message));
    }
    Ok(())
}

async fn heal(
    _: Admin,
    State(web): State<Web>,
    Id(id): Id<OperationId>,
    body: Body,
) -> Result<(StatusCode, Json<api::Gameday>)> {
    body.only(&[])?;
    let mut db = web.pool.begin().await?;
    let found = gameday::load(&mut db, id).await?;
    let found = found.ok_or_else(|| none_such("game day", id))?;
    let no = |message: String| Err(ApiError::conflict("not_now", message));
    if !found.how.can_be_healed() {
        let how = found.how;
        return no(format!("{how} cannot be taken back: drover has to mend it"));
    }
    match (found.broken_at, found.healed_at) {
        (None, _) => return no("nothing was broken".into()),
        (Some(_), Some(_)) => return no("it was taken back already".into()),
        (Some(_), None) => gameday::heal_now(&mut db, id).await?,
    }
    let view = view(&mut db, id).await?;
    db.commit().await?;
    tracing::info!(gameday = %id.public(), "what was broken on purpose is to be taken back");
    Ok((StatusCode::ACCEPTED, Json(view)))
}
