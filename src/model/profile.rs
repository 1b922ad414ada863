//! What differs between kinds, as one value for each: whoever adds a kind answers every
//! question here, and nowhere else.

use super::{Cause, IncidentKind, LeaderChangeKind, OperationKind};

/// What is true of every operation of a kind.
#[derive(Clone, Copy, Debug)]
pub struct OperationProfile {
    /// What it does to its subject, for people: `is being made`.
    pub words: &'static str,
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
            disturbs: true,
            creates: false,
            moves_lead: false,
            remakes_follower: false,
            gives_way: true,
            leader_change: LeaderChangeKind::Switchover,
            asked: None,
        }
    }

    const fn asked(self, ask: AskedOf) -> Self {
        Self {
            asked: Some(ask),
            ..self
        }
    }
}

impl AskedOf {
    const NEW: Self = Self {
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
                ..Is::new("is being made")
            },
            Self::CreateFollower => Is {
                creates: true,
                remakes_follower: true,
                ..Is::new("is being made")
            },
            Self::Unfollow => Is {
                remakes_follower: true,
                leader_change: LeaderChangeKind::Unfollow,
                ..Is::new("becomes a leader of its own")
            }
            .asked(AskedOf {
                only_of_follower: true,
                ..AskedOf::NEW
            }),
            Self::Switchover => Is {
                moves_lead: true,
                ..Is::new("hands its lead over")
            }
            .asked(AskedOf {
                not_of_follower: Some("ask that one to hand over"),
                ..AskedOf::NEW
            }),
            Self::Failover => Is {
                moves_lead: true,
                gives_way: false,
                leader_change: LeaderChangeKind::Failover,
                ..Is::new("loses its lead to a follower")
            }
            .asked(AskedOf {
                not_of_follower: Some("only a leader can lose its lead"),
                ..AskedOf::NEW
            }),
            Self::Rebuild => Is {
                remakes_follower: true,
                ..Is::new("is made to follow again")
            },
            Self::SetDurability => Is {
                disturbs: false,
                ..Is::new("gets another durability")
            }
            .asked(AskedOf {
                not_of_follower: Some("it has the durability of that one: ask it there"),
                ..AskedOf::NEW
            }),
            Self::Gameday => Is {
                disturbs: false,
                ..Is::new("is broken on purpose")
            },
            Self::DestroyServer => Is::new("is being destroyed"),
            Self::DestroyResource => Is {
                remakes_follower: true,
                ..Is::new("is being destroyed")
            },
            Self::Resize => Is::new("is being resized").asked(AskedOf {
                of_server: true,
                ..AskedOf::NEW
            }),
            Self::Grow => Is {
                disturbs: false,
                ..Is::new("has its volume grown")
            }
            .asked(AskedOf {
                of_server: true,
                ..AskedOf::NEW
            }),
            Self::Restart => Is::new("is being restarted").asked(AskedOf {
                adopted: Adopted::Any,
                ..AskedOf::NEW
            }),
            Self::Reboot => Is::new("is being rebooted").asked(AskedOf {
                adopted: Adopted::WithCloud,
                ..AskedOf::NEW
            }),
            Self::StopStart => Is::new("is being moved to other hardware").asked(AskedOf::NEW),
            Self::RotatePassword => Is {
                disturbs: false,
                ..Is::new("gets another password")
            }
            .asked(AskedOf {
                not_of_follower: Some("it has the passwords of that one: ask it there"),
                ..AskedOf::NEW
            }),
            Self::Reconcile => Is {
                disturbs: false,
                ..Is::new("is compared with the record")
            },
        }
    }

    /// The kinds of which this is true, by their names in the record.
    pub fn names_where(is: fn(OperationProfile) -> bool) -> Vec<&'static str> {
        let all = Self::ALL.iter().filter(|kind| is(kind.profile()));
        all.map(|kind| kind.as_str()).collect()
    }
}

/// What is true of every incident of a kind, whatever is done about it.
#[derive(Clone, Copy, Debug)]
pub struct IncidentProfile {
    /// What tells that it is over.
    pub evidence: Evidence,
    /// Whether one of a server's stands for those of its databases: nothing on a server
    /// can be mended while the server itself is not.
    pub covers_databases: bool,
    /// Whether a follower may take the lead because of it.
    pub fails_over: FailsOver,
}

