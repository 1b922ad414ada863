//! How much drover may make. The counts are exact under concurrency: whoever makes
//! something takes the one lock first, and counts behind what it has written.

use sqlx::PgConnection;

use super::plans::{self, Plan};
use super::statement::only_value;
use crate::model::Kind;

/// Makes other creations wait until this transaction ends.
pub async fn lock(db: &mut PgConnection) -> sqlx::Result<()> {
    super::one_at_a_time(db, "quotas").await
}

/// A limit that was passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The deployment's, on subjects of this kind that drover made.
    Deployment(Kind, u32),
    /// The plan's own.
    Plan(i32),
}

/// Whether there are more live subjects of drover's making than `most` of this kind.
pub async fn of_kind(
    db: &mut PgConnection,
    kind: Kind,
    most: u32,
) -> sqlx::Result<Option<Exceeded>> {
    let sql = "select count(*) from subjects
               where kind = $1 and origin = 'created' and forgotten_at is null";
    let made: i64 = only_value(db, sql, [kind]).await?;
    Ok((made > i64::from(most)).then_some(Exceeded::Deployment(kind, most)))
}

/// Whether there are more live resources of a plan than it allows.
pub async fn of_plan(db: &mut PgConnection, plan: &Plan) -> sqlx::Result<Option<Exceeded>> {
    let Some(most) = plan.max_resources else {
        return Ok(None);
    };
    let made = plans::count_resources(db, &plan.name).await?;
    Ok((made > i64::from(most)).then_some(Exceeded::Plan(most)))
}
