//! Game days: something is broken on purpose, to see that it is mended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Public;
use crate::model::{Harm, IncidentId, IncidentKind, IncidentState, OperationId, PublicId};

/// A game day with what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gameday {
    /// That of the operation which breaks it.
    pub id: Public<OperationId>,
    /// What is broken.
    pub subject: PublicId,
    /// What that is called.
    pub name: String,
    /// How.
    pub how: Harm,
    /// Why.
    pub reason: Option<String>,
    /// Who wanted it.
    pub asked_by: String,
    /// When they did.
    pub asked_at: DateTime<Utc>,
    /// How far it is.
    pub state: Stage,
    /// Why nothing was broken.
    pub problem: Option<String>,
    /// When it was broken.
    pub broken_at: Option<DateTime<Utc>>,
    /// When it is taken back by itself.
    pub heal_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub healed_at: Option<DateTime<Utc>>,
    /// Seconds from the break to each.
    pub after_s: Passed,
    /// Who bears a lead that went to another.
    pub leaders: Vec<GamedayLeader>,
    /// Incidents that came of it.
    pub incidents: Vec<GamedayIncident>,
    /// What was done about them.
    pub remedies: Vec<GamedayRemedy>,
}

/// How far a game day is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing is broken yet.
    Queued,
    /// Something is, and was not seen in service again.
    Broken,
    /// What was broken is in service again, or another under its name.
    Recovered,
    /// Nothing was broken.
    Failed,
}

/// Seconds from the break to each; null: it has not come to that.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Passed {
    /// The first failed observation, or change of state.
    pub detected: Option<f64>,
    /// The first lead that went to another.
    pub failover: Option<f64>,
    /// It was taken back.
    pub healed: Option<f64>,
    /// The first incident.
    pub incident: Option<f64>,
    /// What was broken is in service again.
    pub recovered: Option<f64>,
    /// The first that was unavailable.
    pub unavailable: Option<f64>,
}

/// Who leads now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GamedayLeader {
    /// The new leader.
    pub id: PublicId,
    /// The name that it leads under.
    pub name: String,
}

/// An incident that came of a game day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GamedayIncident {
    /// `inc_…`.
    pub id: Public<IncidentId>,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Where it stands.
    pub state: IncidentState,
    /// Seconds from the break until it was opened.
    pub opened_s: Option<f64>,
    /// Seconds from the break until it was resolved.
    pub resolved_s: Option<f64>,
}

/// A remedy that was tried on a game day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GamedayRemedy {
    /// The playbook.
    pub resolver: String,
    /// Its remedy.
    pub remedy: String,
    /// Seconds from the break until it was begun.
    pub begun_s: Option<f64>,
    /// How its last step ended; null: it goes on, or was cut off.
    pub outcome: Option<String>,
}

/// `POST /v1/gameday`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreakOnPurpose {
    /// What.
    pub subject: PublicId,
    /// How.
    pub how: Harm,
    /// After how many seconds it is taken back.
    pub for_s: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub by: Option<String>,
}
