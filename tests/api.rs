//! The API over real HTTP and a real PostgreSQL; the workers' part is played by
//! calling the queue's own steps.

#[path = "api/resolver.rs"]
mod resolver;
#[path = "api/world.rs"]
mod world;

#[path = "api/actions.rs"]
mod actions;
#[path = "api/adopting.rs"]
mod adopting;
#[path = "api/changing.rs"]
mod changing;
#[path = "api/command.rs"]
mod command;
#[path = "api/creating.rs"]
mod creating;
#[path = "api/destroying.rs"]
mod destroying;
#[path = "api/durability.rs"]
mod durability;
#[path = "api/events.rs"]
mod events;
#[path = "api/followers.rs"]
mod followers;
#[path = "api/gameday.rs"]
mod gameday;
#[path = "api/idempotency.rs"]
mod idempotency;
#[path = "api/incident_command.rs"]
mod incident_command;
#[path = "api/incidents.rs"]
mod incidents;
#[path = "api/made.rs"]
mod made;
#[path = "api/making_command.rs"]
mod making_command;
#[path = "api/modes.rs"]
mod modes;
#[path = "api/open.rs"]
mod open;
#[path = "api/operations.rs"]
mod operations;
#[path = "api/orphans.rs"]
mod orphans;
#[path = "api/reading.rs"]
mod reading;
#[path = "api/refusals.rs"]
mod refusals;
