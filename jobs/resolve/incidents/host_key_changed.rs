//! `host_key_changed`: a server shows another host key than the pinned one.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// Nothing connects to such a server any more, so nothing can be done to it: it may
/// be somebody else.
pub const PLAYBOOK: Playbook = Playbook {
    title: "a server shows another host key than the pinned one",
    opened_when: "the server's host key is not the pinned one",
    severity: Severity::Critical,
    ..Playbook::of(IncidentKind::HostKeyChanged)
};
