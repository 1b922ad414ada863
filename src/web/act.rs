//! What a person asks of a server or a resource: done in the record at once, or
//! written down as an operation.

use std::fmt::Display;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;

use super::body::{Body, missing};
use super::change::{self, Wanted};
use super::error::{ApiError, Result};
use super::operations::operation_view;
use super::params::public_id;
use super::subjects::{find, view};
use super::{Web, check, create};
use crate::api::{ActOn, ActOnSubject, Ask};
use crate::model::{
    Kind, Operation, OperationKind, PublicId, State as SubjectState, SubjectAction,
};
use crate::store;
use crate::store::changes::{self, RenameError};
use crate::store::operations::{self, NewOperation};
use crate::store::queue;

/// `POST …/actions` of a server or a resource.
pub async fn act(State(web): State<Web>, named: PublicId, body: Body) -> Result<Response> {
    let asked = read(named.kind, &body)?;
    let (kind, when) = match &asked.ask {
        Ask::Rename { name } => return rename(&web, named, &asked, name).await,
        Ask::SetWindow { maintenance_window } => {
            return set_window(&web, named, &asked, maintenance_window.as_deref()).await;
        }
        Ask::Restart { now } => (OperationKind::Restart, When::of(*now)),
        Ask::Reboot { now } => (OperationKind::Reboot, When::of(*now)),
        Ask::StopStart { now } => (OperationKind::StopStart, When::of(*now)),
        Ask::Resize { now, .. } => (OperationKind::Resize, When::of(*now)),
        Ask::Switchover { now, .. } => (OperationKind::Switchover, When::of(*now)),
        Ask::Grow { .. } => (OperationKind::Grow, When::AtOnce),
        Ask::Failover { .. } => (OperationKind::Failover, When::AtOnce),
        Ask::SetDurability { .. } => (OperationKind::SetDurability, When::AtOnce),
        Ask::InstallHelper {} => (OperationKind::InstallHelper, When::AtOnce),
        Ask::Unfollow {} => (OperationKind::Unfollow, When::AtOnce),
        Ask::RotatePassword { .. } => (OperationKind::RotatePassword, When::AtOnce),
    };
    write_down(&web, named, asked, kind, when).await
}

/// When an operation is begun.
enum When {
    /// In its subject's maintenance window, as it keeps that from answering.
    InItsWindow,
    /// At once.
    AtOnce,
}

impl When {
    /// For one that disturbs: whether it was asked for `now`.
    fn of(now: bool) -> Self {
        match now {
            true => Self::AtOnce,
            false => Self::InItsWindow,
        }
    }
}

/// Reads what is asked of a subject of this kind.
///
/// # Errors
/// If that cannot be asked, something of it is missing or of another type, or what
/// disturbs is to be done at once without a reason.
pub fn read(kind: Kind, body: &Body) -> Result<ActOnSubject> {
    let only = |own: &[&str]| body.only(&[&["action"], own, &["reason", "by"]].concat());
    let ask = match action(kind, body)? {
        SubjectAction::Restart => {
            only(&["now"])?;
            Ask::Restart { now: now(body)? }
        }
        SubjectAction::Reboot => {
            only(&["now"])?;
            Ask::Reboot { now: now(body)? }
        }
        SubjectAction::StopStart => {
            only(&["now"])?;
            Ask::StopStart { now: now(body)? }
        }
        SubjectAction::Resize => {
            only(&["size", "now"])?;
            Ask::Resize {
                size: body.required("size")?.into(),
                now: now(body)?,
            }
        }
        SubjectAction::Grow => {
            only(&["volume_gib"])?;
            let volume_gib = body.number("volume_gib", create::VOLUME_GIB)?;
            Ask::Grow {
                volume_gib: volume_gib.ok_or_else(|| missing("volume_gib"))?,
            }
        }
        SubjectAction::Switchover => {
            only(&["to", "now"])?;
            Ask::Switchover {
                to: to(body)?,
                now: now(body)?,
            }
        }
        SubjectAction::Failover => {
            only(&["to"])?;
            body.required("reason")?;
            Ask::Failover { to: to(body)? }
        }
        SubjectAction::SetDurability => {
            only(&["durability"])?;
            let durability = body.word("durability")?;
            Ask::SetDurability {
                durability: durability.ok_or_else(|| missing("durability"))?,
            }
        }
        SubjectAction::InstallHelper => {
            only(&[])?;
            Ask::InstallHelper {}
        }
        SubjectAction::Unfollow => {
            only(&[])?;
            Ask::Unfollow {}
        }
        SubjectAction::RotatePassword => {
            only(&["password"])?;
            Ask::RotatePassword {
                password: body.owned("password")?,
            }
        }
        SubjectAction::Rename => {
            only(&["name"])?;
            Ask::Rename {
                name: check::name("name", body.required("name")?)?,
            }
        }
        SubjectAction::SetWindow => {
            only(&["maintenance_window"])?;
            Ask::SetWindow {
                maintenance_window: body.owned("maintenance_window")?,
            }
        }
    };
    let (by, reason) = who_and_why(body)?;
    Ok(ActOnSubject { ask, reason, by })
}

