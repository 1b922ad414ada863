//! The work of drover: feel reads the world, think reads the record, resolve
//! changes the world.
//!
//! Architecture Invariant: SSH and cloud clients are dependencies of this
//! package and of no other.

pub mod cloud;
mod dial;
pub mod feel;
pub mod host;
pub mod local;
mod notify;
mod postgres;
pub mod replay;
pub mod resolve;
pub mod ring;
pub mod ssh;
pub mod think;
pub mod verbs;
