//! What may be asked of a server or a resource.

use serde::Serialize;

use crate::model::{Durability, PublicId};

/// `POST …/actions` of a server or a resource.
#[derive(Clone, PartialEq, Serialize)]
pub struct ActOnSubject {
    /// What.
    #[serde(flatten)]
    pub ask: Ask,
    /// Why, for the timeline.
    pub reason: Option<String>,
    /// Who asks, for the timeline.
    pub by: Option<String>,
}

/// What is asked. What disturbs waits for the maintenance window, unless `now` says
/// otherwise.
#[derive(Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Ask {
    /// Restart the resource.
    Restart {
        /// At once, for a reason.
        now: bool,
    },
    /// Reboot the server.
    Reboot {
        /// At once, for a reason.
        now: bool,
    },
    /// Stop and start the server, which moves it to other hardware.
    StopStart {
        /// At once, for a reason.
        now: bool,
    },
    /// Give its server another size.
    Resize {
        /// Which.
        size: String,
        /// At once, for a reason.
        now: bool,
    },
    /// Grow its server's data volume.
    Grow {
        /// How large it is to be.
        volume_gib: u32,
    },
    /// Have a follower take the lead.
    Switchover {
        /// Which one; null: the closest.
        to: Option<PublicId>,
        /// At once, for a reason.
        now: bool,
    },
    /// Have a follower take the lead of a leader that is gone or must go.
    Failover {
        /// Which one; null: the most advanced.
        to: Option<PublicId>,
    },
    /// Have its commits wait for a follower, or not.
    SetDurability {
        /// Whether they do.
        durability: Durability,
    },
    /// Have the server get drover-root, and its login no other way to root.
    InstallHelper {},
    /// Have the follower lead on its own.
    Unfollow {},
    /// Give the customer another password.
    RotatePassword {
        /// Which; null: one is made.
        password: Option<String>,
    },
    /// Give it another name.
    Rename {
        /// Which.
        name: String,
    },
    /// Set when it may be disturbed.
    SetWindow {
        /// `sun 03:00 Europe/Berlin`; null: in the deployment's own window.
        maintenance_window: Option<String>,
    },
}
