//! What the end-to-end tests and the benchmarks stand on: a real PostgreSQL of
//! their own, databases in it, and drover's real processes.

pub mod postgres;

pub use postgres::Postgres;

/// The provider that TLS uses, once per process.
pub fn init() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
