//! Where things can be made: regions with their zones, and the sizes of servers.

use sqlx::PgConnection;

use super::statement::{column, rows, run};
pub use crate::api::Region;
use crate::model::Cloud;

/// Says where things can be made. Zones that could not be asked for stay as they
/// were known.
pub async fn publish(
    db: &mut PgConnection,
    cloud: Cloud,
    name: &str,
    zones: Result<&[String], &str>,
) -> sqlx::Result<()> {
    let sql =
        "insert into regions (cloud, name, zones, problem) values ($1, $2, coalesce($3, '{}'), $4)
         on conflict (cloud, name) do update
         set zones = coalesce($3, regions.zones), problem = $4, published_at = now()";
    run(db, sql, (cloud, name, zones.ok(), zones.err())).await
}

/// All regions with their sizes, the local one last.
pub async fn regions(db: &mut PgConnection) -> sqlx::Result<Vec<Region>> {
    let sql = "select r.*, coalesce(s.list, '[]') as sizes
               from regions r cross join lateral (
                   select json_agg(json_build_object('name', name, 'vcpus', vcpus,
                                                     'memory_mib', memory_mib)
                                   order by vcpus, memory_mib, name) as list
                   from sizes where cloud = r.cloud) s
               order by r.cloud = 'local', r.cloud, r.name";
    rows(db, sql, ()).await
}

/// What a cloud calls its sizes, small ones first.
pub async fn sizes(db: &mut PgConnection, cloud: Cloud) -> sqlx::Result<Vec<String>> {
    let sql = "select name from sizes where cloud = $1 order by vcpus, memory_mib, name";
    column(db, sql, [cloud]).await
}
