//! An incident decides what is done about it: its playbook says which operations are
//! asked for, in which order, how often and how long each may take to help, one file for
//! each kind.
//!
//! Architecture Invariant: a resolver never says that something is well again. What it
//! asks for acts, and the next observation tells.

mod another_cluster;
mod archiving_stalled;
mod blind;
mod change_stuck;
mod commits_wait;
mod connections_exhausted;
mod creation_stuck;
mod credentials_refused;
mod database_gone;
mod disk_critical;
pub mod fail_over;
mod follower_failed;
mod follower_lagging;
mod follower_stalled;
mod followers;
mod host_key_changed;
mod leader_in_recovery;
mod list_outdated;
pub mod machine;
mod maintenance_scheduled;
mod old_leader_alive;
pub mod playbook;
mod record_is_old;
mod resource_down;
mod server_down;
mod split_brain;
mod turn;
mod volume_stuck;
mod xid_wraparound;

use drover::model::{Incident, IncidentKind, IncidentState, Mode, Observation, Rules};
pub use playbook::Playbook;
use serde_json::{Value, json};
pub use turn::stands;

use crate::resolve::operations;

/// The playbook of a kind of incident.
pub fn playbook(kind: IncidentKind) -> &'static Playbook {
    match kind {
        IncidentKind::ResourceDown => &resource_down::PLAYBOOK,
        IncidentKind::ServerDown => &server_down::PLAYBOOK,
        IncidentKind::DiskCritical => &disk_critical::PLAYBOOK,
        IncidentKind::VolumeStuck => &volume_stuck::PLAYBOOK,
        IncidentKind::HostKeyChanged => &host_key_changed::PLAYBOOK,
        IncidentKind::CreationStuck => &creation_stuck::PLAYBOOK,
        IncidentKind::ChangeStuck => &change_stuck::PLAYBOOK,
        IncidentKind::OldLeaderAlive => &old_leader_alive::PLAYBOOK,
        IncidentKind::MaintenanceScheduled => &maintenance_scheduled::PLAYBOOK,
        IncidentKind::FollowerLagging => &follower_lagging::PLAYBOOK,
        IncidentKind::FollowerStalled => &follower_stalled::PLAYBOOK,
        IncidentKind::FollowerFailed => &follower_failed::PLAYBOOK,
        IncidentKind::SplitBrain => &split_brain::PLAYBOOK,
        IncidentKind::CommitsWait => &commits_wait::PLAYBOOK,
        IncidentKind::ListOutdated => &list_outdated::PLAYBOOK,
        IncidentKind::LeaderInRecovery => &leader_in_recovery::PLAYBOOK,
        IncidentKind::Blind => &blind::PLAYBOOK,
        IncidentKind::RecordIsOld => &record_is_old::PLAYBOOK,
        IncidentKind::ConnectionsExhausted => &connections_exhausted::PLAYBOOK,
        IncidentKind::XidWraparound => &xid_wraparound::PLAYBOOK,
        IncidentKind::ArchivingStalled => &archiving_stalled::PLAYBOOK,
        IncidentKind::CredentialsRefused => &credentials_refused::PLAYBOOK,
        IncidentKind::AnotherCluster => &another_cluster::PLAYBOOK,
        IncidentKind::DatabaseGone => &database_gone::PLAYBOOK,
    }
}

/// Why a human is needed at once, whatever remedies are left. `at_work` is the step that
/// what the incident has asked for is at.
pub fn urgent(
    incident: &Incident,
    seen: Option<&Observation>,
    rules: &Rules,
    mode: Mode,
    at_work: Option<&str>,
) -> Option<String> {
    match incident.kind {
        IncidentKind::XidWraparound => xid_wraparound::urgent(incident, seen, rules, at_work),
        IncidentKind::MaintenanceScheduled => maintenance_scheduled::urgent(seen, mode),
        IncidentKind::ResourceDown
        | IncidentKind::ServerDown
        | IncidentKind::DiskCritical
        | IncidentKind::VolumeStuck
        | IncidentKind::ConnectionsExhausted
        | IncidentKind::ArchivingStalled
        | IncidentKind::CredentialsRefused
        | IncidentKind::AnotherCluster
        | IncidentKind::DatabaseGone
        | IncidentKind::HostKeyChanged
        | IncidentKind::CreationStuck
        | IncidentKind::ChangeStuck
        | IncidentKind::OldLeaderAlive
        | IncidentKind::FollowerLagging
        | IncidentKind::FollowerStalled
        | IncidentKind::FollowerFailed
        | IncidentKind::SplitBrain
        | IncidentKind::CommitsWait
        | IncidentKind::ListOutdated
        | IncidentKind::LeaderInRecovery
        | IncidentKind::Blind
        | IncidentKind::RecordIsOld => None,
    }
}

/// Whether it got worse since a human was called, so that what guards others is tried again.
pub fn worsens(incident: &Incident, recent: &[Observation], rules: &Rules) -> bool {
    incident.state == IncidentState::NeedsHuman
        && incident.kind == IncidentKind::DiskCritical
        && disk_critical::worsens(incident, recent, rules)
}

/// Every playbook as data, for the catalogue: with the steps of what it asks for.
pub fn catalogue() -> Vec<(String, Value)> {
    IncidentKind::ALL
        .iter()
        .map(|kind| {
            let mut book = serde_json::to_value(playbook(*kind)).unwrap_or_default();
            let remedies = playbook(*kind).remedies.iter().enumerate();
            for (place, remedy) in remedies {
                book["remedies"][place]["steps"] = steps(remedy);
            }
            if let Some(guard) = &playbook(*kind).guard {
                book["guard"]["steps"] = steps(guard);
            }
            if let Some(undo) = &playbook(*kind).undo {
                book["undo"]["steps"] = steps(undo);
            }
            (kind.to_string(), book)
        })
        .collect()
}

fn steps(remedy: &playbook::Remedy) -> Value {
    let steps = operations::of(remedy.operation).steps();
    let name = |step: &operations::StepInfo| json!({ "name": step.name, "does": step.does });
    steps.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_playbook_has_time_for_all_of_it_and_remedies_told_by_their_names() {
        for kind in IncidentKind::ALL.iter().copied() {
            let book = playbook(kind);
            assert_eq!(book.kind, kind);
            let remedies: Vec<_> = book.all().collect();
            for (n, remedy) in remedies.iter().enumerate() {
                let name = remedy.name;
                assert!(
                    remedies[..n].iter().all(|r| r.name != name),
                    "{kind} {name}"
                );
            }
            let waits: Duration = remedies
                .iter()
                .map(|remedy| remedy.settle * u32::from(remedy.attempts))
                .sum();
            assert!(
                waits < book.budget.deadline,
                "{kind}: no time for all of it"
            );
        }
    }
}
