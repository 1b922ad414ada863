//! `list_outdated`: the followers that a leader's commits may wait for are not those that
//! stream.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "the commits of a database may wait for a follower that does not stream",
    opened_when: "for 30 s a follower in the list does not stream while another one does, or one that streams is not in it",
    severity: Severity::Warning,
    budget: Budget::new(20, 1800),
    blast_radius: Blast::Resource,
    comes_and_goes: true,
    remedies: &[Remedy::new(
        "renew_list",
        "have its commits wait for the followers that stream, and for no other",
        OperationKind::SetDurability,
    )
    .tried(5)
    .settling(Duration::from_secs(90))],
    ..Playbook::of(IncidentKind::ListOutdated)
};
