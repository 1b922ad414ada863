//! Incidents: what is known to be wrong, and how far its mending has come. What differs
//! between kinds is one value, [`IncidentKind::profile`]; what is done about each is its
//! playbook's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;

use super::subject::named;
use super::{IncidentId, Lane, SubjectId};

named! {
    /// What is wrong. Each kind has its playbook.
    IncidentKind {
        /// A resource is unavailable, though its server is there.
        ResourceDown = "resource_down",
        /// A server is unavailable.
        ServerDown = "server_down",
        /// A data volume is almost full.
        DiskCritical = "disk_critical",
        /// A data volume takes no writes, or takes them far too slowly.
        VolumeStuck = "volume_stuck",
        /// No connection is left, or almost none.
        ConnectionsExhausted = "connections_exhausted",
        /// Transaction ids run out.
        XidWraparound = "xid_wraparound",
        /// WAL is not archived.
        ArchivingStalled = "archiving_stalled",
        /// The resource refuses drover's credentials.
        CredentialsRefused = "credentials_refused",
        /// A server shows another host key than the pinned one.
        HostKeyChanged = "host_key_changed",
        /// Another cluster answers at a resource's port.
        AnotherCluster = "another_cluster",
        /// A resource's database is not in its cluster any more.
        DatabaseGone = "database_gone",
        /// What was asked for is not being made.
        CreationStuck = "creation_stuck",
        /// A change that was asked for does not come to its end; destroying too.
        ChangeStuck = "change_stuck",
        /// The cloud will take the hardware away from under a server.
        MaintenanceScheduled = "maintenance_scheduled",
        /// A follower is too far behind its leader, and does not gain.
        FollowerLagging = "follower_lagging",
        /// A follower does not stream from its leader.
        FollowerStalled = "follower_stalled",
        /// A follower cannot follow: it has diverged, its slot is lost, it does not start.
        FollowerFailed = "follower_failed",
        /// Its commits wait for a follower, and none of them is acknowledged.
        CommitsWait = "commits_wait",
        /// The followers that its commits may wait for are not those that stream.
        ListOutdated = "list_outdated",
        /// A resource that leads is in recovery, and takes no writes.
        LeaderInRecovery = "leader_in_recovery",
        /// Its lead was taken from one that may live: nothing has stopped that one yet.
        OldLeaderAlive = "old_leader_alive",
        /// Two nodes of one resource accept writes.
        SplitBrain = "split_brain",
        /// Too much fails at once: more likely the observer than the herd.
        Blind = "blind",
        /// Servers know more than the record does: it was restored, or is a copy.
        RecordIsOld = "record_is_old",
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
    /// How pressing it is, until a human is called.
    pub lane: Lane,
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
    /// In how the herd as a whole is seen: it is no subject's.
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
                lane: Lane::Save,
                ..Is::seen_by(Evidence::Service)
            },
            Self::ServerDown => Is {
                covers_databases: true,
                fails_over: FailsOver::ItsLeaders,
                lane: Lane::Save,
                ..Is::seen_by(Evidence::Service)
            },
            Self::HostKeyChanged => Is {
                covers_databases: true,
                ..Is::seen_by(Evidence::Service)
            },
            Self::CredentialsRefused | Self::AnotherCluster | Self::DatabaseGone => {
                Is::seen_by(Evidence::Service)
            }
            Self::ConnectionsExhausted => Is::seen_by(Evidence::Connections),
            Self::VolumeStuck => Is {
                covers_databases: true,
                ..Is::seen_by(Evidence::Figures)
            },
            Self::CommitsWait | Self::LeaderInRecovery => Is {
                lane: Lane::Save,
                ..Is::seen_by(Evidence::Figures)
            },
            Self::DiskCritical
            | Self::XidWraparound
            | Self::ArchivingStalled
            | Self::ListOutdated
            | Self::MaintenanceScheduled => Is::seen_by(Evidence::Figures),
            Self::FollowerLagging | Self::FollowerStalled | Self::FollowerFailed => {
                Is::seen_by(Evidence::Followers)
            }
            Self::SplitBrain => Is {
                lane: Lane::Save,
                ..Is::seen_by(Evidence::Followers)
            },
            Self::CreationStuck => Is {
                covers_databases: true,
                ..Is::seen_by(Evidence::Operation)
            },
            Self::ChangeStuck => Is::seen_by(Evidence::Operation),
            Self::OldLeaderAlive => Is {
                lane: Lane::Save,
                ..Is::seen_by(Evidence::Operation)
            },
            Self::Blind => Is::seen_by(Evidence::Herd),
            Self::RecordIsOld => Is {
                lane: Lane::Save,
                ..Is::seen_by(Evidence::Herd)
            },
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
            lane: Lane::Repair,
        }
    }
}

named! {
    /// Where an incident stands in its machine.
    IncidentState {
        /// Opened, and nothing done yet.
        Triggered = "triggered",
        /// A remedy is at work.
        Resolving = "resolving",
        /// A remedy was applied; a fresh observation has to tell.
        Waiting = "waiting",
        /// The playbook has run out, or is not enough.
        NeedsHuman = "needs_human",
        /// Over.
        Resolved = "resolved",
    }
}

