//! The five laws, each by trying to break it, on a real PostgreSQL.

#[path = "laws/append_only.rs"]
mod append_only;
#[path = "laws/brake.rs"]
mod brake;
#[path = "laws/clock.rs"]
mod clock;
#[path = "laws/distrust.rs"]
mod distrust;
#[path = "laws/fence.rs"]
mod fence;
#[path = "laws/herd.rs"]
mod herd;
#[path = "laws/incidents.rs"]
mod incidents;
#[path = "laws/ring.rs"]
mod ring;
#[path = "laws/tokens.rs"]
mod tokens;
