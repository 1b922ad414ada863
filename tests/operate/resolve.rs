//! The playbooks on real servers and clusters, step by step, and every step also
//! as it is done again after a worker was cut off.

mod archiving;
mod clusters;
mod disk;
mod driver;
mod freezing;
mod full_disk;
mod servers;
mod sessions;
