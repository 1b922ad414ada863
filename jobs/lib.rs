//! The work.

pub mod cloud;
pub mod feel;
pub mod local;
pub mod ssh;
