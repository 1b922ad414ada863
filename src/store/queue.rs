//! The queue contract: every statement of ours that touches `apalis.jobs` and
//! `apalis.workers` is in this module.
//!
//! A subject's token is the row whose id is the subject's id. apalis claims it
//! (`Pending` → `Queued`, with `lock_by` and `lock_at`); only the statements
//! here move it on. A step is fenced by the lock that its claim set: the
//! worker's name and the second of the claim. A row that was rescued, freed or
//! claimed again no longer bears that lock, and the step writes nothing.
//!
//! Lock order, wherever one transaction touches both: `apalis.jobs`, then
//! `subjects`. Only `bring_forward` may come later: it skips rows that are locked.

mod keep;
mod steps;
mod storable;
mod tokens;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Cadence, IncidentId, MessageId, OperationId, SubjectId, named, text_column};

pub use keep::*;
pub use steps::*;
pub use storable::LARGEST;
pub use tokens::*;

named! {
    /// The queues, which are also the kinds of workers, in the order of the ring. A name is
    /// apalis's `job_type` and `worker_type`.
    Queue {
        /// Read the world.
        Feel = "feel",
        /// The same of those who did not answer the last times: they take long, and keep
        /// nobody else waiting. Whoever feels works at both.
        Silent = "silent",
        /// Read the record and decide.
        Think = "think",
        /// Change the world.
        Resolve = "resolve",
        /// Tell people.
        Notify = "notify",
    }
}

/// What a token carries: whose it is, and nothing else. That id is also the row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// A subject's, in the ring.
    Subject(SubjectId),
    /// An open incident's, in `resolve`.
    Incident(IncidentId),
    /// An open operation's, in `resolve`.
    Operation(OperationId),
    /// An unsent message's, in `notify`: an ordinary job.
    Message(MessageId),
}

impl Token {
    /// The subject whose token it is; `None`: it is another's.
    pub fn subject(self) -> Option<SubjectId> {
        match self {
            Token::Subject(id) => Some(id),
            Token::Incident(_) | Token::Operation(_) | Token::Message(_) => None,
        }
    }
}

impl std::fmt::Display for Token {
    /// The row's id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Subject(id) => id.fmt(f),
            Token::Incident(id) => id.fmt(f),
            Token::Operation(id) => id.fmt(f),
            Token::Message(id) => id.fmt(f),
        }
    }
}

text_column!(bind Token);

/// The lock under which a step may commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The token.
    pub token: Token,
    /// The worker that claimed it: apalis's `lock_by`.
    pub worker: String,
    /// When it did: Unix seconds of apalis's `lock_at`.
    pub at: i64,
}

/// How long without a heartbeat until a worker counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(12);

/// How often a worker says that it lives, and frees what the dead of its queue hold.
pub const HEARTBEAT: Duration = Duration::from_millis(2500);

/// So a dead worker's tokens are free after at most 15 s, which the longest cadence
/// leaves room for: the ring's promise is one observation a minute.
const _: () = assert!(
    Cadence::LONGEST.as_millis() * 11 / 10
        + DEAD_AFTER.as_millis()
        + HEARTBEAT.as_millis()
        + A_FEEL.as_millis()
        < 60_000
);

/// What a feel takes of a subject that answers, at most.
const A_FEEL: Duration = Duration::from_secs(3);

/// Longer than any token can be locked by a worker that works as it should:
/// twice a handler's limit (waiting its turn, then at work) and a margin.
pub const STUCK_AFTER: Duration = Duration::from_secs(120);

/// No subject's token is due later than this: the longest cadence, its jitter, and a margin. One
/// that is was put there before the control database's clock was set back, and would wait
/// for that clock to come round again.
pub const AHEAD: Duration = Duration::from_millis(Cadence::LONGEST.as_secs() * 1_100 + 5_000);

/// The same of the tokens of incidents and operations, which look once a minute at least.
const RESOLVE_AHEAD: Duration = Duration::from_secs(300);

/// How far ahead a worker's word or a lock may be dated: likewise.
const AHEAD_OF_NOW: Duration = Duration::from_secs(5);

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
