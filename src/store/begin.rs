//! Transactions of the control database: one to write in, one that reads a snapshot.

use sqlx::{PgPool, Postgres};

/// A transaction of its own connection; it is rolled back unless it is committed.
pub type Transaction = sqlx::Transaction<'static, Postgres>;

/// Begins a transaction to write in.
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction> {
    begin_with(pool, "begin").await
}

/// Begins a transaction that only reads, and all from one snapshot, so that what is read
/// fits together.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction> {
    begin_with(pool, "begin isolation level repeatable read, read only").await
}

/// The same, by index, row by row, whatever the planner takes the tables for: a plan that
/// was made while today's partition was empty may be used for as long as the connection
/// lasts, and would read the whole day for each subject.
pub(super) async fn snapshot_by_index(pool: &PgPool) -> sqlx::Result<Transaction> {
    let begin = "begin isolation level repeatable read, read only;
        set local enable_seqscan = off;
        set local enable_bitmapscan = off;
        set local enable_sort = off;
        set local enable_hashjoin = off;
        set local enable_mergejoin = off";
    begin_with(pool, begin).await
}

/// In a task of its own, so that it comes to its end although its caller is dropped, by a
/// time limit or by a client that hangs up. The pool's own `begin` would leave its
/// connection in a transaction that nobody ends, and whoever gets it next would write into
/// that: <https://github.com/transact-rs/sqlx/issues/4393>, mended there after 0.9.0.
async fn begin_with(pool: &PgPool, statement: &'static str) -> sqlx::Result<Transaction> {
    let pool = pool.clone();
    #[allow(clippy::disallowed_methods, reason = "this is what the others call")]
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}
