//! Resolve: what breaks is mended by playbooks, one file each.
//!
//! A turn of an incident's token is one step of one remedy, under the subject's
//! lease: the step is written down as begun, done in the world, and written down
//! as ended. A worker may die anywhere in between; the next one does the step
//! again, which is why each step looks first whether its work is done already.
//!
//! Architecture Invariant: a resolver never says that something is well again.
//! It acts, and the next observation tells.

mod archiving_stalled;
mod blind;
mod change_stuck;
mod connections_exhausted;
mod creation_stuck;
mod credentials_refused;
mod disk_critical;
pub mod fail_over;
mod follower_failed;
mod follower_lagging;
mod follower_stalled;
mod followers;
mod host_key_changed;
mod instance;
pub mod machine;
mod maintenance_scheduled;
mod own_role;
pub mod playbook;
mod resource_down;
mod server_down;
pub mod shell;
mod split_brain;
pub(crate) mod superuser;
mod turn;
mod volume_stuck;
mod xid_wraparound;

use crate::resolve::Tools;
use drover::model::{
    Incident, IncidentKind, Kind, Mode, Observation, OperationId, PublicId, Rules, SubjectId,
};
use drover::store::creation::WantedFollower;
use drover::store::operations::NewOperation;
use drover::store::subjects::Known;
pub use machine::Ended;
pub use playbook::Playbook;
use serde_json::{Map, Value};

/// One step to be done.
pub struct Turn<'a> {
    /// Of which incident.
    pub incident: &'a Incident,
    /// For whom.
    pub known: &'a Known,
    /// What was seen last.
    pub seen: Option<&'a Observation>,
    /// The tier's rules.
    pub rules: &'a Rules,
    /// What to work with.
    pub tools: &'a Tools,
    /// The remedy's name.
    pub remedy: &'static str,
    /// The step's name.
    pub step: &'static str,
    /// How long the step may take.
    pub limit: std::time::Duration,
}

/// What came of a step.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What it touched in the world, for people: `cluster 15/app on pg-1`.
    pub touched: Vec<String>,
    /// What it did or saw, for people.
    pub note: String,
    /// What later steps must know, laid over the incident's memo; `null` takes an
    /// entry out. Never a secret.
    pub memo: Map<String, Value>,
    /// What is asked of an operation, in the transaction that ends the step.
    pub asks: Option<Box<Asks>>,
}

/// What a playbook asks of operations.
#[derive(Debug)]
pub enum Asks {
    /// That it be opened; its id is then `operation` in the memo. Where another one is
    /// open, the step is asked for again.
    For(NewOperation),
    /// That it be given up, if it has not begun.
    Off(OperationId),
    /// That a follower take the lead of each of these leaders: `failovers` in the memo
    /// are the operations. What is at work there gives way.
    Failover(Vec<SubjectId>),
    /// That this follower be made; its id is then `replacement` in the memo.
    Follow(Box<WantedFollower>),
    /// That this resource be destroyed.
    Destroy(SubjectId),
}

impl Outcome {
    /// An outcome that touched nothing.
    pub fn new(ended: Ended, note: impl Into<String>) -> Self {
        Self {
            ended,
            touched: vec![],
            note: note.into(),
            memo: Map::new(),
            asks: None,
        }
    }

    /// The step is done.
    pub fn done(note: impl Into<String>) -> Self {
        Self::new(Ended::Done, note)
    }

    /// The step failed.
    pub fn failed(why: impl Into<String>) -> Self {
        let why = why.into();
        Self::new(Ended::Failed(why.clone()), why)
    }

    /// The remedy cannot be done here.
    pub fn passed_over(why: impl Into<String>) -> Self {
        let why = why.into();
        Self::new(Ended::PassedOver(why.clone()), why)
    }

    /// Says what was touched.
    pub fn touching(mut self, what: impl Into<String>) -> Self {
        self.touched.push(what.into());
        self
    }

