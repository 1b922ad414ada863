use super::Scene;
use chrono::{DateTime, Utc};
use drover::model::{IncidentKind, Rules};
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    Holds(String),
    Cleared(String),
    Unknown,
}
pub fn sight(_k: IncidentKind, _s: &Scene, _r: &Rules, _a: Option<DateTime<Utc>>) -> Sight {
    Sight::Unknown
}
