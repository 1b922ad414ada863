//! Answers that were given to POSTs with an Idempotency-Key.

use super::statement::{Bind, Statement};
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
        let ours: Option<DateTime<Utc>> = sqlx::query_scalar(
            "insert into idempotency_keys (key, path, digest) values ($1, $2, $3)
             on conflict (key, path) do update
             set digest = excluded.digest, created_at = now(), status = null, answer = null
             where idempotency_keys.created_at < now() - interval '24 hours'
             returning created_at",
        )
        .bind_all((key, path, digest))
        .fetch_optional(&mut *db)
        .await?;
        if let Some(at) = ours {
            return Ok(Claim::Ours(at));
        }
        let before: Option<Earlier> = sqlx::query_as(
            "select digest, status, answer,
                    extract(epoch from now() - created_at)::float8 as age_s
             from idempotency_keys where key = $1 and path = $2",
        )
        .bind_all((key, path))
        .fetch_optional(&mut *db)
        .await?;
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
    sqlx::query(
        "update idempotency_keys set status = $4, answer = $5
         where key = $1 and path = $2 and created_at = $3",
    )
    .bind(key)
    .bind(path)
    .bind(at)
    .bind(i16::try_from(status).unwrap_or(i16::MAX))
    .bind(answer)
    .run(db)
    .await
}

/// Takes a claim back: nothing was done.
pub async fn take_back(
    db: &mut PgConnection,
    (key, path, at): (&str, &str, DateTime<Utc>),
) -> sqlx::Result<()> {
    sqlx::query("delete from idempotency_keys where key = $1 and path = $2 and created_at = $3")
        .bind_all((key, path, at))
        .run(db)
        .await
}

/// Takes out those that are older than a day.
pub async fn prune(db: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query("delete from idempotency_keys where created_at < now() - interval '24 hours'")
        .count(db)
        .await
}
