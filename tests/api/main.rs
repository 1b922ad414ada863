//! The API over real HTTP and a real PostgreSQL; the workers' part is played by
//! calling the queue's own steps.

mod resolver;
mod world;

mod actions;
mod addresses;
mod adopting;
mod changing;
mod command;
mod creating;
mod destroying;
mod durability;
mod events;
mod followers;
mod gameday;
mod idempotency;
mod incident_command;
mod incidents;
mod made;
mod making_command;
mod modes;
mod open;
mod operations;
mod orphans;
mod reading;
mod refusals;
mod set_back;
