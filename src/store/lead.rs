//! Which of the clocks leads: the one whose connection holds an advisory lock.

use sqlx::PgConnection;

/// Any constant of ours: "drover" in ASCII.
const LOCK: i64 = 0x64_72_6f_76_65_72;

/// Takes the lead, if nobody has it. It lasts as long as the connection.
pub async fn take(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(db)
        .await
}
