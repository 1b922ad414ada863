//! What a person asks of a server or a resource: done in the record at once, or
//! written down as an operation.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;

use super::body::{Body, missing};
use super::change::{self, Wanted};
use super::error::{ApiError, Result};
use super::operations::operation_view;
use super::params::Named;
use super::subjects::{find, view};
use super::{Web, check, create};
use crate::model::{
    Kind, Operation, OperationKind, PublicId, State as SubjectState, SubjectAction,
};
use crate::store;
use crate::store::changes::{self, RenameError};
use crate::store::operations::{self, NewOperation};
use crate::store::queue;

/// `POST …/actions` of a server or a resource.
pub async fn act(State(web): State<Web>, named: Named, body: Body) -> Result<Response> {
    let action = action(named.kind, &body)?;
    let asked = match action {
        SubjectAction::Rename => return rename(&web, named, &body).await,
        SubjectAction::SetWindow => return set_window(&web, named, &body).await,
        SubjectAction::Restart => {
            body.only(&["action", "now", "reason", "by"])?;
            Asked::disturbing(OperationKind::Restart, &body)?
        }
        SubjectAction::Reboot => {
            body.only(&["action", "now", "reason", "by"])?;
            Asked::disturbing(OperationKind::Reboot, &body)?
        }
        SubjectAction::StopStart => {
            body.only(&["action", "now", "reason", "by"])?;
            Asked::disturbing(OperationKind::StopStart, &body)?
        }
        SubjectAction::Resize => {
            body.only(&["action", "size", "now", "reason", "by"])?;
            body.required("size")?;
            Asked::disturbing(OperationKind::Resize, &body)?
        }
        SubjectAction::Grow => {
            body.only(&["action", "volume_gib", "reason", "by"])?;
            if body.number("volume_gib", create::VOLUME_GIB)?.is_none() {
                return Err(missing("volume_gib"));
            }
            Asked::at_once(OperationKind::Grow, &body)?
        }
        SubjectAction::Switchover => {
            body.only(&["action", "to", "now", "reason", "by"])?;
            Asked::disturbing(OperationKind::Switchover, &body)?
        }
        SubjectAction::Failover => {
            body.only(&["action", "to", "reason", "by"])?;
            body.required("reason")?;
            Asked::at_once(OperationKind::Failover, &body)?
        }
        SubjectAction::SetDurability => {
            body.only(&["action", "durability", "reason", "by"])?;
            body.required("durability")?;
            Asked::at_once(OperationKind::SetDurability, &body)?
        }
        SubjectAction::Unfollow => {
            body.only(&["action", "reason", "by"])?;
            Asked::at_once(OperationKind::Unfollow, &body)?
        }
        SubjectAction::RotatePassword => {
            body.only(&["action", "password", "reason", "by"])?;
            Asked::at_once(OperationKind::RotatePassword, &body)?
        }
    };
    write_down(&web, named, &body, asked).await
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

/// An operation that somebody asks for.
struct Asked {
    kind: OperationKind,
    by: String,
    reason: Option<String>,
    /// Whether it keeps its subject from answering, and so waits for its window.
    waits: bool,
}

impl Asked {
    /// What disturbs waits for the window, unless it is urgent: then it breaks it,
    /// and says why.
    fn disturbing(kind: OperationKind, body: &Body) -> Result<Self> {
        let urgent = body.flag("now")?;
        let asked = Self::at_once(kind, body)?;
        if urgent && asked.reason.is_none() {
            let error = missing("reason");
            return Err(error.and(": what does not wait for the maintenance window says why"));
        }
        Ok(Self {
            waits: !urgent,
            ..asked
        })
    }

    fn at_once(kind: OperationKind, body: &Body) -> Result<Self> {
        let (by, reason) = who_and_why(body)?;
        Ok(Self {
            kind,
            by,
            reason,
            waits: false,
        })
    }
}

/// `by` and `reason` of a body, for the timeline.
///
/// # Errors
/// If one of them is no line of text.
pub fn who_and_why(body: &Body) -> Result<(String, Option<String>)> {
    let by = body.text("by")?;
    let by = by.map(|text| check::line("by", text.trim(), 100));
    let reason = body.text("reason")?;
    let reason = reason.map(|text| check::reason("reason", text));
    Ok((
        by.transpose()?.unwrap_or_else(|| "api".into()),
        reason.transpose()?,
    ))
}

async fn write_down(web: &Web, named: Named, body: &Body, asked: Asked) -> Result<Response> {
    let mut db = web.pool.begin().await?;
    let known = find(&mut db, named).await?;
    let target = change::target(&known, asked.kind)?;
    if asked.kind == OperationKind::Failover {
        // Tokens before subjects, as everywhere.
        queue::hold_operation_tokens(&mut db, target.id).await?;
    }
    // From here on nobody changes it but us, so it is read again.
    changes::hold(&mut db, target.id).await?;
    let known = find(&mut db, named).await?;
    change::possible(&known, asked.kind)?;
    let open = operations::open_of(&mut db, target.id).await?;
    if let Some(open) = open.filter(|_| asked.kind != OperationKind::Failover) {
        return Err(busy(target, &open));
    }
    let Wanted { params, secret } = change::wanted(&mut db, &known, asked.kind, body).await?;
    let not_before = if asked.waits {
        let now = store::now(&mut db).await?;
        changes::not_before(&mut db, target.id, now).await?
    } else {
        None
    };
    let new = NewOperation {
        subject: Some(target.id),
        kind: asked.kind,
        params,
        asked_by: asked.by,
        reason: asked.reason,
        not_before,
    };
    let id = if new.kind == OperationKind::Failover {
        // What is at work there gives way.
        let why = new.reason.as_deref();
        let params = new.params.clone();
        operations::failover::open_failover(&mut db, target.id, params, &new.asked_by, why)
            .await?
            .map_err(|open| busy(target, &open))?
    } else {
        operations::open(&mut db, &new)
            .await?
            .ok_or_else(ApiError::internal)?
    };
    if let Some(plain) = secret {
        let sealed = web.config.secret_key.seal(&plain, &format!("{id}/secret"));
        let sealed = sealed.map_err(|error| {
            tracing::error!(%error, "a secret could not be sealed");
            ApiError::internal()
        })?;
        operations::entrust(&mut db, id, &sealed).await?;
    }
    let shown = operation_view(&mut db, id).await?;
    db.commit().await?;
    let (kind, by) = (new.kind, &new.asked_by);
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

async fn rename(web: &Web, named: Named, body: &Body) -> Result<Response> {
    body.only(&["action", "name", "reason", "by"])?;
    let name = check::name("name", body.required("name")?)?;
    let (by, _) = who_and_why(body)?;
    let mut db = web.pool.begin().await?;
    stays(&mut db, named).await?;
    match changes::rename(&mut db, named.kind, named.id, &name).await {
        Ok(()) => {}
        Err(RenameError::Taken(other)) => return Err(create::taken(other)),
        Err(RenameError::Database(error)) if is_taken(&error) => return Err(taken_meanwhile()),
        Err(RenameError::Database(error)) => return Err(error.into()),
    }
    let shown = view(&mut db, named).await?;
    db.commit().await?;
    let id = PublicId::new(named.kind, named.id);
    tracing::info!(%id, %name, %by, "it was renamed");
    Ok(Json(shown).into_response())
}

async fn set_window(web: &Web, named: Named, body: &Body) -> Result<Response> {
    body.only(&["action", "maintenance_window", "reason", "by"])?;
    let window = create::window(body)?;
    let (by, _) = who_and_why(body)?;
    let mut db = web.pool.begin().await?;
    stays(&mut db, named).await?;
    changes::set_window(&mut db, named.id, window).await?;
    let shown = view(&mut db, named).await?;
    db.commit().await?;
    let id = PublicId::new(named.kind, named.id);
    let window = window.unwrap_or_default();
    tracing::info!(%id, %window, %by, "its maintenance window was set");
    Ok(Json(shown).into_response())
}

/// Holds a subject that is there, and not on its way out.
async fn stays(db: &mut PgConnection, named: Named) -> Result<()> {
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
