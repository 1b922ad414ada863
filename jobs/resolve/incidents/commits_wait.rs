//! `commits_wait`: a leader's commits wait for a follower, and none comes.

use drover::model::{IncidentKind, Severity};

use super::playbook::{Escalation, Playbook};

/// Its followers have incidents of their own, whose remedies bring them back or make others.
/// What answers is neither restarted nor failed over.
pub const PLAYBOOK: Playbook = Playbook {
    title: "commits of a database wait for a follower",
    opened_when: "commits wait, no follower confirms anything, and one has waited for limits.commit_wait (30 s)",
    severity: Severity::Critical,
    escalation: Escalation::PageAtOnce,
    ..Playbook::of(IncidentKind::CommitsWait)
};
