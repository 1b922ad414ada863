//! Modes: what resolvers may do.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::Mode;

/// A mode: one that was set, or the one that holds somewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModeSet {
    /// Which.
    pub mode: Mode,
    /// Who it was set for: `herd`, `tier:<name>`, a subject's id; null: for nobody.
    pub scope: Option<String>,
    /// That subject's name.
    pub name: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub set_at: Option<DateTime<Utc>>,
}

impl ModeSet {
    /// What holds where nothing was set.
    pub fn act(scope: Option<String>) -> Self {
        Self {
            mode: Mode::Act,
            scope,
            name: None,
            reason: None,
            set_at: None,
        }
    }
}

/// `PUT /v1/modes/…`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetMode {
    /// Which.
    pub mode: Mode,
    /// Why; `advise` and `hold` must have one.
    pub reason: Option<String>,
}
