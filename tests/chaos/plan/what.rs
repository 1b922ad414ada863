//! What can break, and what can be asked.

use std::fmt;

/// A resource of the herd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// A leader with followers, whose commits wait for nobody.
    Orders,
    /// A leader with followers, whose commits wait for one of them.
    Accounts,
    /// One without followers.
    Notes,
}

impl Which {
    pub const ALL: [Self; 3] = [Self::Orders, Self::Accounts, Self::Notes];
    /// Those with followers.
    pub(super) const FOLLOWED: [Self; 2] = [Self::Orders, Self::Accounts];

    /// What its leader is called, whoever that is.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Accounts => "accounts",
            Self::Notes => "notes",
        }
    }
}

/// Whom it hits, found out when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Leader(Which),
    /// One of its followers, counted as far as there are any.
    Follower(Which, usize),
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Process(Process, Blow),
    Machine(Node, MachineFault),
    Network(Node, Way, NetworkFault),
    /// SIGKILL to the postmaster.
    Postmaster(Node),
    Disk(Node, DiskFault),
    ControlDatabase(DatabaseFault),
    Cloud(CloudFault),
}

/// A process of drover's, by its line of the Procfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Web,
    Clock,
    Feel,
    Think,
    Resolve,
    Notify,
}

impl Process {
    pub const ALL: [Self; 6] = [
        Self::Web,
        Self::Clock,
        Self::Feel,
        Self::Think,
        Self::Resolve,
        Self::Notify,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Clock => "clock",
            Self::Feel => "feel",
            Self::Think => "think",
            Self::Resolve => "resolve",
            Self::Notify => "notify",
        }
    }
}

/// What a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL; another is started when the fault ends.
    Kill,
    /// SIGSTOP; it goes on when the fault ends.
    Pause,
    /// SIGTERM, and another is started at once.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineFault {
    PowerOff,
    Reboot,
    Freeze,
    /// Its wall clock is an hour off, by these seconds.
    Clock(i64),
}

/// Between whom the network breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The control plane and the machine.
    ControlPlane,
    /// The machine and another node of its resource.
    Peer,
    /// The machine and the customers, who are on one of their own.
    Customers,
    /// The machine and everybody.
    Everybody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    Cut,
    /// What the machine sends is lost.
    CutOut,
    /// What is sent to the machine is lost.
    CutIn,
    /// So many packets of a hundred are lost.
    Lossy(u8),
    /// Kilobits a second, of the machine with everybody.
    Slow(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    Full,
    Hanging,
    /// Its filesystem takes no writes, as after an error of the disk.
    ReadOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFault {
    /// SIGKILL to all of it; it is started when the fault ends.
    Kill,
    /// SIGSTOP to all of it.
    Freeze,
    /// It is dumped, and becomes what was dumped when the fault ends.
    Restore,
    /// It gets a standby, which takes its place when the fault ends, without what was committed
    /// last.
    FailOver,
}

/// How the cloud answers drover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudFault {
    /// Never.
    Silent,
    /// After seconds.
    Slow,
    /// It hangs up.
    Refuses,
    /// With what means nothing.
    Garbles,
}

impl What {
    /// Whether it hits a leader, its machine or its network.
    pub const fn hits_a_leader(self) -> bool {
        match self {
            Self::Machine(node, _)
            | Self::Network(node, _, _)
            | Self::Postmaster(node)
            | Self::Disk(node, _) => matches!(node, Node::Leader(_)),
            Self::Process(..) | Self::ControlDatabase(_) | Self::Cloud(_) => false,
        }
    }

    /// What the summary counts it as.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Process(_, Blow::Kill) => "process killed",
            Self::Process(_, Blow::Pause) => "process paused",
            Self::Process(_, Blow::Restart) => "process restarted",
            Self::Machine(_, MachineFault::PowerOff) => "machine off",
            Self::Machine(_, MachineFault::Reboot) => "machine rebooted",
            Self::Machine(_, MachineFault::Freeze) => "machine frozen",
            Self::Machine(_, MachineFault::Clock(_)) => "clock off",
            Self::Network(_, _, NetworkFault::Cut) => "network cut",
            Self::Network(_, _, NetworkFault::CutOut | NetworkFault::CutIn) => {
                "network cut one way"
            }
            Self::Network(_, _, NetworkFault::Lossy(_)) => "network lossy",
            Self::Network(_, _, NetworkFault::Slow(_)) => "network slow",
            Self::Postmaster(_) => "postmaster killed",
            Self::Disk(_, DiskFault::Full) => "disk full",
            Self::Disk(_, DiskFault::Hanging) => "disk hanging",
            Self::Disk(_, DiskFault::ReadOnly) => "disk read-only",
            Self::ControlDatabase(DatabaseFault::Kill) => "control database killed",
            Self::ControlDatabase(DatabaseFault::Freeze) => "control database frozen",
            Self::ControlDatabase(DatabaseFault::Restore) => "control database restored",
            Self::ControlDatabase(DatabaseFault::FailOver) => "control database failed over",
            Self::Cloud(CloudFault::Silent) => "cloud silent",
            Self::Cloud(CloudFault::Slow) => "cloud slow",
            Self::Cloud(CloudFault::Refuses) => "cloud refuses",
            Self::Cloud(CloudFault::Garbles) => "cloud garbles",
        }
    }
}

/// What operators ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Switchover(Which),
    /// Of the server.
    Reboot(Node),
    /// Of the database.
    Restart(Node),
    /// Of the server of a follower, to the other of its plan's sizes.
    Resize(Which),
    AddFollower(Which),
    /// The one that was made last.
    DestroyFollower(Which),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader(which) => write!(f, "the leader of {which}"),
            Self::Follower(which, n) => write!(f, "follower {} of {which}", n + 1),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Process(process, _) => write!(f, "{kind}: {}", process.name()),
            Self::Machine(node, MachineFault::Clock(by)) => write!(f, "{kind} by {by} s: {node}"),
            Self::Machine(node, _) | Self::Postmaster(node) | Self::Disk(node, _) => {
                write!(f, "{kind}: {node}")
            }
            Self::Network(node, way, fault) => {
                let way = match way {
                    Way::ControlPlane => "the control plane",
                    Way::Peer => "a node of the same resource",
                    Way::Customers => "the customers",
                    Way::Everybody => "everybody",
                };
                let how = match fault {
                    NetworkFault::Cut => String::new(),
                    NetworkFault::CutOut => ", what it sends".to_owned(),
                    NetworkFault::CutIn => ", what is sent to it".to_owned(),
                    NetworkFault::Lossy(percent) => format!(", {percent} % lost"),
                    NetworkFault::Slow(rate) => format!(", {rate} kbit/s"),
                };
                write!(f, "{kind}: {node} and {way}{how}")
            }
            Self::ControlDatabase(_) | Self::Cloud(_) => f.write_str(kind),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switchover(which) => write!(f, "switchover of {which}"),
            Self::Reboot(node) => write!(f, "reboot of the server of {node}"),
            Self::Restart(node) => write!(f, "restart of {node}"),
            Self::Resize(which) => write!(f, "resize of a follower of {which}"),
            Self::AddFollower(which) => write!(f, "one more follower of {which}"),
            Self::DestroyFollower(which) => write!(f, "the newest follower of {which} destroyed"),
        }
    }
}
