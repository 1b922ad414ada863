//! Operations that change what is there, on real servers and clusters, and every step
//! also as it is done again after a worker was cut off; clouds compared with the
//! record; maintenance that a cloud announces; plans that limit remedies.

#[path = "operate_changes/driver.rs"]
mod driver;
#[path = "operate_changes/maintenance.rs"]
mod maintenance;
#[path = "operate_changes/plans.rs"]
mod plans;
#[path = "operate_changes/reconcile.rs"]
mod reconcile;
#[path = "operate_changes/resources.rs"]
mod resources;
#[path = "operate_changes/servers.rs"]
mod servers;
#[path = "resolve/world.rs"]
mod world;
