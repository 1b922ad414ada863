//! The resource's feeler on real clusters in every condition, and on peers that
//! are no PostgreSQL at all.

mod causes;
mod healthy;
mod moments;
mod strangers;
mod tls;
mod world;
