//! The days of the observations: made ahead, analysed as they fill, dropped when they
//! are old.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::statement::{column, rows, run};

/// How many days ahead partitions stand ready.
const AHEAD: i32 = 3;

/// Smaller partitions are read at a glance, whatever the planner takes them for.
const FEWEST_PAGES: i32 = 10;

/// Makes today's and the next days' partitions; tells how many were missing.
pub async fn create_ahead(db: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query_scalar::<_, i64>(
        "select count(*) filter (where create_observations_day((now() at time zone 'UTC')::date + n))
         from generate_series(0, $1) as n",
    )
    .bind(AHEAD)
    .fetch_one(db)
    .await
    .map(i64::unsigned_abs)
}

/// Has the planner's figures taken anew of each partition that has doubled since they
/// were taken last; returns those. autovacuum does so too, a minute or more into a new
/// day. An empty one is left alone: figures that say so are worse than none. They are
/// taken again where they were taken while the first rows were not committed yet.
pub async fn analyze_grown(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let sql = "select c.oid::regclass::text
               from pg_inherits i
               join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'observations'::regclass
                 and pg_relation_size(c.oid) / current_setting('block_size')::bigint
                     > case when c.reltuples > 0 then greatest(2 * c.relpages, $1) else $1 end";
    let grown: Vec<String> = column(db, sql, [FEWEST_PAGES]).await?;
    for name in &grown {
        // `regclass` quotes what needs it.
        let sql = sqlx::AssertSqlSafe(format!("analyze {name}"));
        run(db, sql, ()).await?;
    }
    Ok(grown)
}

/// Drops the partitions of days that ended more than `keep_days` days ago;
/// returns those days.
pub async fn drop_old(db: &mut PgConnection, keep_days: u32) -> sqlx::Result<Vec<NaiveDate>> {
    let sql = "select c.relname::text, to_date(right(c.relname, 8), 'YYYYMMDD')
         from pg_inherits i
         join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'observations'::regclass
           and c.relname ~ '^observations_[0-9]{8}$'
           and to_date(right(c.relname, 8), 'YYYYMMDD') < (now() at time zone 'UTC')::date - $1";
    let old: Vec<(String, NaiveDate)> =
        rows(db, sql, [i32::try_from(keep_days).unwrap_or(i32::MAX)]).await?;
    for (name, _) in &old {
        // The name was matched against letters and digits above.
        let sql = sqlx::AssertSqlSafe(format!("drop table {name}"));
        run(db, sql, ()).await?;
    }
    Ok(old.into_iter().map(|(_, day)| day).collect())
}
