//! Tiers: groups of subjects that go by rules of their own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// What differs from the deployment's rules.
    pub rules: Value,
}

/// `PUT /v1/tiers/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PutTier {
    /// What is to differ from the deployment's rules.
    pub rules: Value,
}
