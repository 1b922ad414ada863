//! What people may ask of subjects and operations.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::subject::named;
use super::{Kind, Operation, OperationKind, OperationState};

named! {
    /// What may be asked of a subject.
    SubjectAction {
        /// Restart the resource.
        Restart = "restart",
        /// Give the customer another password.
        RotatePassword = "rotate_password",
        /// Give it another name.
        Rename = "rename",
        /// Give its server another size.
        Resize = "resize",
        /// Grow its server's data volume.
        Grow = "grow",
        /// Have a follower take the lead.
        Switchover = "switchover",
        /// Have a follower take the lead of a leader that is gone.
        Failover = "failover",
        /// Have its commits wait for a follower, or not.
        SetDurability = "set_durability",
        /// Have the follower lead on its own.
        Unfollow = "unfollow",
        /// Set when it may be disturbed.
        SetWindow = "set_window",
        /// Reboot the server.
        Reboot = "reboot",
        /// Stop and start the server, which moves it to other hardware.
        StopStart = "stop_start",
        /// Have the server get drover-root, and its login no other way to root.
        InstallHelper = "install_helper",
    }
}

impl SubjectAction {
    /// Those that subjects of this kind have.
    pub fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Server => &[
                Self::Reboot,
                Self::StopStart,
                Self::Resize,
                Self::Grow,
                Self::Rename,
                Self::InstallHelper,
            ],
            Kind::Resource => &[
                Self::Restart,
                Self::RotatePassword,
                Self::Resize,
                Self::Grow,
                Self::Rename,
                Self::Switchover,
                Self::Failover,
                Self::SetDurability,
                Self::Unfollow,
                Self::SetWindow,
            ],
        }
    }
}

named! {
    /// What a person may do about an operation.
    OperationAction {
        /// It is stuck: have it tried again, with its time beginning anew.
        Retry = "retry",
        /// It is a failover that drover does not dare by itself: have it go on all the
        /// same, for a reason that is given.
        Override = "override",
        /// Nothing is done yet: give it up.
        Cancel = "cancel",
    }
}

impl OperationAction {
    /// Those that this operation allows, as it stands at this time.
    pub fn possible(operation: &Operation, now: DateTime<Utc>) -> Vec<Self> {
        let open = operation.state == OperationState::Open;
        let begun = operation.deadline.is_some() || operation.step > 0;
        let waits = operation.not_before.is_some_and(|at| at > now);
        let failover = operation.kind == OperationKind::Failover;
        // Until its leader is fenced, nothing is done.
        let fences = operation.step > 0;
        Self::ALL
            .iter()
            .copied()
            .filter(|action| match action {
                Self::Retry => open && operation.stuck_at.is_some(),
                Self::Override => {
                    let refused = !operation.memo["refused"].is_null();
                    failover && open && refused && operation.stuck_at.is_some()
                }
                Self::Cancel => open && (waits && !begun || failover && !fences),
            })
            .collect()
    }
}
