//! Events: what changed for good and others should know.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Public;
pub use crate::model::Node as EventNode;
use crate::model::{LeaderChangeId, LeaderChangeKind, Node, OperationId};

/// An event. So far: another leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// `leader.changed`.
    pub r#type: String,
    /// Its id.
    pub id: Public<LeaderChangeId>,
    /// When.
    pub at: DateTime<Utc>,
    /// How.
    pub kind: LeaderChangeKind,
    /// What the new leader is called from then on.
    pub name: String,
    /// Its epoch from then on.
    pub epoch: i64,
    /// Who leads.
    pub new_leader: Node,
    /// Who led until then; of one that leads on its own, whom it followed.
    pub old_leader: Node,
    /// What did it.
    pub operation: Public<OperationId>,
    /// `lost_bytes`, `fenced_by` …
    pub detail: Value,
}
