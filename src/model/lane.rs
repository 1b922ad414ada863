//! Lanes: in which order due work is taken up.

/// How pressing work is. A worker that is free takes the most pressing work that is due,
/// and of that the one that has been due for longest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// It waits for a human, and is only looked at.
    Human,
    /// What somebody asked for. Subjects that answer, and messages, are on this one too.
    Change,
    /// What is broken is repaired.
    Repair,
    /// Data may be lost, or nobody leads: fencing, failover, split brain, and the
    /// incidents from which a failover can come.
    Save,
}

impl Lane {
    /// Its number in the queue: the higher, the sooner.
    pub const fn priority(self) -> i32 {
        match self {
            Self::Human => -10,
            Self::Change => 0,
            Self::Repair => 10,
            Self::Save => 20,
        }
    }
}
