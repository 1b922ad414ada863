//! Tiers: groups of subjects that go by rules of their own.

use super::statement::{rows, run};
use serde_json::Value;
use sqlx::PgConnection;

/// All tiers with what differs from the deployment's rules.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<(String, Value)>> {
    rows(db, "select name, rules from tiers order by name", ()).await
}

/// Makes a tier, or gives it other rules.
pub async fn put(db: &mut PgConnection, name: &str, rules: &Value) -> sqlx::Result<()> {
    let sql = "insert into tiers (name, rules) values ($1, $2)
               on conflict (name) do update set rules = excluded.rules";
    run(db, sql, (name, rules)).await
}
