//! Operations: what somebody asked for, done step by step. What differs between kinds is
//! one value, [`OperationKind::profile`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;

use super::subject::named;
use super::{IncidentId, Lane, LeaderChangeKind, OperationId, SubjectId};

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
        /// A stuck volume is taken off a server and attached again; it is stopped for that.
        Reattach = "reattach",
        /// A follower is told anew whom it follows, and its receiver connects again.
        Reconnect = "reconnect",
        /// Another follower is made in a broken one's place.
        Replace = "replace",
        /// Sessions that idle in a transaction are ended.
        EndSessions = "end_sessions",
        /// The oldest tables are frozen.
        Freeze = "freeze",
        /// What hangs under an archiver is ended, and it goes on.
        RestartArchiver = "restart_archiver",
        /// drover's own role may log in again.
        RestoreLogin = "restore_login",
        /// Databases on a full volume may not grow any more.
        SetReadOnly = "set_read_only",
        /// They may again.
        SetReadWrite = "set_read_write",
        /// Rotated logs are removed.
        RemoveLogs = "remove_logs",
        /// Replication slots are dropped that nobody reads from.
        DropSlots = "drop_slots",
        /// A server gets drover-root, or a newer one, and its login no other way to root.
        InstallHelper = "install_helper",
        /// The clouds' lists are compared with the record.
        Reconcile = "reconcile",
        /// A record that is older than what the servers know is brought up to them.
        AdoptRecord = "adopt_record",
    }
}

/// What is true of every operation of a kind.
#[derive(Clone, Copy, Debug)]
pub struct OperationProfile {
    /// What it does to its subject, for people: `is being made`.
    pub words: &'static str,
    /// The same to whoever has asked for it, with `{}` for the subject: `Creating {}`.
    pub doing: &'static str,
    /// Whether its subject, and what is on it, cannot be expected to answer meanwhile:
    /// no resolver acts there, and no brake counts it.
    pub disturbs: bool,
    /// Whether it makes something: then it has the patience of a creation, and is stuck
    /// as one.
    pub creates: bool,
    /// Whether it changes who leads: the leader's other nodes are disturbed too.
    pub moves_lead: bool,
    /// Whether it makes or unmakes a follower: nobody promotes its subject meanwhile.
    pub remakes_follower: bool,
    /// Whether it may be given up for a failover of the same subject, whatever step it
    /// is at. A switchover may, but for the steps that promote.
    pub gives_way: bool,
    /// How pressing it is.
    pub lane: Lane,
    /// How a lead that it hands over came to another.
    pub leader_change: LeaderChangeKind,
    /// Of whom people may ask for it; `None`: only drover itself asks for it.
    pub asked: Option<AskedOf>,
}

/// Of whom people may ask for it.
#[derive(Clone, Copy, Debug)]
pub struct AskedOf {
    /// Whether it is the server that it is about, though a resource may be named.
    pub of_server: bool,
    /// Of which subjects that drover did not make.
    pub adopted: Adopted,
    /// Why it cannot be asked of a follower, if it cannot: said behind `it follows …`.
    pub not_of_follower: Option<&'static str>,
    /// Whether it can be asked of a follower only.
    pub only_of_follower: bool,
}

/// Of which adopted subjects something may be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adopted {
    /// Of any.
    Any,
    /// Of those whose cloud is known.
    WithCloud,
    /// Of none.
    None,
}

impl OperationProfile {
    const fn new(words: &'static str) -> Self {
        Self {
            words,
            doing: "",
            disturbs: true,
            creates: false,
            moves_lead: false,
            remakes_follower: false,
            gives_way: true,
            lane: Lane::Change,
            leader_change: LeaderChangeKind::Switchover,
            asked: None,
        }
    }

    /// What incidents alone ask for.
    const fn remedy(words: &'static str) -> Self {
        Self {
            lane: Lane::Repair,
            ..Self::new(words).quiet()
        }
    }

    const fn doing(self, doing: &'static str) -> Self {
        Self { doing, ..self }
    }

    /// Its subject answers meanwhile.
    const fn quiet(self) -> Self {
        Self {
            disturbs: false,
            ..self
        }
    }

    const fn remakes_follower(self) -> Self {
        Self {
            remakes_follower: true,
            ..self
        }
    }

    const fn asked(self, ask: AskedOf) -> Self {
        Self {
            asked: Some(ask),
            ..self
        }
    }

    /// People may ask for it; not of a follower, which this tells.
    const fn asked_of_leader(self, not_of_follower: &'static str) -> Self {
        self.asked(AskedOf {
            not_of_follower: Some(not_of_follower),
            ..AskedOf::ANY
        })
    }

    const fn asked_of_server(self) -> Self {
        self.asked(AskedOf {
            of_server: true,
            ..AskedOf::ANY
        })
    }

    /// People may ask for it of these subjects that drover did not make, too.
    const fn asked_of_adopted(self, adopted: Adopted) -> Self {
        self.asked(AskedOf {
            adopted,
            ..AskedOf::ANY
        })
    }
}

impl AskedOf {
    /// Of anything that drover made.
    const ANY: Self = Self {
        of_server: false,
        adopted: Adopted::None,
        not_of_follower: None,
        only_of_follower: false,
    };
}

