//! Where things can be made: regions with their zones, and the sizes of servers.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::statement::{Bind, Statement};
use crate::model::Cloud;

/// A region of a cloud.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Region {
    /// Which cloud.
    pub cloud: Cloud,
    /// What the cloud calls it.
    pub name: String,
    /// Its availability zones, as far as they are known.
    pub zones: Vec<String>,
    /// Why the cloud could not be asked for its zones.
    pub problem: Option<String>,
    /// When a worker said so last.
    pub published_at: DateTime<Utc>,
}

/// Says where things can be made. Zones that could not be asked for stay as they
/// were known.
pub async fn publish(
    db: &mut PgConnection,
    cloud: Cloud,
    name: &str,
    zones: Result<&[String], &str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into regions (cloud, name, zones, problem) values ($1, $2, coalesce($3, '{}'), $4)
         on conflict (cloud, name) do update
         set zones = coalesce($3, regions.zones), problem = $4, published_at = now()",
    )
    .bind_all((cloud, name, zones.ok(), zones.err()))
    .run(db)
    .await
}

/// All regions, the local one last.
pub async fn regions(db: &mut PgConnection) -> sqlx::Result<Vec<Region>> {
    sqlx::query_as("select * from regions order by cloud = 'local', cloud, name")
        .fetch_all(db)
        .await
}

/// A size of servers.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Size {
    /// Of which cloud.
    pub cloud: Cloud,
    /// What the cloud calls it.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: i32,
    /// Memory in MiB.
    pub memory_mib: i32,
}

/// All sizes, small ones first.
pub async fn sizes(db: &mut PgConnection) -> sqlx::Result<Vec<Size>> {
    sqlx::query_as("select * from sizes order by cloud, vcpus, memory_mib, name")
        .fetch_all(db)
        .await
}
