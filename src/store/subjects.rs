//! Subjects, with the servers and resources beside them.

mod adopting;
mod row;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};

use crate::model::{Kind, Origin, PublicId, State, SubjectId};

use super::statement::{only_value, row, rows, touched, value};
pub use adopting::*;
use row::COLUMNS;
pub use row::{Known, SubjectRow};

/// What became of a subject that was to be written down.
pub(super) enum Inserted {
    New(SubjectId),
    NoTier,
    NameTaken(SubjectId),
}

/// Writes a new subject down, as it begins; its server or resource follows.
pub(super) async fn insert(
    db: &mut PgConnection,
    kind: Kind,
    name: &str,
    tier: &str,
    (state, origin): (State, Origin),
) -> sqlx::Result<Inserted> {
    let known: Option<i32> = value(db, "select 1 from tiers where name = $1", [tier]).await?;
    if known.is_none() {
        return Ok(Inserted::NoTier);
    }
    let id = SubjectId::generate();
    let sql = "insert into subjects (id, kind, name, state, origin, tier)
               values ($1, $2, $3, $4, $5, $6)
               on conflict (kind, name) where forgotten_at is null do nothing";
    let inserted = touched(db, sql, (id, kind, name, state, origin, tier)).await?;
    if inserted == 1 {
        return Ok(Inserted::New(id));
    }
    let sql = "select id from subjects where kind = $1 and name = $2 and forgotten_at is null";
    let taken = only_value(db, sql, (kind, name)).await?;
    Ok(Inserted::NameTaken(taken))
}

/// How many live resources a server has.
pub(super) async fn resources_on(db: &mut PgConnection, server: SubjectId) -> sqlx::Result<i64> {
    let sql = "select count(*) from resources r join subjects s using (id)
               where r.server_id = $1 and s.forgotten_at is null";
    only_value(db, sql, [server]).await
}

/// Reads many live subjects at once; those that are gone are left out.
pub async fn load(db: &mut PgConnection, ids: &[SubjectId]) -> sqlx::Result<Vec<SubjectRow>> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} where s.id = any($1) and s.forgotten_at is null"
    ));
    rows(db, sql, [ids]).await
}

/// Reads one live subject, without secrets.
pub async fn find(db: &mut PgConnection, kind: Kind, id: SubjectId) -> sqlx::Result<Option<Known>> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} where s.id = $1 and s.kind = $2 and s.forgotten_at is null"
    ));
    let row: Option<SubjectRow> = row(db, sql, (id, kind)).await?;
    row.map(SubjectRow::without_secrets).transpose()
}

/// Whether drover has destroyed this subject.
pub async fn was_destroyed(db: &mut PgConnection, kind: Kind, id: SubjectId) -> sqlx::Result<bool> {
    let sql = "select exists (select from subjects
                              where id = $1 and kind = $2 and state = 'destroyed')";
    only_value(db, sql, (id, kind)).await
}

/// Whose something is: id and name, as people know them; `None`: no subject's.
#[derive(Clone, Debug)]
pub struct Whose(pub Option<(PublicId, String)>);

/// Out of `subject_id`, `subject_kind` and `subject_name`.
impl FromRow<'_, PgRow> for Whose {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let kind: Option<Kind> = row.try_get("subject_kind")?;
        let id = kind.zip(row.try_get("subject_id")?);
        let id = id.map(|(kind, id)| PublicId::new(kind, id));
        Ok(Self(id.zip(row.try_get("subject_name")?)))
    }
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only resources on this server.
    pub server: Option<SubjectId>,
    /// Only behind this subject.
    pub after: Option<SubjectId>,
    /// At most this many.
    pub limit: i64,
}

/// Lists live subjects of a kind by id, without secrets.
pub async fn list(db: &mut PgConnection, kind: Kind, page: &Page) -> sqlx::Result<Vec<Known>> {
    let rows: Vec<SubjectRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS}
         where s.kind = $1 and s.forgotten_at is null
           and ($2::text is null or s.state = $2)
           and ($3::text is null or r.server_id = $3)
           and ($4::text is null or s.id > $4)
           and ($6::text is null or s.name = $6)
         order by s.id
         limit $5"
    )))
    .bind(kind)
    .bind(page.state)
    .bind(page.server)
    .bind(page.after)
    .bind(page.limit)
    .bind(&page.name)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(SubjectRow::without_secrets).collect()
}

/// Live subjects by kind and state.
pub async fn count_by_state(db: &mut PgConnection) -> sqlx::Result<Vec<(String, String, i64)>> {
    let sql = "select kind, state, count(*) from subjects where forgotten_at is null
               group by 1, 2 order by 1, 2";
    rows(db, sql, ()).await
}
