//! Tiers: groups of subjects that go by rules of their own.

use super::statement::{Bind, Statement};
use serde_json::Value;
use sqlx::PgConnection;

/// All tiers with what differs from the deployment's rules.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<(String, Value)>> {
    sqlx::query_as("select name, rules from tiers order by name")
        .fetch_all(db)
        .await
}

/// Makes a tier, or gives it other rules.
pub async fn put(db: &mut PgConnection, name: &str, rules: &Value) -> sqlx::Result<()> {
    sqlx::query(
        "insert into tiers (name, rules) values ($1, $2)
         on conflict (name) do update set rules = excluded.rules",
    )
    .bind_all((name, rules))
    .run(db)
    .await
}
