//! The catalogue of playbooks: what drover does about each kind of incident.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A playbook as a worker published it. web hands on what was published, whichever
/// release of drover did so; readers read a [`Playbook`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published<P = Playbook> {
    /// The kind of incident it is for.
    pub kind: String,
    /// What it does.
    #[serde(flatten)]
    pub playbook: P,
    /// The release of drover that has it.
    pub release: String,
    /// When it was published last.
    pub published_at: DateTime<Utc>,
}

/// What drover does about a kind of incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Playbook {
    /// What it means, in one line.
    pub title: String,
    /// What has to be seen for it.
    pub opened_when: String,
    /// How loud a human is called.
    pub severity: String,
    /// What it may cost before a human is called.
    pub budget: Budget,
    /// The most that it may touch: `nothing`, `sessions`, `resource`, `server`.
    pub blast_radius: String,
    /// Whether other servers are felt first, in case it is the observer that is blind.
    pub looks_round: bool,
    /// What is done, cheapest first.
    pub remedies: Vec<Remedy>,
    /// What keeps worse from others, whatever calls a human.
    #[serde(default)]
    pub guard: Option<Remedy>,
    /// What takes back what a remedy has done for the time being, once all is well.
    pub undo: Option<Remedy>,
    /// Whom to tell when the remedies have run out: `page`, `page_at_once`, `ticket`,
    /// `ticket_and_page`.
    pub tells: String,
}

/// What an incident may cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// Attempts at remedies, all together.
    pub attempts: u32,
    /// Seconds from its opening.
    pub deadline: f64,
}

/// One thing that can be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remedy {
    /// Its name in the timeline.
    pub name: String,
    /// What it does, beginning with a verb.
    pub does: String,
    /// How often it is tried.
    pub attempts: u16,
    /// Seconds that a fresh observation may take to say that it helped.
    pub settle: f64,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// A step of a remedy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its name in the timeline.
    pub name: String,
}