/// Whether what disturbs is not to wait for the maintenance window.
fn now(body: &Body) -> Result<bool> {
    let now = body.flag("now")?;
    if now && body.value("reason").is_none() {
        let error = missing("reason");
        return Err(error.and(": what does not wait for the maintenance window says why"));
    }
    Ok(now)
}

/// The follower that is to lead, if one is named.
fn to(body: &Body) -> Result<Option<PublicId>> {
    let to = body.text("to")?;
    to.map(|text| public_id("to", text)).transpose()
}

fn action(kind: Kind, body: &Body) -> Result<SubjectAction> {
    let text = body.required("action")?;
    let all = SubjectAction::of(kind);
    let found = all.iter().find(|action| action.as_str() == text).copied();
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|action| action.as_str()).collect();
        let message = format!("of a {kind} may be asked: {}", names.join(", "));
        ApiError::unprocessable("unknown_action", message).field("action")
    })
}

/// `by` and `reason` of a body, for the timeline.
///
/// # Errors
/// If one of them is no line of text.
pub fn who_and_why(body: &Body) -> Result<(Option<String>, Option<String>)> {
    let by = body.text("by")?;
    let by = by.map(|text| check::line("by", text.trim(), 100));
    let reason = body.text("reason")?;
    let reason = reason.map(|text| check::reason("reason", text));
    Ok((by.transpose()?, reason.transpose()?))
}

/// Reads what is to be done about an incident or an operation.
///
/// # Errors
/// If there is no such action.
pub fn read_action<A: FromStr<Err = String>>(body: &Body) -> Result<ActOn<A>> {
    body.only(&["action", "reason", "by"])?;
    let action = body.required("action")?.parse().map_err(|known: String| {
        ApiError::unprocessable("unknown_action", format!("action {known}")).field("action")
    })?;
    let (by, reason) = who_and_why(body)?;
    Ok(ActOn { action, reason, by })
}

/// What is asked does not fit what it is asked of; `since` says since when nothing does, if
/// so.
pub fn not_now<A: Display>(why: String, possible: &[A], since: &str) -> ApiError {
    let names: Vec<String> = possible.iter().map(A::to_string).collect();
    let possible = match names[..] {
        [] => format!("nothing is possible {since}"),
        _ => format!("possible now: {}", names.join(", ")),
    };
    ApiError::conflict("not_now", format!("{why}; {possible}")).field("action")
}

/// Who asks, as the timeline names them.
pub fn asker(by: Option<String>) -> String {
    by.unwrap_or_else(|| "api".into())
}

