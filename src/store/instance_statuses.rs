//! What clouds said of their instances, for all feel workers together: a cloud is
//! asked about many at once, by whoever first finds its own answer too old.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{FromRow, PgConnection};

use super::statement::{column, only_value, rows, run};
use crate::model::Cloud;

/// A question that is not answered after so long is asked again.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A region of a cloud.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which cloud.
    pub cloud: Cloud,
    /// What it calls the region.
    pub region: String,
    /// Whether servers whose region is not in the record are here.
    pub unplaced: bool,
}

/// What is known of one instance.
#[derive(Clone, Debug, FromRow)]
pub struct Known {
    /// The newest answer; `None` also if the cloud does not know the instance.
    pub status: Option<Value>,
    /// When that came; `None`: never yet.
    pub answered_at: Option<DateTime<Utc>>,
    /// How many seconds ago that was.
    pub age_s: Option<f64>,
    /// Somebody asked less than [`PATIENCE`] ago, and has no answer yet.
    pub asked: bool,
    /// Why the last question was in vain, if that is less than [`PATIENCE`] ago.
    pub problem: Option<String>,
}

/// What is known of one of those that were asked for, and which of them it is.
#[derive(FromRow)]
struct Found {
    ordinal: i64,
    #[sqlx(flatten)]
    known: Known,
}

/// What is known of these instances, in their order; `None`: nobody has asked about it.
pub async fn look(
    db: &mut PgConnection,
    wanted: &[(Place, String)],
) -> sqlx::Result<Vec<Option<Known>>> {
    let clouds: Vec<_> = wanted.iter().map(|(place, _)| place.cloud).collect();
    let regions: Vec<_> = wanted.iter().map(|(place, _)| &place.region).collect();
    let instances: Vec<_> = wanted.iter().map(|(_, id)| id).collect();
    let sql = "select ordinal, status, answered_at,
             extract(epoch from clock_timestamp() - answered_at)::float8 as age_s,
             coalesce(recent and problem is null
                 and (answered_at is null or asked_at > answered_at), false) as asked,
             case when recent then problem end as problem
         from unnest($1::text[], $2::text[], $3::text[])
             with ordinality as wanted (cloud, region, instance_id, ordinal)
         join instance_statuses using (cloud, region, instance_id),
         lateral (select asked_at > clock_timestamp() - make_interval(secs => $4)) as of (recent)";
    let values = (clouds, regions, instances, PATIENCE.as_secs_f64());
    let rows: Vec<Found> = rows(db, sql, values).await?;
    let each = rows.into_iter().map(|row| (row.ordinal, row.known));
    let mut found: HashMap<i64, Known> = each.collect();
    Ok((1..).zip(wanted).map(|(n, _)| found.remove(&n)).collect())
}

/// Takes it on oneself to ask about this instance, if its answer is older than
/// `oldest`, and about at most `most` in all: those whose answers are the oldest.
/// Nothing is given while somebody else does the same, or has it in hand. To be called
/// in a transaction of its own.
///
/// One at a time may take on something in a region: of many who come together, each
/// then has a full load, and the last one the rest.
pub async fn claim(
    db: &mut PgConnection,
    place: &Place,
    instance_id: &str,
    oldest: Duration,
    most: u16,
) -> sqlx::Result<Vec<String>> {
    let sql = "select pg_try_advisory_xact_lock(hashtext('instance_statuses'), hashtext($1 || '/' || $2))";
    let mine: bool = only_value(db, sql, (place.cloud, &place.region)).await?;
    if !mine {
        return Ok(vec![]);
    }
    // Whoever is the first to miss its row brings those of all the others.
    let values = (place.cloud, &place.region, instance_id, place.unplaced);
    let sql = "insert into instance_statuses (cloud, region, instance_id)
               select $1, $2, instance_id from (
                   select instance_id from servers join subjects using (id)
                   where forgotten_at is null and cloud = $1 and instance_id is not null
                       and (region = $2 or (region is null and $4))
                   union select $3) as wanted
               where not exists (
                   select from instance_statuses
                   where cloud = $1 and region = $2 and instance_id = $3)
               on conflict do nothing";
    run(db, sql, values).await?;
    // What is only half as old comes along where there is room: it costs nothing, and
    // keeps together what is asked about together.
    let values = (
        place.cloud,
        &place.region,
        instance_id,
        oldest.as_secs_f64(),
        PATIENCE.as_secs_f64(),
        i64::from(most),
    );
    let sql = "with old as materialized (
                   select instance_id, answered_at from instance_statuses
                   where cloud = $1 and region = $2
                       and (asked_at is null or asked_at <= answered_at
                           or asked_at < clock_timestamp() - make_interval(secs => $5))
                       and (answered_at is null
                           or answered_at < clock_timestamp() - make_interval(secs =>
                               case when instance_id = $3 then $4 else $4 / 2 end))),
               taken as (
                   select instance_id from instance_statuses
                   where cloud = $1 and region = $2
                       and instance_id in (
                           select instance_id from old
                           where exists (select from old where instance_id = $3)
                           order by instance_id <> $3, answered_at nulls first, instance_id
                           limit $6)
                   for update skip locked)
               update instance_statuses as row
               set asked_at = clock_timestamp(), problem = null
               from taken
               where row.cloud = $1 and row.region = $2 and row.instance_id = taken.instance_id
               returning row.instance_id";
    column(db, sql, values).await
}

/// The cloud has answered about these: with a status, by instance, or that it does not
/// know them. Rows that belong to no live server go. Gives the time of the answer.
pub async fn answered(
    db: &mut PgConnection,
    place: &Place,
    asked: &[String],
    statuses: &Map<String, Value>,
) -> sqlx::Result<DateTime<Utc>> {
    let values = (
        place.cloud,
        &place.region,
        asked,
        Value::Object(statuses.clone()),
    );
    let sql = "with gone as (
                   delete from instance_statuses as row
                   where cloud = $1 and region = $2 and instance_id = any($3)
                       and not exists (
                           select from servers join subjects using (id)
                           where forgotten_at is null and servers.cloud = $1
                               and servers.instance_id = row.instance_id)
                   returning instance_id),
               noted as (
                   update instance_statuses
                   set status = $4 -> instance_id, answered_at = clock_timestamp(), problem = null
                   where cloud = $1 and region = $2 and instance_id = any($3)
                       and instance_id not in (select instance_id from gone))
               select clock_timestamp()";
    only_value(db, sql, values).await
}

/// The cloud gave no answer about these; what was known stays.
pub async fn failed(
    db: &mut PgConnection,
    place: &Place,
    asked: &[String],
    problem: &str,
) -> sqlx::Result<()> {
    let sql = "update instance_statuses set problem = $4
               where cloud = $1 and region = $2 and instance_id = any($3)";
    run(db, sql, (place.cloud, &place.region, asked, problem)).await
}
