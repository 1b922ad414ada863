//! Plans: what can be bought.

use sqlx::{FromRow, PgConnection};

use super::statement::{only_value, row, rows};
pub use crate::api::Plan;
use crate::model::{IncidentKind, SubjectId};

/// All of them.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<Plan>> {
    let sql = "select * from plans order by shared desc, followers, name";
    rows(db, sql, ()).await
}

/// The plan of this name.
pub async fn find(db: &mut PgConnection, name: &str) -> sqlx::Result<Option<Plan>> {
    row(db, "select * from plans where name = $1", [name]).await
}

/// Live resources of a plan.
pub async fn count_resources(db: &mut PgConnection, plan: &str) -> sqlx::Result<i64> {
    let sql = "select count(*) from resources r join subjects s using (id)
               where r.plan = $1 and s.origin = 'created' and s.forgotten_at is null";
    only_value(db, sql, [plan]).await
}

/// A plan that does not allow every remedy.
#[derive(Clone, Debug, FromRow)]
pub struct Limited {
    /// Its name.
    pub name: String,
    /// What it allows, `kind/remedy`.
    pub remedies: Vec<String>,
}

impl Limited {
    /// Whether it allows this.
    pub fn allows(&self, kind: IncidentKind, remedy: &str) -> bool {
        let wanted = format!("{kind}/{remedy}");
        self.remedies.contains(&wanted)
    }
}

/// The plan of a resource, or the one that a server was made for, if it limits the
/// remedies that may be used.
pub async fn limiting(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<Option<Limited>> {
    let sql = "select name, remedies from plans
               where remedies is not null
                 and name = coalesce((select plan from resources where id = $1),
                                     (select for_plan from servers where id = $1))";
    row(db, sql, [subject]).await
}
