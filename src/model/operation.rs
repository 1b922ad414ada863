//! Operations: what somebody asked for, done step by step.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::subject::named;
use super::{Kind, OperationId, SubjectId};

named! {
    /// What is done.
    OperationKind {
        /// A server is made.
        CreateServer = "create_server",
        /// A resource is made, on a server that is there or is being made.
        CreateResource = "create_resource",
        /// A follower of a resource is made, on a server of its own.
        CreateFollower = "create_follower",
        /// A follower becomes a leader of its own.
        Unfollow = "unfollow",
        /// A follower takes the lead from its leader, as planned.
        Switchover = "switchover",
        /// A leader is gone: it is fenced, and the best follower takes the lead.
        Failover = "failover",
        /// A follower is made to follow again: rewound, or copied anew.
        Rebuild = "rebuild",
        /// What a resource's commits wait for is changed.
        SetDurability = "set_durability",
        /// It is broken on purpose, to see that it is mended.
        Gameday = "gameday",
        /// A server that drover made is taken away.
        DestroyServer = "destroy_server",
        /// A resource that drover made is taken away.
        DestroyResource = "destroy_resource",
        /// A server gets another size; it is stopped for that.
        Resize = "resize",
        /// A server's data volume grows, on line.
        Grow = "grow",
        /// A resource is restarted.
        Restart = "restart",
        /// A server is rebooted.
        Reboot = "reboot",
        /// A server is stopped and started, which moves it to other hardware.
        StopStart = "stop_start",
        /// The customer gets another password.
        RotatePassword = "rotate_password",
        /// The clouds' lists are compared with the record.
        Reconcile = "reconcile",
    }
}

named! {
    /// Where an operation stands.
    OperationState {
        /// Waiting, at work, or stuck.
        Open = "open",
        /// Done.
        Done = "done",
        /// Given up in favour of another.
        Cancelled = "cancelled",
    }
}

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
        /// It waits for its window: give it up.
        Cancel = "cancel",
    }
}

impl OperationAction {
    /// Those that this operation allows, as it stands at this time.
    pub fn possible(operation: &Operation, now: DateTime<Utc>) -> Vec<Self> {
        let open = operation.state == OperationState::Open;
        let begun = operation.deadline.is_some() || operation.step > 0;
        let waits = operation.not_before.is_some_and(|at| at > now);
        Self::ALL
            .iter()
            .copied()
            .filter(|action| match action {
                Self::Retry => open && operation.stuck_at.is_some(),
                Self::Override => {
                    let failover = operation.kind == OperationKind::Failover;
                    failover && open && operation.stuck_at.is_some()
                }
                Self::Cancel => open && waits && !begun,
            })
            .collect()
    }
}

/// An operation as the record has it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id and its token's.
    pub id: OperationId,
    /// On what; `None`: the deployment.
    pub subject: Option<SubjectId>,
    /// What is done.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// What is wanted.
    pub params: Value,
    /// A sealed secret that it brings (`<id>/secret`).
    pub secret: Option<Vec<u8>>,
    /// Who asked for it.
    pub asked_by: String,
    /// Why, if they said.
    pub reason: Option<String>,
    /// When they did.
    pub opened_at: DateTime<Utc>,
    /// Not to be begun earlier.
    pub not_before: Option<DateTime<Utc>>,
    /// Counts every change.
    pub revision: i64,
    /// Name of the step that is next or at work; [`Operation::QUEUED`] before the first.
    pub step_name: String,
    /// Its place, from 0: for people.
    pub step: u16,
    /// Of how many.
    pub steps: u16,
    /// Since when it is next or at work.
    pub step_since: DateTime<Utc>,
    /// What is waited for, or went wrong last.
    pub note: Option<String>,
    /// How often this step failed in a row.
    pub failures: u32,
    /// By when it should be done; `None` until its first turn.
    pub deadline: Option<DateTime<Utc>>,
    /// Since when a human is needed.
    pub stuck_at: Option<DateTime<Utc>>,
    /// What a step must know of the steps before it.
    pub memo: Value,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Operation {
    /// What stands in place of a step's name before the first one has begun.
    pub const QUEUED: &'static str = "queued";
}
