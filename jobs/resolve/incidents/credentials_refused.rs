//! `credentials_refused`: a resource does not let drover's role in.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, Severity};

use super::playbook::{Blast, Budget, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "a database refuses drover's role or its password",
    opened_when: "the resource is unavailable because authentication fails",
    severity: Severity::Error,
    budget: Budget::new(2, 180),
    blast_radius: Blast::Resource,
    remedies: &[Remedy::new(
        "restore_login",
        "let the role log in again, and set the password that drover knows once more",
        OperationKind::RestoreLogin,
    )
    .tried(2)
    .settling(Duration::from_secs(30))],
    ..Playbook::of(IncidentKind::CredentialsRefused)
};