    /// Leaves word for later steps.
    pub fn remember(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.memo.insert(name.into(), value.into());
        self
    }
}

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
        IncidentKind::MaintenanceScheduled => &maintenance_scheduled::PLAYBOOK,
        IncidentKind::FollowerLagging => &follower_lagging::PLAYBOOK,
        IncidentKind::FollowerStalled => &follower_stalled::PLAYBOOK,
        IncidentKind::FollowerFailed => &follower_failed::PLAYBOOK,
        IncidentKind::SplitBrain => &split_brain::PLAYBOOK,
        IncidentKind::Blind => &blind::PLAYBOOK,
        IncidentKind::ConnectionsExhausted => &connections_exhausted::PLAYBOOK,
        IncidentKind::XidWraparound => &xid_wraparound::PLAYBOOK,
        IncidentKind::ArchivingStalled => &archiving_stalled::PLAYBOOK,
        IncidentKind::CredentialsRefused => &credentials_refused::PLAYBOOK,
    }
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    match turn.incident.kind {
        IncidentKind::ResourceDown => resource_down::perform(turn).await,
        IncidentKind::ServerDown => Box::pin(server_down::perform(turn)).await,
        IncidentKind::DiskCritical => Box::pin(disk_critical::perform(turn)).await,
        IncidentKind::VolumeStuck => Box::pin(volume_stuck::perform(turn)).await,
        IncidentKind::MaintenanceScheduled => Box::pin(maintenance_scheduled::perform(turn)).await,
        IncidentKind::HostKeyChanged
        | IncidentKind::CreationStuck
        | IncidentKind::ChangeStuck
        | IncidentKind::Blind => {
            Outcome::passed_over("there is nothing that drover may do about it")
        }
        IncidentKind::FollowerLagging
        | IncidentKind::FollowerStalled
        | IncidentKind::FollowerFailed
        | IncidentKind::SplitBrain => followers::perform(turn).await,
        IncidentKind::ConnectionsExhausted => Box::pin(connections_exhausted::perform(turn)).await,
        IncidentKind::XidWraparound => Box::pin(xid_wraparound::perform(turn)).await,
        IncidentKind::ArchivingStalled => Box::pin(archiving_stalled::perform(turn)).await,
        IncidentKind::CredentialsRefused => Box::pin(credentials_refused::perform(turn)).await,
    }
}

/// Why a human is needed at once, whatever remedies are left.
pub fn urgent(
    incident: &Incident,
    seen: Option<&Observation>,
    rules: &Rules,
    mode: Mode,
) -> Option<String> {
    match incident.kind {
        IncidentKind::XidWraparound => xid_wraparound::urgent(incident, seen, rules),
        IncidentKind::MaintenanceScheduled => maintenance_scheduled::urgent(seen, mode),
        IncidentKind::ResourceDown
        | IncidentKind::ServerDown
        | IncidentKind::DiskCritical
        | IncidentKind::VolumeStuck
        | IncidentKind::ConnectionsExhausted
        | IncidentKind::ArchivingStalled
        | IncidentKind::CredentialsRefused
        | IncidentKind::HostKeyChanged
        | IncidentKind::CreationStuck
        | IncidentKind::ChangeStuck
        | IncidentKind::FollowerLagging
        | IncidentKind::FollowerStalled
        | IncidentKind::FollowerFailed
        | IncidentKind::SplitBrain
        | IncidentKind::Blind => None,
    }
}

/// Why nothing can be written at a resource: it is a follower, by the record or by
/// what its cluster says.
fn follows(leader: Option<SubjectId>, in_recovery: bool) -> Option<String> {
    let leader = match leader {
        Some(leader) => PublicId::new(Kind::Resource, leader).to_string(),
        None if in_recovery => "another".into(),
        None => return None,
    };
    Some(format!("it follows {leader}: its leader has to be mended"))
}

/// Every playbook as data, for the catalogue.
pub fn catalogue() -> Vec<(String, Value)> {
    IncidentKind::ALL
        .iter()
        .map(|kind| {
            let book = serde_json::to_value(playbook(*kind)).unwrap_or_default();
            (kind.to_string(), book)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_follower_is_told_by_the_record_or_by_its_cluster() {
        assert_eq!(follows(None, false), None);
        let says = follows(None, true).unwrap();
        assert_eq!(says, "it follows another: its leader has to be mended");
        let leader = SubjectId::generate();
        for in_recovery in [false, true] {
            let says = follows(Some(leader), in_recovery).unwrap();
            assert_eq!(
                says,
                format!("it follows db_{leader}: its leader has to be mended")
            );
        }
    }

    #[test]
    fn every_step_fits_the_lease_and_every_playbook_its_budget() {
        for kind in IncidentKind::ALL.iter().copied() {
            let book = playbook(kind);
            assert_eq!(book.kind, kind);
            let remedies = book.remedies.iter().chain(&book.undo);
            for remedy in remedies.clone() {
                assert!(!remedy.steps.is_empty(), "{kind} {}", remedy.name);
                for step in remedy.steps {
                    let most = Duration::from_secs(25);
                    assert!(step.limit <= most, "{kind} {} {}", remedy.name, step.name);
                }
            }
            let waits: Duration = remedies
                .map(|remedy| remedy.settle * u32::from(remedy.attempts))
                .sum();
            assert!(
                waits < book.budget.deadline,
                "{kind}: no time for all of it"
            );
        }
    }
}
