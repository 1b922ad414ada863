//! The resource's feeler on real clusters in every condition, and on peers that
//! are no PostgreSQL at all.

#[path = "feel/causes.rs"]
mod causes;
#[path = "feel/healthy.rs"]
mod healthy;
#[path = "feel/moments.rs"]
mod moments;
#[path = "feel/strangers.rs"]
mod strangers;
#[path = "feel/tls.rs"]
mod tls;
#[path = "feel/world.rs"]
mod world;
