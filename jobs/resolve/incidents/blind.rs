//! `blind`: too much fails at once, more likely for the observer than for the herd.

use drover::model::{IncidentKind, Severity};

use super::playbook::Playbook;

/// While it is open, no remedy of any incident of that zone, or of the herd, is begun.
pub const PLAYBOOK: Playbook = Playbook {
    title: "too much fails at once: more likely drover is blind than the herd is down",
    opened_when: "two servers or more turn bad within a minute: over 30 % of a zone's, or of the herd's in \
                  several zones",
    severity: Severity::Critical,
    ..Playbook::of(IncidentKind::Blind)
};