impl OperationKind {
    /// What is true of every operation of this kind.
    pub const fn profile(self) -> OperationProfile {
        type Is = OperationProfile;
        match self {
            Self::CreateServer | Self::CreateResource => Is {
                creates: true,
                ..Is::new("is being made").doing("Creating {}")
            },
            Self::CreateFollower => Is {
                creates: true,
                ..Is::new("is being made")
                    .doing("Creating {}")
                    .remakes_follower()
            },
            Self::Unfollow => Is {
                leader_change: LeaderChangeKind::Unfollow,
                ..Is::new("becomes a leader of its own")
                    .doing("Detaching {} from its leader")
                    .remakes_follower()
            }
            .asked(AskedOf {
                only_of_follower: true,
                ..AskedOf::ANY
            }),
            Self::Switchover => Is {
                moves_lead: true,
                ..Is::new("hands its lead over").doing("Switching {} over to a follower")
            }
            .asked_of_leader("ask that one to hand over"),
            Self::Failover => Is {
                moves_lead: true,
                gives_way: false,
                lane: Lane::Save,
                leader_change: LeaderChangeKind::Failover,
                ..Is::new("loses its lead to a follower").doing("Failing {} over to a follower")
            }
            .asked_of_leader("only a leader can lose its lead"),
            Self::Rebuild => Is {
                lane: Lane::Repair,
                ..Is::new("is made to follow again")
                    .doing("Rebuilding {}")
                    .remakes_follower()
            },
            Self::SetDurability => Is::new("gets another durability")
                .doing("Changing the durability of {}")
                .quiet()
                .asked_of_leader("it has the durability of that one: ask it there"),
            Self::Gameday => Is::new("is broken on purpose")
                .doing("Breaking {} on purpose")
                .quiet(),
            Self::DestroyServer => Is::new("is being destroyed").doing("Destroying {}"),
            Self::DestroyResource => Is::new("is being destroyed")
                .doing("Destroying {}")
                .remakes_follower(),
            Self::Resize => Is::new("is being resized")
                .doing("Resizing {}")
                .asked_of_server(),
            Self::Grow => Is::new("has its volume grown")
                .doing("Growing the volume of {}")
                .quiet()
                .asked_of_server(),
            Self::Restart => Is::new("is being restarted")
                .doing("Restarting {}")
                .asked_of_adopted(Adopted::Any),
            Self::Reboot => Is::new("is being rebooted")
                .doing("Rebooting {}")
                .asked_of_adopted(Adopted::WithCloud),
            Self::StopStart => Is::new("is being moved to other hardware")
                .doing("Stopping and starting {}")
                .asked(AskedOf::ANY),
            Self::RotatePassword => Is::new("gets another password")
                .doing("Changing the password of {}")
                .quiet()
                .asked_of_leader("it has the passwords of that one: ask it there"),
            Self::Reattach => Is::remedy("has its volume attached again"),
            Self::Reconnect => Is::remedy("is told anew whom it follows"),
            Self::Replace => Is::remedy("is being replaced"),
            Self::EndSessions => Is::remedy("has idle sessions ended"),
            Self::Freeze => Is::remedy("has old tables frozen"),
            Self::RestartArchiver => Is::remedy("has its archiver restarted"),
            Self::RestoreLogin => Is::remedy("lets drover in again"),
            Self::SetReadOnly => Is::remedy("becomes read-only"),
            Self::SetReadWrite => Is::remedy("may be written to again"),
            Self::RemoveLogs => Is::remedy("has its logs removed"),
            Self::DropSlots => Is::remedy("has unread slots dropped"),
            Self::InstallHelper => Is::new("gets its drover-root")
                .doing("Installing drover-root on {}")
                .quiet()
                .asked_of_adopted(Adopted::Any),
            Self::Reconcile => Is::new("is compared with the record")
                .doing("Comparing {} with its clouds")
                .quiet(),
            Self::AdoptRecord => Is {
                lane: Lane::Save,
                leader_change: LeaderChangeKind::Adopted,
                ..Is::new("is brought up to what the servers know")
                    .doing("Bringing the record of {} up to its servers")
                    .quiet()
            },
        }
    }

    /// The kinds of which this is true, by their names in the record.
    pub fn names_where(is: fn(OperationProfile) -> bool) -> Vec<&'static str> {
        let all = Self::ALL.iter().filter(|kind| is(kind.profile()));
        all.map(|kind| kind.as_str()).collect()
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
        /// An incident has asked for it, and it failed.
        Failed = "failed",
        /// An incident has asked for it, and it was not needed, or could not be done.
        Skipped = "skipped",
    }
}

/// An operation as the record has it.
#[derive(Clone, Debug, FromRow)]
pub struct Operation {
    /// Its id and its token's.
    pub id: OperationId,
    /// On what; `None`: the deployment.
    #[sqlx(rename = "subject_id")]
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
    #[sqlx(try_from = "i16")]
    pub step: u16,
    /// Of how many.
    #[sqlx(try_from = "i16")]
    pub steps: u16,
    /// Since when it is next or at work.
    pub step_since: DateTime<Utc>,
    /// What is waited for, or went wrong last.
    pub note: Option<String>,
    /// How often this step failed in a row.
    #[sqlx(try_from = "i32")]
    pub failures: u32,
    /// By when it should be done; `None` until its first turn.
    pub deadline: Option<DateTime<Utc>>,
    /// Since when a human is needed.
    pub stuck_at: Option<DateTime<Utc>>,
    /// What a step must know of the steps before it.
    pub memo: Value,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Which incident has asked for it.
    #[sqlx(rename = "incident_id")]
    pub incident: Option<IncidentId>,
    /// As which of its remedies.
    pub remedy: Option<String>,
    /// For which time.
    pub attempt: Option<i16>,
    /// How pressing it is: the priority of its lane.
    #[sqlx(try_from = "i16")]
    pub lane: i32,
    /// Whether it has begun, and it is its turn at its subject.
    pub at_work: bool,
}

impl Operation {
    /// What stands in place of a step's name before the first one has begun.
    pub const QUEUED: &'static str = "queued";

    /// Whether its first step has begun.
    pub fn has_begun(&self) -> bool {
        self.step_name != Self::QUEUED
    }
}
