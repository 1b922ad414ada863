//! Telling people: real workers at the queue `notify`, a real control database, and
//! stand-ins over real HTTP that check what they are told.

mod delivery;
mod leaders;
mod limits;
mod processes;
mod tickets;
mod visibility;
mod world;
