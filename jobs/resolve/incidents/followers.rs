//! The remedies that the playbooks of followers share.

use std::time::Duration;

use drover::model::OperationKind;
use serde_json::json;

use super::playbook::Remedy;

pub(super) const RESTART_RECEIVER: Remedy = Remedy::new(
    "restart_receiver",
    "tell the follower anew whom it follows, and have its receiver connect again",
    OperationKind::Reconnect,
)
.tried(2)
.settling(Duration::from_secs(45));

pub(super) const RESTART_FOLLOWER: Remedy = Remedy::new(
    "restart_follower",
    "restart the follower's cluster, ending the sessions that read from it",
    OperationKind::Restart,
)
.settling(Duration::from_secs(120))
.asking(|_| json!({ "how": "follower" }));

pub(super) const REWIND: Remedy = Remedy::new(
    "rewind",
    "rewind it to where it parted from its leader, or copy its leader if it cannot be rewound",
    OperationKind::Rebuild,
)
.settling(Duration::from_secs(45))
.asking(|_| json!({ "how": "rewind" }));

pub(super) const REBUILD: Remedy = Remedy::new(
    "rebuild",
    "make it anew on its server, as a copy of its leader",
    OperationKind::Rebuild,
)
.settling(Duration::from_secs(45))
.asking(|_| json!({ "how": "copy" }));

pub(super) const FENCE: Remedy = Remedy::new(
    "fence",
    "stop the one that should follow at once, and rewind it to where it parted from its leader",
    OperationKind::Rebuild,
)
.tried(2)
.settling(Duration::from_secs(45))
.asking(|_| json!({ "how": "rewind", "writes": true }));

pub(super) const REBUILD_ELSEWHERE: Remedy = Remedy::new(
    "rebuild_elsewhere",
    "make another follower on a new server of the same zone and size, and destroy this one when \
     that one is there",
    OperationKind::Replace,
)
.settling(Duration::from_secs(600))
.asking(|incident| match incident.memo.get("replacement") {
    Some(other) => json!({ "replacement": other }),
    None => json!({}),
});
