//! Jobs that a person asks for.

use serde::{Deserialize, Serialize};

use crate::model::PublicId;

/// `POST /v1/jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum AskForJob {
    /// Have a subject felt at once.
    Feel {
        /// Which.
        subject: PublicId,
    },
}

/// What asking came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct JobAskedFor {
    /// Whether the token was waiting; if not, it is due or at work already.
    pub brought_forward: bool,
}