async fn write_down(
    web: &Web,
    named: PublicId,
    asked: ActOnSubject,
    kind: OperationKind,
    when: When,
) -> Result<Response> {
    let mut db = web.pool.begin().await?;
    let known = find(&mut db, named).await?;
    let target = change::target(&known, kind)?;
    if kind == OperationKind::Failover {
        // Tokens before subjects, as everywhere.
        queue::hold_operation_tokens(&mut db, target.id).await?;
    }
    // From here on nobody changes it but us, so it is read again.
    changes::hold(&mut db, target.id).await?;
    let known = find(&mut db, named).await?;
    change::possible(&known, kind)?;
    // A failover has its way.
    if kind != OperationKind::Failover
        && let Some(open) = operations::in_the_way(&mut db, target.id, kind).await?
    {
        return Err(busy(target, &open));
    }
    let Wanted { params, secret } = change::wanted(&mut db, &known, &asked.ask).await?;
    let not_before = match when {
        When::AtOnce => None,
        When::InItsWindow => {
            let now = store::now(&mut db).await?;
            changes::not_before(&mut db, target.id, now).await?
        }
    };
    let new = NewOperation {
        subject: Some(target.id),
        kind,
        params,
        asked_by: asker(asked.by),
        reason: asked.reason,
        not_before,
    };
    let id = if kind == OperationKind::Failover {
        // What is at work there gives way.
        let why = new.reason.as_deref();
        let params = new.params.clone();
        operations::failover::open_failover(&mut db, target.id, params, &new.asked_by, why, None)
            .await?
            .map_err(|open| busy(target, &open))?
    } else {
        operations::open(&mut db, &new)
            .await?
            .ok_or_else(ApiError::internal)?
    };
    if let Some(plain) = secret {
        let sealed = web
            .config
            .secret_key
            .seal(&plain, &format!("{id}/secret"))?;
        operations::entrust(&mut db, id, &sealed).await?;
    }
    let shown = operation_view(&mut db, id).await?;
    db.commit().await?;
    let by = &new.asked_by;
    tracing::info!(operation = %id.public(), subject = %target, %kind, %by, "it was asked for");
    Ok((StatusCode::ACCEPTED, Json(shown)).into_response())
}

fn busy(target: PublicId, open: &Operation) -> ApiError {
    let message = format!(
        "{target} {}: {} is open; one at a time",
        open.kind.profile().words,
        open.id.public()
    );
    ApiError::conflict("busy", message)
}

async fn rename(web: &Web, named: PublicId, asked: &ActOnSubject, name: &str) -> Result<Response> {
    let mut db = web.pool.begin().await?;
    stays(&mut db, named).await?;
    match changes::rename(&mut db, named.kind, named.id, name).await {
        Ok(()) => {}
        Err(RenameError::Taken(other)) => return Err(create::taken(other)),
        Err(RenameError::Database(error)) if is_taken(&error) => return Err(taken_meanwhile()),
        Err(RenameError::Database(error)) => return Err(error.into()),
    }
    let shown = view(&mut db, named).await?;
    db.commit().await?;
    let by = asker(asked.by.clone());
    tracing::info!(id = %named, %name, %by, "it was renamed");
    Ok(Json(shown).into_response())
}

async fn set_window(
    web: &Web,
    named: PublicId,
    asked: &ActOnSubject,
    window: Option<&str>,
) -> Result<Response> {
    let window = create::window(window)?;
    let mut db = web.pool.begin().await?;
    stays(&mut db, named).await?;
    changes::set_window(&mut db, named.id, window).await?;
    let shown = view(&mut db, named).await?;
    db.commit().await?;
    let window = window.unwrap_or_default();
    let by = asker(asked.by.clone());
    tracing::info!(id = %named, %window, %by, "its maintenance window was set");
    Ok(Json(shown).into_response())
}

/// Holds a subject that is there, and not on its way out.
async fn stays(db: &mut PgConnection, named: PublicId) -> Result<()> {
    changes::hold(db, named.id).await?;
    let known = find(db, named).await?;
    match known.subject().state {
        SubjectState::Creating
        | SubjectState::Available
        | SubjectState::Uncertain
        | SubjectState::Unavailable => Ok(()),
        SubjectState::Destroying | SubjectState::Destroyed => {
            Err(change::wrong_state(known.subject()))
        }
    }
}

/// Somebody else was given the name in the moment between look and write.
fn is_taken(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn taken_meanwhile() -> ApiError {
    let message = "the name is taken: another one bears it since a moment ago; choose another";
    ApiError::conflict("name_taken", message).field("name")
}
