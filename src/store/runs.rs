//! What resolvers did: append-only, a row when a step begins and one when it ends.

use sqlx::PgConnection;

use super::leases::Fence;
use super::statement::{rows, run};
use crate::api;
use crate::model::{IncidentId, OperationId, RowId, SubjectId};

/// A turn of an operation's step, as it is written down.
#[derive(Clone, Debug)]
pub struct Run {
    /// The same in both rows.
    pub run: RowId,
    /// Of which operation.
    pub operation: OperationId,
    /// Asked for by which incident, if by one.
    pub incident: Option<IncidentId>,
    /// For whom; `None`: the deployment.
    pub subject: Option<SubjectId>,
    /// Who does it.
    pub worker: String,
    /// Under which fence.
    pub fence: Option<Fence>,
    /// Of which playbook, or else which kind of operation.
    pub resolver: String,
    /// The remedy's name, or else the kind of operation.
    pub remedy: String,
    /// The step's name.
    pub step: &'static str,
    /// How often the remedy was begun.
    pub attempt: i16,
}

/// Writes that a step begins.
pub async fn begun(db: &mut PgConnection, run: &Run) -> sqlx::Result<()> {
    write(db, run, "begun", None, &[], None).await
}

/// Writes how it ended.
pub async fn ended(
    db: &mut PgConnection,
    run: &Run,
    outcome: &str,
    touched: &[String],
    detail: &str,
) -> sqlx::Result<()> {
    write(db, run, "ended", Some(outcome), touched, Some(detail)).await
}

async fn write(
    db: &mut PgConnection,
    of: &Run,
    phase: &str,
    outcome: Option<&str>,
    touched: &[String],
    detail: Option<&str>,
) -> sqlx::Result<()> {
    let values = (
        RowId::generate(),
        of.incident,
        of.subject,
        of.run,
        phase,
        &of.worker,
        of.fence.map_or(0, |fence| fence.0),
        &of.resolver,
        &of.remedy,
        of.step,
        of.attempt,
        outcome,
        touched,
        detail,
        of.operation,
    );
    let sql =
        "insert into resolver_runs (id, incident_id, subject_id, run_id, phase, worker, fence,
                                    resolver, remedy, step, attempt, outcome, touched, detail,
                                    operation_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    run(db, sql, values).await
}

/// The newest steps done for an incident, the oldest of them first.
pub async fn of(db: &mut PgConnection, incident: IncidentId) -> sqlx::Result<Vec<api::Run>> {
    let sql =
        "select b.created_at as begun_at, e.created_at as ended_at, b.worker, b.fence, b.resolver,
                b.remedy, b.step, b.attempt, e.outcome, coalesce(e.touched, '{}') as touched,
                e.detail
         from (select * from resolver_runs where incident_id = $1 and phase = 'begun'
               order by created_at desc, id desc limit 1000) b
         left join resolver_runs e on e.run_id = b.run_id and e.phase = 'ended'
         order by b.created_at, b.id";
    rows(db, sql, [incident]).await
}
