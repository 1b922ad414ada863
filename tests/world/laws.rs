//! The five laws, each by trying to break it, on a real PostgreSQL.

mod append_only;
mod brake;
mod clock;
mod columns;
mod distrust;
mod fence;
mod herd;
mod incidents;
mod ring;
mod tokens;
mod upgrade;
