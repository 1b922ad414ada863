//! `follower_failed`: a follower cannot follow any more, however long it is waited for.

use drover::model::{IncidentKind, Severity};

use super::followers::{REBUILD, REBUILD_ELSEWHERE, RESTART_RECEIVER, REWIND};
use super::playbook::{Blast, Budget, Playbook};

/// The operations that do it have deadlines of their own.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a follower cannot follow its leader any more",
    opened_when: "its slot is lost or missing, or it has diverged from its leader",
    severity: Severity::Error,
    budget: Budget::new(4, 2 * 3600),
    blast_radius: Blast::Resource,
    remedies: &[
        RESTART_RECEIVER.tried(1),
        REWIND,
        REBUILD,
        REBUILD_ELSEWHERE,
    ],
    ..Playbook::of(IncidentKind::FollowerFailed)
};
