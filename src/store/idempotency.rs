//! Answers that were given to POSTs with an Idempotency-Key.

use super::statement::{row, run, touched, value};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

/// What has become of a key at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is new, and the caller's to answer; the time tells this claim from others.
    Ours(DateTime<Utc>),
    /// It was used before.
    Before(Earlier),
}

/// The request that used a key first.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Earlier {
    /// Of its body.
    pub digest: Vec<u8>,
    /// HTTP status; `None`: it has not been answered.
    pub status: Option<i16>,
    /// What was answered.
    pub answer: Option<Value>,
    /// Seconds since it came.
    pub age_s: f64,
}

/// Claims a key at a path for a request with this body, if nobody has within a day.
pub async fn claim(
    db: &mut PgConnection,
    key: &str,
    path: &str,
    digest: &[u8],
) -> sqlx::Result<Claim> {
    // The earlier one may be taken back between the two statements; then the key is
    // free again.
    loop {
        let sql = "insert into idempotency_keys (key, path, digest) values ($1, $2, $3)
                   on conflict (key, path) do update
                   set digest = excluded.digest, created_at = now(), status = null, answer = null
                   where idempotency_keys.created_at < now() - interval '24 hours'
                   returning created_at";
        let ours: Option<DateTime<Utc>> = value(db, sql, (key, path, digest)).await?;
        if let Some(at) = ours {
            return Ok(Claim::Ours(at));
        }
        let sql = "select digest, status, answer,
                          extract(epoch from now() - created_at)::float8 as age_s
                   from idempotency_keys where key = $1 and path = $2";
        let before: Option<Earlier> = row(db, sql, (key, path)).await?;
        if let Some(before) = before {
            return Ok(Claim::Before(before));
        }
    }
}

/// Keeps what was answered.
pub async fn keep(
    db: &mut PgConnection,
    (key, path, at): (&str, &str, DateTime<Utc>),
    status: u16,
    answer: &Value,
) -> sqlx::Result<()> {
    let values = (
        key,
        path,
        at,
        i16::try_from(status).unwrap_or(i16::MAX),
        answer,
    );
    let sql = "update idempotency_keys set status = $4, answer = $5
               where key = $1 and path = $2 and created_at = $3";
    run(db, sql, values).await
}

/// Takes a claim back: nothing was done.
pub async fn take_back(
    db: &mut PgConnection,
    (key, path, at): (&str, &str, DateTime<Utc>),
) -> sqlx::Result<()> {
    let sql = "delete from idempotency_keys where key = $1 and path = $2 and created_at = $3";
    run(db, sql, (key, path, at)).await
}

/// Takes out those that are older than a day.
pub async fn prune(db: &mut PgConnection) -> sqlx::Result<u64> {
    let sql = "delete from idempotency_keys where created_at < now() - interval '24 hours'";
    touched(db, sql, ()).await
}
