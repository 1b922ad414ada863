//! How operations are shown. No view has a place for a secret, nor for what steps
//! remember.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::model::{Operation, OperationAction, OperationKind, OperationState, PublicId};
use crate::store::operations::{Event, Listed};

/// How far an operation is.
#[derive(Serialize)]
pub struct RunningView {
    id: String,
    kind: OperationKind,
    state: OperationState,
    /// Which step is next or at work, from 1; 0 until its first turn.
    step: u16,
    /// Of how many; 0 until its first turn.
    of: u16,
    step_name: String,
    /// Since when this step.
    since: DateTime<Utc>,
    /// What is waited for, or went wrong last.
    note: Option<String>,
    /// Since when a human is needed.
    stuck_since: Option<DateTime<Utc>>,
    /// Not to be begun earlier.
    not_before: Option<DateTime<Utc>>,
    /// By when it should be done.
    deadline: Option<DateTime<Utc>>,
}

impl RunningView {
    /// Shows it.
    pub fn new(operation: &Operation) -> Self {
        Self {
            id: operation.id.public(),
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
}

/// An operation with all that may be told of it.
#[derive(Serialize)]
pub struct OperationView {
    #[serde(flatten)]
    running: RunningView,
    /// On what; null: the deployment.
    subject: Option<PublicId>,
    /// The subject's name.
    name: Option<String>,
    /// What exactly was asked for.
    params: Value,
    reason: Option<String>,
    asked_by: String,
    opened_at: DateTime<Utc>,
    /// How often this step failed in a row.
    failures: u32,
    ended_at: Option<DateTime<Utc>>,
    /// What a person may do with it now.
    actions: Vec<OperationAction>,
}

impl OperationView {
    /// Shows it, as it stands at this time.
    pub fn new(listed: Listed, now: DateTime<Utc>) -> Self {
        let operation = listed.operation;
        let (subject, name) = listed.subject.unzip();
        Self {
            running: RunningView::new(&operation),
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
}

/// An operation with what happened.
#[derive(Serialize)]
pub struct TimelineView {
    #[serde(flatten)]
    pub operation: OperationView,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}
