//! Transactions that read, all from one snapshot.

use sqlx::{PgPool, Postgres};

/// A transaction of its own connection; it is rolled back unless it is committed.
pub type Transaction = sqlx::Transaction<'static, Postgres>;

/// Begins a transaction that only reads, and all from one snapshot, so that what is read
/// fits together.
pub async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction> {
    pool.begin_with("begin isolation level repeatable read, read only")
        .await
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
    pool.begin_with(begin).await
}
