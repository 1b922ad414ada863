//! Telling people: real workers at the queue `notify`, a real control database, and
//! stand-ins over real HTTP that check what they are told.

#[path = "notify/delivery.rs"]
mod delivery;
#[path = "notify/leaders.rs"]
mod leaders;
#[path = "notify/limits.rs"]
mod limits;
#[path = "notify/processes.rs"]
mod processes;
#[path = "notify/tickets.rs"]
mod tickets;
#[path = "notify/visibility.rs"]
mod visibility;
#[path = "notify/world.rs"]
mod world;
