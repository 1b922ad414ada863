//! What a person changes about a live subject in the record, and what has to be
//! known before something is changed in the world.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::statement::{column, run, value};
use crate::model::{Kind, PublicId, SubjectId, Window};

/// Keeps a subject as it is until the transaction ends: nobody destroys it, and no
/// other change of it is asked for meanwhile.
pub async fn hold(db: &mut PgConnection, id: SubjectId) -> sqlx::Result<()> {
    run(db, "select 1 from subjects where id = $1 for update", [id]).await
}

/// Why a subject was not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// Another live subject of its kind bears the name.
    #[error("the name is taken")]
    Taken(PublicId),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Gives a live subject another name. Call it in a transaction.
///
/// # Errors
/// See [`RenameError`]; then roll back.
pub async fn rename(
    db: &mut PgConnection,
    kind: Kind,
    id: SubjectId,
    name: &str,
) -> Result<(), RenameError> {
    // Two who want the same name: the second one waits, and then finds the first. A
    // subject that is just being inserted under it still ends at the unique index.
    super::one_at_a_time(db, &format!("name {kind} {name}")).await?;
    let sql = "select id from subjects
               where kind = $1 and name = $2 and id <> $3 and forgotten_at is null";
    let taken: Option<SubjectId> = value(db, sql, (kind, name, id)).await?;
    if let Some(taken) = taken {
        return Err(RenameError::Taken(PublicId::new(kind, taken)));
    }
    let sql = "update subjects set name = $2 where id = $1 and forgotten_at is null";
    run(db, sql, (id, name)).await?;
    Ok(())
}

/// Sets when a resource may be disturbed; `None`: in the deployment's own window.
pub async fn set_window(
    db: &mut PgConnection,
    resource: SubjectId,
    window: Option<Window>,
) -> sqlx::Result<()> {
    let sql = "update resources set maintenance_window = $2 where id = $1";
    run(db, sql, (resource, window)).await
}

/// From when a subject may be disturbed, if not now: when its window opens. That of a
/// server is its resource's if it has exactly one; those of several cannot all be kept,
/// so then it is the deployment's.
pub async fn not_before(
    db: &mut PgConnection,
    subject: SubjectId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "select r.maintenance_window from resources r join subjects s using (id)
               where (r.id = $1 or r.server_id = $1) and s.forgotten_at is null
               limit 2";
    let set: Vec<Option<Window>> = column(db, sql, [subject]).await?;
    let own = match set[..] {
        [own] => own,
        _ => None,
    };
    let opens = own.unwrap_or_default().next(now).0;
    Ok((opens > now).then_some(opens))
}
