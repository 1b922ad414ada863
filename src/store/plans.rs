//! Plans: what can be bought.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::model::{Cloud, Durability, IncidentKind, SubjectId};

/// A plan.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What it is, in one line.
    pub title: String,
    /// Whether its resources share servers.
    pub shared: bool,
    /// Whose rules its subjects go by.
    pub tier: String,
    /// By cloud, the sizes of its servers; the first that the cloud has room for.
    #[sqlx(json)]
    pub sizes: Json<BTreeMap<String, Vec<String>>>,
    /// GiB of a server's data volume.
    pub volume_gib: i32,
    /// Its type.
    pub volume_type: String,
    /// Connections that a customer may have open.
    pub connections: i32,
    /// GiB that a database should have at most.
    pub storage_gib: i32,
    /// Most resources on one server.
    pub per_server: i32,
    /// PostgreSQL's major version; null: what the distribution has.
    pub postgres: Option<i32>,
    /// Extensions that the customer may create.
    pub extensions: Vec<String>,
    /// Days that are worth keeping.
    pub retention_days: i32,
    /// The remedies that may be used, `kind/remedy`; null: all.
    pub remedies: Option<Vec<String>>,
    /// Followers that a resource has from its birth, in other zones.
    pub followers: i16,
    /// What a commit waits for.
    pub durability: Durability,
    /// How far behind, in bytes of WAL, a follower may be that drover promotes.
    pub max_lag_bytes: i64,
    /// MiB of WAL that are kept for a follower which does not fetch them.
    pub slot_wal_mib: i32,
    /// MiB a second that a follower is filled with.
    pub backup_rate_mib: i32,
    /// Seconds that a leader which is down may be mended before a follower takes its lead.
    pub failover_patience_s: i32,
    /// Whether a follower is promoted though nothing proves that the old leader takes no
    /// writes any more.
    pub failover_unfenced: bool,
    /// Most resources of this plan; null: no limit of its own.
    pub max_resources: Option<i32>,
}

impl Plan {
    /// The sizes of its servers in this cloud, the preferred one first; none if it
    /// is not to be had there.
    pub fn sizes_in(&self, cloud: Cloud) -> &[String] {
        self.sizes.0.get(cloud.as_str()).map_or(&[], Vec::as_slice)
    }
}

/// All of them.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<Plan>> {
    sqlx::query_as("select * from plans order by shared desc, followers, name")
        .fetch_all(db)
        .await
}

/// The plan of this name.
pub async fn find(db: &mut PgConnection, name: &str) -> sqlx::Result<Option<Plan>> {
    sqlx::query_as("select * from plans where name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
}

/// Live resources of a plan.
pub async fn count_resources(db: &mut PgConnection, plan: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from resources r join subjects s using (id)
         where r.plan = $1 and s.origin = 'created' and s.forgotten_at is null",
    )
    .bind(plan)
    .fetch_one(db)
    .await
}

/// A plan that does not allow every remedy.
#[derive(Clone, Debug, FromRow)]
pub struct Limited {
    /// Its name.
    pub name: String,
    /// What it allows, `kind/remedy`.
    pub remedies: Vec<String>,
}

impl Limited {
    /// Whether it allows this.
    pub fn allows(&self, kind: IncidentKind, remedy: &str) -> bool {
        let wanted = format!("{kind}/{remedy}");
        self.remedies.contains(&wanted)
    }
}

/// The plan of a resource, or the one that a server was made for, if it limits the
/// remedies that may be used.
pub async fn limiting(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<Option<Limited>> {
    sqlx::query_as(
        "select name, remedies from plans
         where remedies is not null
           and name = coalesce((select plan from resources where id = $1),
                               (select for_plan from servers where id = $1))",
    )
    .bind(subject)
    .fetch_optional(db)
    .await
}
