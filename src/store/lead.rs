//! Which of the clocks leads: the one that has said so last, for as long as it said.

use std::time::Duration;

use sqlx::PgConnection;

use super::queue::millis;
use super::statement::{only_value, run, value};

/// So long a clock leads without saying so again. A leader says so every 5 s, at a chore that
/// comes as often, and so does whoever waits for its end.
pub const LEADS_FOR: Duration = Duration::from_secs(20);

/// Takes the lead, if nobody else has it, or keeps it. An end that is further away than any
/// clock can have said was said before the database's own clock was set back.
pub async fn take(db: &mut PgConnection, holder: &str) -> sqlx::Result<bool> {
    let sql = "insert into clock_lead as l (holder, leads_until)
         values ($1, now() + $2 * interval '1 ms')
         on conflict (one) do update
         set holder = excluded.holder, leads_until = excluded.leads_until
         where l.holder = excluded.holder
            or l.leads_until not between now() and excluded.leads_until
         returning true";
    let taken: Option<bool> = value(db, sql, (holder, millis(LEADS_FOR))).await?;
    Ok(taken.is_some())
}

/// Gives it up, if it is this one's.
pub async fn resign(db: &mut PgConnection, holder: &str) -> sqlx::Result<()> {
    run(db, "delete from clock_lead where holder = $1", [holder]).await?;
    Ok(())
}

/// Whether a clock leads.
pub async fn is_held(db: &mut PgConnection) -> sqlx::Result<bool> {
    let sql = "select exists (select from clock_lead
                   where leads_until between now() and now() + $1 * interval '1 ms')";
    only_value(db, sql, [millis(LEADS_FOR)]).await
}
