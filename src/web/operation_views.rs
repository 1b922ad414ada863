//! How operations are shown. No view has a place for a secret, nor for what steps
//! remember.

use chrono::{DateTime, Utc};

use crate::api::{self, Public};
use crate::model::{Operation, OperationAction};
use crate::store::operations::Listed;

/// Shows how far an operation is.
pub fn running(operation: &Operation) -> api::RunningOperation {
    api::RunningOperation {
        id: Public(operation.id),
        kind: operation.kind,
        state: operation.state,
        step: operation.step.saturating_add(1).min(operation.steps),
        of: operation.steps,
        step_name: operation.step_name.clone(),
        since: operation.step_since,
        note: operation.note.clone(),
        stuck_since: operation.stuck_at,
        not_before: operation.not_before,
        deadline: operation.deadline,
    }
}

/// Shows an operation, as it stands at this time.
pub fn operation(listed: Listed, now: DateTime<Utc>) -> api::Operation {
    let operation = listed.operation;
    let (subject, name) = listed.whose.0.unzip();
    api::Operation {
        running: running(&operation),
        subject,
        name,
        actions: OperationAction::possible(&operation, now),
        params: operation.params,
        reason: operation.reason,
        asked_by: operation.asked_by,
        opened_at: operation.opened_at,
        failures: operation.failures,
        ended_at: operation.ended_at,
    }
}
