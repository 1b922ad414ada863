//! Game days: asked for, begun once, taken back.

mod report;

use serde_json::json;
use sqlx::PgConnection;

use super::operations::{self, NewOperation};
use super::statement::{column, only_value, rows, run, touched};
use crate::model::{Gameday, Harm, OperationId, OperationKind, SubjectId};

pub use report::{Report, Stage, report};

/// One that is wanted.
#[derive(Clone, Debug)]
pub struct NewGameday {
    /// What is to be broken.
    pub subject: SubjectId,
    /// How.
    pub how: Harm,
    /// After how many seconds it is taken back.
    pub for_s: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub asked_by: String,
}

/// Writes one down, with its operation. `None` if the subject has an open operation.
/// Call it in a transaction.
pub async fn open(db: &mut PgConnection, new: &NewGameday) -> sqlx::Result<Option<OperationId>> {
    let operation = NewOperation {
        params: json!({"how": new.how, "for_s": new.for_s}),
        reason: Some(new.reason.clone()),
        ..NewOperation::new(new.subject, OperationKind::Gameday, &new.asked_by)
    };
    let Some(id) = operations::open(db, &operation).await? else {
        return Ok(None);
    };
    let values = (
        id,
        new.subject,
        new.how,
        new.for_s.map(|s| i32::try_from(s).unwrap_or(i32::MAX)),
    );
    let sql = "insert into gamedays (operation_id, subject_id, how, for_s) values ($1, $2, $3, $4)";
    run(db, sql, values).await?;
    Ok(Some(id))
}

/// Which of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Only this one.
    pub id: Option<OperationId>,
    /// Only of this subject.
    pub subject: Option<SubjectId>,
    /// Only those asked for before this one.
    pub before: Option<OperationId>,
    /// At most this many.
    pub limit: i64,
}

/// Lists them, newest first.
pub async fn list(db: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Gameday>> {
    let sql = "select g.*, s.kind as subject_kind, s.name, o.reason, o.asked_by, o.opened_at,
                      o.state = 'open' as open
               from gamedays g
               join operations o on o.id = g.operation_id
               join subjects s on s.id = g.subject_id
               where ($1::text is null or g.operation_id = $1)
                 and ($2::text is null or g.subject_id = $2)
                 and ($3::text is null or g.operation_id < $3)
               order by g.operation_id desc limit $4";
    rows(db, sql, (page.id, page.subject, page.before, page.limit)).await
}

/// Reads one.
pub async fn load(db: &mut PgConnection, id: OperationId) -> sqlx::Result<Option<Gameday>> {
    let page = Page {
        id: Some(id),
        limit: 1,
        ..Page::default()
    };
    Ok(list(db, &page).await?.pop())
}

/// Notes that it is being broken now, and when it is to be taken back. `false`: somebody
/// else has begun it before. It must be committed before anything is broken.
pub async fn begin(db: &mut PgConnection, id: OperationId) -> sqlx::Result<bool> {
    let sql = "update gamedays
               set broken_at = clock_timestamp(),
                   heal_at = clock_timestamp() + for_s * interval '1 s'
               where operation_id = $1 and broken_at is null";
    let touched = touched(db, sql, [id]).await?;
    Ok(touched == 1)
}

/// Notes why it could not be broken. What may be half done of it is taken back at once.
pub async fn fail(db: &mut PgConnection, id: OperationId, why: &str) -> sqlx::Result<()> {
    let sql =
        "update gamedays set problem = $2, heal_at = least(heal_at, case when for_s is not null
             and broken_at is not null then now() end)
         where operation_id = $1";
    run(db, sql, (id, why)).await
}

/// Has it taken back now: by the clock's next look at the latest.
pub async fn heal_now(db: &mut PgConnection, id: OperationId) -> sqlx::Result<()> {
    let sql = "update gamedays set heal_at = least(heal_at, now())
               where operation_id = $1 and healed_at is null";
    run(db, sql, [id]).await?;
    ask_for_healing(db).await
}

/// Those that are to be taken back by now, oldest first.
pub async fn due(db: &mut PgConnection) -> sqlx::Result<Vec<Gameday>> {
    let sql = "select operation_id from gamedays
               where heal_at <= now() and healed_at is null and broken_at is not null
               order by heal_at limit 100";
    let ids: Vec<OperationId> = column(db, sql, ()).await?;
    let mut all = Vec::new();
    for id in ids {
        all.extend(load(db, id).await?);
    }
    Ok(all)
}

/// Notes that it was taken back.
pub async fn healed(db: &mut PgConnection, id: OperationId) -> sqlx::Result<()> {
    let sql = "update gamedays set healed_at = clock_timestamp()
               where operation_id = $1 and healed_at is null";
    run(db, sql, [id]).await
}

/// Opens the operation that takes back what is due, if anything is and none is open. It
/// is the deployment's own: a subject's could have to wait for another one's, and that
/// for this. Tells whether it did.
pub async fn heal_what_is_due(db: &mut PgConnection) -> sqlx::Result<bool> {
    let sql = "select exists (select from gamedays
                        where heal_at <= now() and healed_at is null and broken_at is not null)";
    let any: bool = only_value(db, sql, ()).await?;
    if any {
        ask_for_healing(db).await?;
    }
    Ok(any)
}

async fn ask_for_healing(db: &mut PgConnection) -> sqlx::Result<()> {
    let heal = NewOperation {
        params: json!({"heal": true}),
        ..NewOperation::new(None, OperationKind::Gameday, "drover")
    };
    operations::open(db, &heal).await.map(drop)
}
