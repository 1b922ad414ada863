//! Operate: what somebody asked for is done, step by step, one file for each kind.
//!
//! A turn of an operation's token is one step, under the subject's lease. A worker
//! may die anywhere in it; the next one does the step again, which is why each step
//! looks first whether its work is done already. What a step has learnt goes into
//! the record in the transaction that ends it ([`Fact`]).
//!
//! Architecture Invariant: what must not be done twice in the world is in the record
//! before it is done: an instance's keys and its mark (the server's id), a new
//! password.

mod await_available;
mod create_follower;
mod create_resource;
mod create_server;
mod destroy_resource;
mod destroy_server;
mod engine;
mod enter;
mod failover;
mod fence;
mod follow;
mod gameday;
mod grow;
mod hand_over;
mod instance;
mod kind;
mod lead;
pub(crate) mod places;
mod reboot;
mod rebuild;
mod reconcile;
mod resize;
mod restart;
mod rotate_password;
mod script;
mod set_durability;
mod stop_start;
mod switchover;
mod sync;
mod unfollow;

use drover::model::OperationKind;

pub use engine::{advance, current};
pub(crate) use fence::FENCE;
pub(crate) use follow::{FOLLOW, SLOT, Telling, slot_input};
pub use kind::{
    AnyOperation, Context, Did, Ended, Finding, Of, Operation, Outcome, StepInfo, Work,
};
pub(crate) use script::ROOT;

/// What a kind of operation does, step by step.
pub fn of(kind: OperationKind) -> &'static dyn AnyOperation {
    match kind {
        OperationKind::CreateServer => const { &Of::<create_server::CreateServer>::new() },
        OperationKind::CreateResource => const { &Of::<create_resource::CreateResource>::new() },
        OperationKind::CreateFollower => const { &Of::<create_follower::CreateFollower>::new() },
        OperationKind::Unfollow => const { &Of::<unfollow::Unfollow>::new() },
        OperationKind::Switchover => const { &Of::<switchover::Switchover>::new() },
        OperationKind::Failover => const { &Of::<failover::Failover>::new() },
        OperationKind::Rebuild => const { &Of::<rebuild::Rebuild>::new() },
        OperationKind::SetDurability => const { &Of::<set_durability::SetDurability>::new() },
        OperationKind::Gameday => const { &Of::<gameday::Gameday>::new() },
        OperationKind::DestroyServer => const { &Of::<destroy_server::DestroyServer>::new() },
        OperationKind::DestroyResource => const { &Of::<destroy_resource::DestroyResource>::new() },
        OperationKind::Resize => const { &Of::<resize::Resize>::new() },
        OperationKind::Grow => const { &Of::<grow::Grow>::new() },
        OperationKind::Restart => const { &Of::<restart::Restart>::new() },
        OperationKind::Reboot => const { &Of::<reboot::Reboot>::new() },
        OperationKind::StopStart => const { &Of::<stop_start::StopStart>::new() },
        OperationKind::RotatePassword => const { &Of::<rotate_password::RotatePassword>::new() },
        OperationKind::Reconcile => const { &Of::<reconcile::Reconcile>::new() },
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
