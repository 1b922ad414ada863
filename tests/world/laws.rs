//! The laws, each by trying to break it, on a real PostgreSQL.

mod append_only;
mod brake;
mod cadence;
mod clock;
mod columns;
mod distrust;
mod fence;
mod herd;
mod incidents;
mod lanes;
mod minute;
mod old_record;
mod ring;
mod scenes;
mod tokens;
mod told;
mod transactions;
mod upgrade;
