//! Orphans: what a cloud has that bears this deployment's mark and belongs to no
//! server of the record. They cost money and are nobody's; a person decides.

use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::statement::{rows, run};
use crate::api;
use crate::model::{Cloud, State, SubjectId};

/// An orphan as the last reconciliation saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// `instance` or `volume`.
    pub sort: &'static str,
    /// What the cloud calls it.
    pub id: String,
    /// What is known of it: `how` it is, whose `mark` it bears and `why` it is an
    /// orphan.
    pub detail: Value,
}

/// Writes down all that a region has of them: those that were not seen any more are
/// taken out. Gives the ids of the new ones. Call it in a transaction.
pub async fn replace(
    db: &mut PgConnection,
    cloud: Cloud,
    region: &str,
    found: &[Orphan],
) -> sqlx::Result<Vec<String>> {
    let ids: Vec<&str> = found.iter().map(|orphan| orphan.id.as_str()).collect();
    let sql = "delete from orphans where cloud = $1 and region = $2 and id <> all($3)";
    run(db, sql, (cloud, region, &ids)).await?;
    let sorts: Vec<&str> = found.iter().map(|orphan| orphan.sort).collect();
    let details: Vec<&Value> = found.iter().map(|orphan| &orphan.detail).collect();
    let sql = "insert into orphans (cloud, region, sort, id, detail)
               select $1, $2, o.sort, o.id, o.detail
               from unnest($3::text[], $4::text[], $5::jsonb[]) as o (sort, id, detail)
               on conflict (cloud, region, id) do update
               set sort = excluded.sort, detail = excluded.detail, last_seen_at = now()
               -- only a row that was there has ever been locked
               returning id, xmax = 0";
    let rows: Vec<(String, bool)> = rows(db, sql, (cloud, region, sorts, &ids, details)).await?;
    let new = rows.into_iter().filter(|(_, new)| *new);
    Ok(new.map(|(id, _)| id).collect())
}

/// All of them, the oldest first.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<api::Orphan>> {
    let sql = "select * from orphans order by first_seen_at, cloud, region, id";
    rows(db, sql, ()).await
}

/// A server, as far as it matters for what a cloud has.
#[derive(Clone, Debug, FromRow)]
pub struct Entry {
    /// Its id, which is the mark of what was made for it.
    pub id: SubjectId,
    /// Its name.
    pub name: String,
    /// Its region, if drover made it.
    pub region: Option<String>,
    /// Its instance.
    #[sqlx(rename = "instance_id")]
    pub instance: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Whether it is in the herd.
    pub live: bool,
    /// Whether it left the herd only minutes ago: clouds take their time.
    pub just_left: bool,
    /// Whether an operation is open that may be changing what it has.
    pub busy: bool,
}

/// All live servers of a cloud, and of those that have left the herd these.
pub async fn servers(
    db: &mut PgConnection,
    cloud: Cloud,
    also: &[SubjectId],
) -> sqlx::Result<Vec<Entry>> {
    let sql =
        "select s.id, s.name, v.region, v.instance_id, s.state, s.forgotten_at is null as live,
                coalesce(s.forgotten_at > now() - interval '5 minutes', false) as just_left,
                exists (select from operations o
                        where o.subject_id = s.id and o.state = 'open') as busy
         from subjects s join servers v using (id)
         where v.cloud = $1 and (s.forgotten_at is null or s.id = any($2))
         order by s.id";
    rows(db, sql, (cloud, also)).await
}

/// Counts them in every region that was ever published, noughts included.
pub async fn count(db: &mut PgConnection) -> sqlx::Result<Vec<api::OrphanCount>> {
    let sql = "select r.cloud, r.name as region, s.sort, count(o.id)
               from regions r cross join (values ('instance'), ('volume')) s (sort)
               left join orphans o on (o.cloud, o.region, o.sort) = (r.cloud, r.name, s.sort)
               group by 1, 2, 3 order by 1, 2, 3";
    rows(db, sql, ()).await
}
