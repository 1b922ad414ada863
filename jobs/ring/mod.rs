//! The ring's machinery: apalis workers that claim tokens, and the two batchers
//! every step goes through, the loader and the committer.
//!
//! ```text
//!  apalis.jobs ──claim──▶ handler ──▶ loader ──▶ feel / think ──▶ committer ──▶ apalis.jobs
//!                            └───────── failed, panicked, too late ──▶ put back with a delay
//! ```
//!
//! Resolve and notify do without the batchers: each of their turns has transactions
//! of its own, which begin by holding the token.
//!
//! Architecture Invariant: a handler changes the record only in a transaction that
//! moves its token or holds it, under its lock.

mod batch;
mod handler;
mod name;
mod poll;
mod tiers;
mod worker;

use std::time::Duration;

pub use batch::{BatchError, Batcher};
pub(crate) use handler::{BATCH, LINGER, loader, report_lost, subject_of};
pub use handler::{Work, WorkError};
pub use name::WorkerName;
pub use tiers::Tiers;
pub(crate) use worker::supervise;

/// How the workers of one process claim.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Jobs at work at once, per queue.
    pub concurrency: u32,
    /// From the call to stop until what is still at work is given back.
    pub drain: Duration,
    /// The longest an idle worker waits before it looks for tokens again.
    pub poll: Duration,
}
