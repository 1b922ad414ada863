//! Real Debian machines on this one, by systemd-nspawn: what EC2 is to Amazon, to tests and
//! demos. A daemon (`serve`) keeps them; [`client::Client`] asks it. Where they cannot be had,
//! its machines are [`processes`] of one user.
//!
//! Knows nothing of drover, so that it is no part of what it helps to test.

pub mod check;
pub mod client;
pub mod image;
pub mod machine;
pub mod metadata;
pub mod network;
pub mod processes;
pub mod protocol;
mod record;
pub mod run;
pub mod serve;
pub mod volume;
