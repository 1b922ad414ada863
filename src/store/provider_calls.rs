//! Calls to providers that take only so many a minute, from all processes
//! together.

use std::time::Duration;

use sqlx::PgConnection;

use super::statement::{run, touched, value};
use crate::model::Provider;

/// Notes a call that is about to be made, if this provider has not been called
/// `per_minute` times within the last minute; otherwise tells how long until there
/// is room again. Call it in a transaction: until its end, the others wait, so that
/// of two that count at once only one finds the last place.
pub async fn claim(
    db: &mut PgConnection,
    provider: Provider,
    per_minute: u32,
) -> sqlx::Result<Result<(), Duration>> {
    let sql = "select pg_advisory_xact_lock(hashtext('provider_calls'), hashtext($1))";
    run(db, sql, [provider]).await?;
    // The newest `per_minute` calls; with the oldest of them a place gets free. A call
    // may take longer on its way than another: hence a little more than a minute.
    let sql = "with room as (
                   select at from provider_calls
                   where provider = $1 and at > clock_timestamp() - interval '62 s'
                   order by at desc
                   offset $2 - 1 limit 1),
               noted as (
                   insert into provider_calls (provider)
                   select $1 where not exists (select from room))
               select extract(epoch from at + interval '62 s' - clock_timestamp())::float8
               from room";
    let wait: Option<f64> = value(db, sql, (provider, i64::from(per_minute.max(1)))).await?;
    Ok(match wait {
        None => Ok(()),
        Some(seconds) => Err(Duration::from_secs_f64(seconds.clamp(0.0, 62.0))),
    })
}

/// Takes out calls that no limit looks at any more.
pub async fn prune(db: &mut PgConnection) -> sqlx::Result<u64> {
    let sql = "delete from provider_calls where at < now() - interval '10 minutes'";
    touched(db, sql, ()).await
}
