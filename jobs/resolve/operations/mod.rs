//! Operations: what a person or an incident asked for is done, step by step, one file for
//! each kind.
//!
//! A turn of an operation's token is one step, under the subject's lease. A worker
//! may die anywhere in it; the next one does the step again, which is why each step
//! looks first whether its work is done already. What a step has learnt goes into
//! the record in the transaction that ends it ([`Fact`]).
//!
//! Architecture Invariant: what must not be done twice in the world is in the record
//! before it is done: an instance's keys and its mark (the server's id), a new
//! password.

mod adopt_record;
mod await_available;
mod certificates;
mod create_follower;
mod create_resource;
mod create_server;
mod destroy_resource;
mod destroy_server;
mod disk;
mod end_sessions;
mod engine;
mod enter;
mod failover;
mod fence;
mod follow;
mod follows;
mod freeze;
mod gameday;
mod grow;
mod hand_over;
mod install_helper;
mod instance;
mod kind;
mod lead;
mod leased;
mod look_round;
mod own_role;
pub(crate) mod places;
mod reattach;
mod reboot;
mod rebuild;
mod reconcile;
mod reconnect;
mod replace;
mod resize;
mod restart;
mod restart_archiver;
mod restore_login;
mod rotate_password;
mod script;
mod set_durability;
mod stop_start;
mod switchover;
mod sync;
mod unfollow;

use std::marker::PhantomData;

use drover::model::OperationKind;

pub use engine::{advance, current, ends_as, goes_on_alone, unwanted};
use kind::Of;
pub use kind::{AnyOperation, Context, Did, Ended, Finding, Operation, Outcome, StepInfo, Work};

/// What a kind of operation does, step by step.
pub fn of(kind: OperationKind) -> &'static dyn AnyOperation {
    match kind {
        OperationKind::CreateServer => &Of::<create_server::CreateServer>(PhantomData),
        OperationKind::CreateResource => &Of::<create_resource::CreateResource>(PhantomData),
        OperationKind::CreateFollower => &Of::<create_follower::CreateFollower>(PhantomData),
        OperationKind::Unfollow => &Of::<unfollow::Unfollow>(PhantomData),
        OperationKind::Switchover => &Of::<switchover::Switchover>(PhantomData),
        OperationKind::Failover => &Of::<failover::Failover>(PhantomData),
        OperationKind::Rebuild => &Of::<rebuild::Rebuild>(PhantomData),
        OperationKind::SetDurability => &Of::<set_durability::SetDurability>(PhantomData),
        OperationKind::Gameday => &Of::<gameday::Gameday>(PhantomData),
        OperationKind::DestroyServer => &Of::<destroy_server::DestroyServer>(PhantomData),
        OperationKind::DestroyResource => &Of::<destroy_resource::DestroyResource>(PhantomData),
        OperationKind::Resize => &Of::<resize::Resize>(PhantomData),
        OperationKind::Grow => &Of::<grow::Grow>(PhantomData),
        OperationKind::Restart => &Of::<restart::Restart>(PhantomData),
        OperationKind::Reboot => &Of::<reboot::Reboot>(PhantomData),
        OperationKind::StopStart => &Of::<stop_start::StopStart>(PhantomData),
        OperationKind::RotatePassword => &Of::<rotate_password::RotatePassword>(PhantomData),
        OperationKind::Reattach => &Of::<reattach::Reattach>(PhantomData),
        OperationKind::Reconnect => &Of::<reconnect::Reconnect>(PhantomData),
        OperationKind::Replace => &Of::<replace::Replace>(PhantomData),
        OperationKind::EndSessions => &Of::<end_sessions::EndSessions>(PhantomData),
        OperationKind::Freeze => &Of::<freeze::Freeze>(PhantomData),
        OperationKind::RestartArchiver => &Of::<restart_archiver::RestartArchiver>(PhantomData),
        OperationKind::RestoreLogin => &Of::<restore_login::RestoreLogin>(PhantomData),
        OperationKind::SetReadOnly => &Of::<disk::SetReadOnly>(PhantomData),
        OperationKind::SetReadWrite => &Of::<disk::SetReadWrite>(PhantomData),
        OperationKind::RemoveLogs => &Of::<disk::RemoveLogs>(PhantomData),
        OperationKind::DropSlots => &Of::<disk::DropSlots>(PhantomData),
        OperationKind::InstallHelper => &Of::<install_helper::InstallHelper>(PhantomData),
        OperationKind::Reconcile => &Of::<reconcile::Reconcile>(PhantomData),
        OperationKind::AdoptRecord => &Of::<adopt_record::AdoptRecord>(PhantomData),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_step_fits_its_lease_and_has_a_name_of_its_own() {
        for kind in OperationKind::ALL.iter().copied() {
            assert_eq!(of(kind).kind(), kind);
            let steps = of(kind).steps();
            assert!(!steps.is_empty(), "{kind}");
            for (n, step) in steps.iter().enumerate() {
                let name = step.name;
                assert!(step.limit <= Duration::from_secs(25), "{kind} {name}");
                assert!(steps[..n].iter().all(|s| s.name != name), "{kind} {name}");
            }
        }
    }
}
