//! What can be bought, and where it can be made.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::model::{Cloud, Durability};

/// A plan.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
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
    pub sizes: BTreeMap<String, Vec<String>>,
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
        self.sizes.get(cloud.as_str()).map_or(&[], Vec::as_slice)
    }
}

/// A region with the sizes that servers can have there.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
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
    /// The sizes of servers there, small ones first.
    #[sqlx(json)]
    pub sizes: Vec<Size>,
}

/// A size of servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Size {
    /// What the cloud calls it.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: i32,
    /// Memory in MiB.
    pub memory_mib: i32,
}
