//! The API over real HTTP and a real PostgreSQL; the workers' part is played by
//! calling the queue's own steps.

#[path = "api/world.rs"]
mod world;

#[path = "api/adopting.rs"]
mod adopting;
#[path = "api/command.rs"]
mod command;
#[path = "api/open.rs"]
mod open;
#[path = "api/reading.rs"]
mod reading;
#[path = "api/refusals.rs"]
mod refusals;
