//! What a caller is told when something is wrong.

use serde::{Deserialize, Serialize};

/// The code of a refusal that ends by itself: the first request under the same
/// `Idempotency-Key` is still at work.
pub const IN_PROGRESS: &str = "in_progress";

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// What is wrong.
    pub error: Refusal,
}

/// A refusal or a failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: String,
    /// For people; says what to do about it.
    pub message: String,
    /// The field of the body, or the parameter, that is wrong.
    pub field: Option<String>,
}
