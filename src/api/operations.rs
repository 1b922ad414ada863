//! Operations: what was asked for, done step by step.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ActOn, Public, TimelineEvent};
use crate::model::{OperationAction, OperationId, OperationKind, OperationState, PublicId};

/// How far an operation is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningOperation {
    /// Its id.
    pub id: Public<OperationId>,
    /// What is done.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// Which step is next or at work, from 1; 0 until its first turn.
    pub step: u16,
    /// Of how many; 0 until its first turn.
    pub of: u16,
    /// The step's name.
    pub step_name: String,
    /// Since when this step.
    pub since: DateTime<Utc>,
    /// What is waited for, or went wrong last.
    pub note: Option<String>,
    /// Since when a human is needed.
    pub stuck_since: Option<DateTime<Utc>>,
    /// Not to be begun earlier.
    pub not_before: Option<DateTime<Utc>>,
    /// By when it should be done.
    pub deadline: Option<DateTime<Utc>>,
}

/// An operation with all that may be told of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// How far it is.
    #[serde(flatten)]
    pub running: RunningOperation,
    /// On what; null: the deployment.
    pub subject: Option<PublicId>,
    /// The subject's name.
    pub name: Option<String>,
    /// What exactly was asked for.
    pub params: Value,
    /// Why.
    pub reason: Option<String>,
    /// Who asked.
    pub asked_by: String,
    /// When they did.
    pub opened_at: DateTime<Utc>,
    /// How often this step failed in a row.
    pub failures: u32,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What a person may do with it now.
    pub actions: Vec<OperationAction>,
}

/// An operation with what happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationTimeline {
    /// The operation.
    #[serde(flatten)]
    pub operation: Operation,
    /// What happened, oldest first.
    pub events: Vec<TimelineEvent>,
}

/// `POST /v1/operations/{id}/actions`.
pub type ActOnOperation = ActOn<OperationAction>;
