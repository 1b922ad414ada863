//! What there is: nodes, the record, workers, and what may happen.

use super::Bounds;

/// Nodes.
pub(crate) const N: u8 = 3;

/// A place in the WAL is how many rows are before it; a row is its number.
pub(crate) type Log = Vec<u8>;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) runs: bool,
    /// It has no `standby.signal`: whoever runs it runs a leader.
    pub(crate) leads: bool,
    pub(crate) log: Log,
    pub(crate) timeline: u8,
    /// The timelines before its own, and where each was left.
    pub(crate) history: Vec<(u8, u8)>,
    pub(crate) follows: Option<u8>,
    /// Whom its commits wait for, if it leads; a bit for each.
    pub(crate) list: u8,
    /// It confirms nothing to whom it follows, until it is told anew.
    pub(crate) revoked: bool,
    /// The newest word that it has obeyed.
    pub(crate) word: Word,
    /// Whether it has obeyed one since the record was dumped, of the record that was lost then.
    pub(crate) knows_more: bool,
}

/// The epoch, and the number of the lease.
pub(crate) type Word = (u8, u8);

/// What an operation does next.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Step {
    // Failover.
    Choose,
    Fence,
    Revoke,
    Elect,
    // Switchover.
    Stop,
    CatchUp,
    LeadOn,
    // Both.
    Promote,
    Swap,
    Repoint,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) planned: bool,
    /// Its followers stand for the leader, which may live.
    pub(crate) by_followers: bool,
    pub(crate) step: Step,
    pub(crate) to: Option<u8>,
    pub(crate) timeline: u8,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) leader: u8,
    pub(crate) epoch: u8,
    /// The highest number that a timeline was given.
    pub(crate) newest: u8,
    /// The timeline that the leader leads on.
    pub(crate) timeline: u8,
    /// Who may be in the leader's list.
    pub(crate) counted: u8,
    /// The number of the lease.
    pub(crate) lease: u8,
    /// Whether it was restored: its leases have other nonces than those of before.
    pub(crate) restored: bool,
    pub(crate) operation: Option<Operation>,
}

/// A worker that has begun a step.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The record as it was then.
    pub(crate) record: Record,
    pub(crate) operation: Operation,
    /// What the step has come to, once it has been done: the operation goes on with this.
    /// `None`: it is yet to be done.
    pub(crate) done: Option<Option<Operation>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) nodes: Vec<Node>,
    pub(crate) record: Record,
    /// The record as it was once.
    pub(crate) dump: Option<Record>,
    pub(crate) turns: Vec<Option<Turn>>,
    /// The next row, and those that were acknowledged; a bit for each.
    pub(crate) next: u8,
    pub(crate) acknowledged: u8,
    pub(crate) left: Bounds,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Action {
    Write(u8),
    Stream(u8),
    Acknowledge(u8),
    Crash(u8),
    /// Whoever finds it down starts it, as what it is by the record.
    Start(u8),
    AskSwitchover,
    AskFailover,
    Dump,
    Restore,
    Begin(u8),
    Act(u8),
    Commit(u8),
    Die(u8),
    Rebuild(u8),
    Join(u8),
    /// It does not stream, and is taken out of the list.
    Leave(u8),
    /// Another operation tells a follower anew whom it follows.
    Reconnect(u8),
    SetList,
}

pub(crate) fn bit(node: u8) -> u8 {
    1 << node
}

impl State {
    pub(crate) fn node(&self, n: u8) -> &Node {
        &self.nodes[usize::from(n)]
    }

    pub(crate) fn node_mut(&mut self, n: u8) -> &mut Node {
        &mut self.nodes[usize::from(n)]
    }

    pub(crate) fn is_leading(&self, n: u8) -> bool {
        let node = self.node(n);
        node.runs && node.leads
    }

    /// Whether this follower gets WAL from whom it follows, and what it would have then.
    pub(crate) fn streamed(&self, f: u8) -> Option<Node> {
        let node = self.node(f);
        let from = self.node(node.follows?);
        if !node.runs || node.leads || node.revoked || !from.leads || !from.runs {
            return None;
        }
        let at = node.log.len();
        let mut got = node.clone();
        if node.timeline != from.timeline {
            // Up to where the other parted from its own, and over to that one there.
            let parted = from.history.iter().find(|(old, _)| *old == node.timeline)?;
            if at > usize::from(parted.1) {
                return None;
            }
            if at == usize::from(parted.1) {
                got.timeline = from.timeline;
                got.history = from.history.clone();
                return Some(got);
            }
        }
        // PostgreSQL compares places, and not what is before them.
        got.log.extend(from.log.get(at));
        (got != *node).then_some(got)
    }
}
