//! The catalogue of resolvers, published by the workers that have them.

use super::statement::{rows, run};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

/// A published playbook.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Published {
    /// The kind of incident it is for.
    pub kind: String,
    /// The playbook as data.
    pub playbook: Value,
    /// The release of drover that has it.
    pub release: String,
    /// When it was published last.
    pub published_at: DateTime<Utc>,
}

/// Publishes playbooks: what this release can do.
pub async fn publish(db: &mut PgConnection, playbooks: &[(String, Value)]) -> sqlx::Result<()> {
    let (kinds, books): (Vec<&str>, Vec<&Value>) = playbooks
        .iter()
        .map(|(kind, book)| (kind.as_str(), book))
        .unzip();
    let sql = "insert into resolvers (kind, playbook, release)
               select kind, playbook, $3 from unnest($1::text[], $2::jsonb[]) as p (kind, playbook)
               order by kind
               on conflict (kind) do update
               set playbook = excluded.playbook, release = excluded.release, published_at = now()";
    run(db, sql, (kinds, books, env!("CARGO_PKG_VERSION"))).await
}

/// All of them.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<Published>> {
    let sql = "select kind, playbook, release, published_at from resolvers order by kind";
    rows(db, sql, ()).await
}