named! {
    /// What resolvers may do. In order: the later, the more cautious.
    Mode {
        /// Mend what breaks.
        Act = "act",
        /// Write down what would be done, and do nothing.
        Advise = "advise",
        /// Feel and think only.
        Hold = "hold",
    }
}

named! {
    /// What a person may do with an incident.
    Action {
        /// Says that a human has seen it.
        Acknowledge = "acknowledge",
        /// Begins the playbook anew.
        Retry = "retry",
        /// Keeps resolvers off it.
        Hold = "hold",
        /// Lets them at it again.
        Release = "release",
        /// Ends it by a human's word.
        Resolve = "resolve",
    }
}

named! {
    /// How loud a message is; PagerDuty's words.
    Severity {
        /// Service is lost.
        Critical = "critical",
        /// Service will be lost.
        Error = "error",
        /// It can wait for the morning.
        Warning = "warning",
        /// For information.
        Info = "info",
    }
}

impl Incident {
    /// How pressing it is as it stands.
    pub fn lane(&self) -> Lane {
        match self.state {
            IncidentState::NeedsHuman => Lane::Human,
            IncidentState::Triggered
            | IncidentState::Resolving
            | IncidentState::Waiting
            | IncidentState::Resolved => self.kind.profile().lane,
        }
    }
}

/// An incident as the record has it.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Incident {
    /// Its id and its token's.
    pub id: IncidentId,
    /// Whose; `None`: a zone's, or the herd's.
    #[sqlx(rename = "subject_id")]
    pub subject: Option<SubjectId>,
    /// The zone, if it is about one.
    pub zone: Option<String>,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Where it stands.
    pub state: IncidentState,
    /// Since when.
    pub state_since: DateTime<Utc>,
    /// Counts every change, so that two writers notice each other.
    pub revision: i64,
    /// What is wrong, for people.
    pub reason: String,
    /// When it was opened first.
    pub opened_at: DateTime<Utc>,
    /// By when drover gives up; `None` until the first turn.
    pub deadline: Option<DateTime<Utc>>,
    /// The remedy that was asked for last; `None`: none yet.
    pub remedy: Option<String>,
    /// How often that remedy was begun.
    #[sqlx(try_from = "i16")]
    pub attempt: u16,
    /// How often any was.
    #[sqlx(try_from = "i32")]
    pub attempts: u32,
    /// Until when a remedy's effect is waited for.
    pub wait_until: Option<DateTime<Utc>>,
    /// When the last remedy ended: only what was seen later speaks of its effect.
    pub acted_at: Option<DateTime<Utc>>,
    /// What is owed: done for the time being, and to be taken back (`undo`).
    pub memo: Value,
    /// Why nothing is done just now, if so.
    pub resting: Option<String>,
    /// How often it came back within ten minutes.
    #[sqlx(try_from = "i16")]
    pub reopened: u16,
    /// When a human saw it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// Since when a human keeps resolvers off it.
    pub held_at: Option<DateTime<Utc>>,
    /// When a human was called.
    pub paged_at: Option<DateTime<Utc>>,
    /// When the customer was told.
    pub ticketed_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub resolved_at: Option<DateTime<Utc>>,
    /// By whose word: `observation`, `operator`, `forgotten`.
    pub resolved_by: Option<String>,
}

impl Action {
    /// Everything that a person may do with an incident as it stands.
    pub fn possible(incident: &Incident) -> Vec<Action> {
        let all = Action::ALL.iter().copied();
        all.filter(|action| action.fits(incident)).collect()
    }

    /// Whether an incident in this state (and held or not) can be so acted on.
    pub fn fits(self, incident: &Incident) -> bool {
        let open = incident.state != IncidentState::Resolved;
        match self {
            Action::Acknowledge => open && incident.acknowledged_at.is_none(),
            Action::Retry => incident.state == IncidentState::NeedsHuman,
            Action::Hold => open && incident.held_at.is_none(),
            Action::Release => open && incident.held_at.is_some(),
            // A step under way would outlive the incident, unless none follows it.
            Action::Resolve => {
                open && (incident.state != IncidentState::Resolving || incident.held_at.is_some())
            }
        }
    }
}

/// What is said of an incident: a row of `incident_events`, before it is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// `opened`, `attempt`, `waiting`, `escalated` …
    pub kind: String,
    /// For people.
    pub text: String,
    /// For programs.
    #[serde(default)]
    pub detail: Value,
}

impl Note {
    /// A note without details.
    pub fn new(kind: &str, text: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            text: text.into(),
            detail: Value::Object(Default::default()),
        }
    }
}

/// What thinking found wrong with a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// What kind of wrong.
    pub kind: IncidentKind,
    /// For people.
    pub reason: String,
}

named! {
    /// Whom a message is for.
    Channel {
        /// The one on call.
        Page = "page",
        /// The customer.
        Ticket = "ticket",
        /// Their systems, which are told of changes of leader.
        Event = "event",
    }
}

named! {
    /// What a message does at the other side.
    Deed {
        /// Opens an alert or a ticket.
        Trigger = "trigger",
        /// Says that a human is at it.
        Acknowledge = "acknowledge",
        /// Says that it is over.
        Resolve = "resolve",
    }
}
