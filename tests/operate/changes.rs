//! Operations that change what is there, on real servers and clusters, and every step
//! also as it is done again after a worker was cut off; clouds compared with the
//! record; maintenance that a cloud announces; plans that limit remedies.

pub mod driver;
mod drover_root;
mod maintenance;
mod plans;
mod reconcile;
mod resources;
mod ring;
mod servers;
