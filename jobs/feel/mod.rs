//! feel reads the world.

pub mod context;
mod host;
pub mod lsclusters;
mod sections;
pub mod server;
mod server_log;
pub mod volumes;
pub mod witness;
