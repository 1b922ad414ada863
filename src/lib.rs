//! The record of a herd of PostgreSQL servers and databases, the queue that
//! its tokens go round in, and the processes that need nothing else: `web`,
//! `clock` and the `drover` command.
//!
//! Architecture Invariant: nothing in this package can reach a server, a
//! database of the herd or a cloud. The work is in `drover-jobs`, which depends
//! on this package and never the other way round.

pub mod api;
pub mod client;
pub mod clock;
pub mod config;
pub mod log;
pub mod model;
pub mod store;
pub mod web;

/// What `--version` and the worker rows say.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
