//! Which of the clocks leads: the one whose connection holds an advisory lock.

use sqlx::PgConnection;

use super::statement::only_value;

/// Any constant of ours: "drover" in ASCII.
const LOCK: i64 = 0x64_72_6f_76_65_72;

/// Takes the lead, if nobody has it. It lasts as long as the connection.
pub async fn take(db: &mut PgConnection) -> sqlx::Result<bool> {
    only_value(db, "select pg_try_advisory_lock($1)", [LOCK]).await
}
