//! Changes of leader: who led a resource until when, and who does since.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::subject::named;
use super::{LeaderChangeId, OperationId, PublicId};

named! {
    /// How a lead came to another.
    LeaderChangeKind {
        /// As planned: nothing is lost.
        Switchover = "switchover",
        /// The leader was gone.
        Failover = "failover",
        /// A follower became a leader of its own; whom it followed leads on.
        Unfollow = "unfollow",
        /// The nodes had it so, and an old record was brought up to them.
        Adopted = "adopted",
    }
}

/// A node of a resource, as it was reached when a lead changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: PublicId,
    /// Its server's address.
    pub address: String,
    /// The port that it listens on there.
    pub port: u16,
}

/// A change of leader, as the record has it for ever and as others are told of it.
/// There is no place in it for a secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeaderChange {
    /// Its id.
    #[serde(serialize_with = "public_change")]
    pub id: LeaderChangeId,
    /// When, by the control database's clock.
    pub at: DateTime<Utc>,
    /// How.
    pub kind: LeaderChangeKind,
    /// What the new leader is called from then on.
    pub name: String,
    /// Its epoch from then on: whoever bears an older one leads no more.
    pub epoch: i64,
    /// Who leads.
    pub new_leader: Node,
    /// Who led until then; of one that leads on its own, whom it followed.
    pub old_leader: Node,
    /// What did it.
    #[serde(serialize_with = "public_operation")]
    pub operation: OperationId,
    /// `lost_bytes`, `fenced_by` …
    pub detail: Value,
}

fn public_change<S: Serializer>(id: &LeaderChangeId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&id.public())
}

fn public_operation<S: Serializer>(id: &OperationId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&id.public())
}
