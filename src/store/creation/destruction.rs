//! Subjects that drover made are taken away again.

use sqlx::PgConnection;

use super::followers_of;
use crate::model::{Kind, OperationId, OperationKind, Origin, State, SubjectId};
use crate::store::operations::{self, NewOperation};
use crate::store::queue;
use crate::store::statement::{only_value, row, value};
use crate::store::subjects::resources_on;

/// Whether the cloud may have been asked for this server: its creation came to the
/// step of this number.
pub async fn was_asked_for(
    db: &mut PgConnection,
    server: SubjectId,
    step: u16,
) -> sqlx::Result<bool> {
    let sql = "select exists (select from operations
                              where subject_id = $1 and kind = 'create_server' and step >= $2)";
    only_value(db, sql, (server, i16::try_from(step).unwrap_or(i16::MAX))).await
}

/// Whether anything may have been made of a resource: its creation came further than
/// to wait for its server.
pub async fn was_begun(db: &mut PgConnection, resource: SubjectId) -> sqlx::Result<bool> {
    let sql = "select exists (select from operations
                              where subject_id = $1 and step >= 1
                                and kind in ('create_resource', 'create_follower'))";
    only_value(db, sql, [resource]).await
}

/// Why a subject is not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// There is no such live subject.
    #[error("no such subject")]
    NotFound,
    /// It was adopted: drover forgets it and never destroys it.
    #[error("it was adopted")]
    Adopted,
    /// A server still has resources: this many.
    #[error("the server still has {0} resources")]
    HasResources(i64),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes a subject down as `destroying`, with the operation that takes it away.
/// What was being done to it is given up. Asked again, it gives the operation that
/// there is. Call it in a transaction.
///
/// # Errors
/// See [`DestroyError`]; then roll back.
pub async fn destroy(
    db: &mut PgConnection,
    kind: Kind,
    id: SubjectId,
    asked_by: &str,
) -> Result<OperationId, DestroyError> {
    queue::hold_operation_tokens(db, id).await?;
    queue::hold_token(db, queue::Token::Subject(id)).await?;
    let sql = "select state, origin from subjects
               where id = $1 and kind = $2 and forgotten_at is null for update";
    let found: Option<(State, Origin)> = row(db, sql, (id, kind)).await?;
    let (state, origin) = found.ok_or(DestroyError::NotFound)?;
    if origin != Origin::Created {
        return Err(DestroyError::Adopted);
    }
    let what = match kind {
        Kind::Server => OperationKind::DestroyServer,
        Kind::Resource => OperationKind::DestroyResource,
    };
    let open = operations::open_of(db, id).await?;
    if let Some(open) = open.iter().find(|open| open.kind == what) {
        return Ok(open.id);
    }
    let resources = resources_on(db, id).await?;
    if resources > 0 {
        return Err(DestroyError::HasResources(resources));
    }
    // What follows it would follow nobody.
    for follower in followers_of(db, id).await? {
        match Box::pin(destroy(db, Kind::Resource, follower, asked_by)).await {
            Ok(_) | Err(DestroyError::NotFound) => {}
            Err(e) => return Err(e),
        }
    }
    operations::cancel_open(db, id, "it is to be destroyed").await?;
    let why = "it is to be destroyed";
    operations::turn(db, id, state, State::Destroying, why, asked_by).await?;
    let opened = operations::open(db, &NewOperation::new(id, what, asked_by)).await?;
    opened.ok_or_else(|| sqlx::Error::Protocol("two operations for one subject".into()).into())
}

/// Whether a server was made for a plan's resources and has none left.
pub async fn is_left_alone(db: &mut PgConnection, server: SubjectId) -> sqlx::Result<bool> {
    let sql = "select s.id from subjects s join servers v using (id)
               where s.id = $1 and s.origin = 'created' and s.forgotten_at is null
                 and s.state <> 'destroying' and v.for_plan is not null
               for update of s";
    let found: Option<SubjectId> = value(db, sql, [server]).await?;
    if found.is_none() {
        return Ok(false);
    }
    Ok(resources_on(db, server).await? == 0)
}

/// Whether a server has live resources beside this one.
pub async fn others_on(
    db: &mut PgConnection,
    server: SubjectId,
    resource: SubjectId,
) -> sqlx::Result<bool> {
    let sql = "select exists (
                   select from resources r join subjects s using (id)
                   where r.server_id = $1 and r.id <> $2 and s.forgotten_at is null)";
    only_value(db, sql, (server, resource)).await
}
