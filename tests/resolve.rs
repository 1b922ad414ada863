//! The playbooks on real servers and clusters, step by step, and every step also
//! as it is done again after a worker was cut off.

#[path = "resolve/archiving.rs"]
mod archiving;
#[path = "resolve/disk.rs"]
mod disk;
#[path = "resolve/driver.rs"]
mod driver;
#[path = "resolve/freezing.rs"]
mod freezing;
#[path = "resolve/servers.rs"]
mod servers;
#[path = "resolve/sessions.rs"]
mod sessions;
#[path = "resolve/world.rs"]
mod world;