/// Where an incident can be seen to be over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// In whether its subject is in service.
    Service,
    /// In that, and in the number of connections.
    Connections,
    /// In the figures of a subject that is in service.
    Figures,
    /// In those of a follower and its leader.
    Followers,
    /// In how an operation stands.
    Operation,
    /// In how many servers of the herd are seen.
    Herd,
}

/// Whose lead may be taken over because of an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailsOver {
    /// Nobody's.
    Nobody,
    /// The resource's own.
    Itself,
    /// That of every leader on the server.
    ItsLeaders,
}

impl IncidentKind {
    /// What is true of every incident of this kind.
    pub const fn profile(self) -> IncidentProfile {
        type Is = IncidentProfile;
        match self {
            Self::ResourceDown => Is {
                fails_over: FailsOver::Itself,
                ..Is::seen_by(Evidence::Service)
            },
            Self::ServerDown => Is {
                covers_databases: true,
                fails_over: FailsOver::ItsLeaders,
                ..Is::seen_by(Evidence::Service)
            },
            Self::HostKeyChanged => Is {
                covers_databases: true,
                ..Is::seen_by(Evidence::Service)
            },
            Self::CredentialsRefused => Is::seen_by(Evidence::Service),
            Self::ConnectionsExhausted => Is::seen_by(Evidence::Connections),
            Self::VolumeStuck => Is {
                covers_databases: true,
                ..Is::seen_by(Evidence::Figures)
            },
            Self::DiskCritical
            | Self::XidWraparound
            | Self::ArchivingStalled
            | Self::MaintenanceScheduled => Is::seen_by(Evidence::Figures),
            Self::FollowerLagging
            | Self::FollowerStalled
            | Self::FollowerFailed
            | Self::SplitBrain => Is::seen_by(Evidence::Followers),
            Self::CreationStuck => Is {
                covers_databases: true,
                ..Is::seen_by(Evidence::Operation)
            },
            Self::ChangeStuck => Is::seen_by(Evidence::Operation),
            Self::Blind => Is::seen_by(Evidence::Herd),
        }
    }

    /// The kinds of which this is true, by their names in the record.
    pub fn names_where(is: fn(IncidentProfile) -> bool) -> Vec<&'static str> {
        let all = Self::ALL.iter().filter(|kind| is(kind.profile()));
        all.map(|kind| kind.as_str()).collect()
    }
}

impl IncidentProfile {
    const fn seen_by(evidence: Evidence) -> Self {
        Self {
            evidence,
            covers_databases: false,
            fails_over: FailsOver::Nobody,
        }
    }
}

/// What a cause of failure says of its subject.
#[derive(Clone, Copy, Debug)]
pub struct CauseProfile {
    /// It proves that something alive answered, or at least proves nothing about the
    /// subject: that is not the same as down, and has its own patience.
    pub answered: bool,
    /// Whoever fails for it serves nobody, rather than not drover.
    pub serves_nobody: bool,
    /// It is no silence: the subject has answered, or was not asked.
    pub not_silent: bool,
    /// It is the database's own word that keeps drover out: no restart mends that.
    pub its_own_word: bool,
}

impl Cause {
    /// What it says of its subject.
    pub const fn profile(self) -> CauseProfile {
        const NOTHING: CauseProfile = CauseProfile {
            answered: false,
            serves_nobody: false,
            not_silent: false,
            its_own_word: false,
        };
        match self {
            Self::Refused
            | Self::Timeout
            | Self::NoRoute
            | Self::Disconnected
            | Self::ShuttingDown => CauseProfile {
                serves_nobody: true,
                ..NOTHING
            },
            Self::StartingUp | Self::Recovery => CauseProfile {
                answered: true,
                serves_nobody: true,
                ..NOTHING
            },
            Self::Corrupt => CauseProfile {
                serves_nobody: true,
                its_own_word: true,
                ..NOTHING
            },
            Self::Authentication | Self::Error => CauseProfile {
                answered: true,
                not_silent: true,
                its_own_word: true,
                ..NOTHING
            },
            Self::TooManyConnections | Self::ReadOnly => CauseProfile {
                answered: true,
                its_own_word: true,
                ..NOTHING
            },
            Self::DiskFull => CauseProfile {
                its_own_word: true,
                ..NOTHING
            },
            Self::Protocol
            | Self::HostKeyChanged
            | Self::HostKeyUnknown
            | Self::Creating
            | Self::Destroying => CauseProfile {
                not_silent: true,
                ..NOTHING
            },
            Self::Tls => NOTHING,
        }
    }
}
