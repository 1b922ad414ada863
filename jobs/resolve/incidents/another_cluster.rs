//! `another_cluster`: another cluster answers at a database's port than the one that is known.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// Nothing is done: what answers is not ours, and where ours is nobody knows.
pub const PLAYBOOK: Playbook = Playbook {
    title: "another cluster answers at a database's port",
    opened_when: "the cluster's system identifier is not the one that was pinned",
    severity: Severity::Critical,
    ..Playbook::of(IncidentKind::AnotherCluster)
};
