//! What a playbook is: data, which anybody can read before it is ever needed.

use std::time::Duration;

use drover::model::{IncidentKind, Severity};
use serde::{Serialize, Serializer};

/// The place of [`Playbook::undo`]: behind any remedy.
pub const UNDO: u16 = 1000;

/// How an incident of one kind is mended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Playbook {
    /// What it handles.
    pub kind: IncidentKind,
    /// What that means, in one line.
    pub title: &'static str,
    /// What has to be seen for it.
    pub opened_when: &'static str,
    /// For which tiers.
    pub tiers: Tiers,
    /// How loud a human is called.
    pub severity: Severity,
    /// What it may cost before a human is called.
    pub budget: Budget,
    /// The most that it may touch.
    pub blast_radius: Blast,
    /// Whether other servers are felt first, in case it is the observer that is
    /// blind. For remedies that many would have to suffer from.
    pub looks_round: bool,
    /// What is done, cheapest first. Empty: nothing that drover may do.
    pub remedies: &'static [Remedy],
    /// What takes back what a remedy has done for the time being
    /// (`memo.undo` is `true`), once all is well.
    pub undo: Option<Remedy>,
    /// Whom to tell when the remedies have run out.
    pub tells: Tells,
}

/// One thing that can be done.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Remedy {
    /// Its name in the timeline: `restart_fast`.
    pub name: &'static str,
    /// What it does, beginning with a verb: `restart the cluster`.
    pub does: &'static str,
    /// How often it is tried.
    pub attempts: u16,
    /// How long a fresh observation may take to say that it helped.
    #[serde(serialize_with = "seconds")]
    pub settle: Duration,
    /// Its steps, each idempotent: one that was cut off is done again.
    pub steps: &'static [Step],
}

/// One step: what happens between two entries in the record.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    /// Its name in the timeline.
    pub name: &'static str,
    /// How long one turn of it may take; at most 25 s. A longer work answers
    /// [`super::Ended::Again`] and is asked after.
    #[serde(serialize_with = "seconds")]
    pub limit: Duration,
    /// Whether it only watches what goes on by itself. While it waits
    /// ([`super::Ended::Again`]), others may act on its subject and its server.
    pub watches: bool,
}

impl Step {
    /// A step of this name that has to be done within 20 s.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            limit: Duration::from_secs(20),
            watches: false,
        }
    }

    /// The same for a step that only watches.
    pub const fn watching(name: &'static str) -> Self {
        Self {
            watches: true,
            ..Self::new(name)
        }
    }

    /// The same step with another limit.
    pub const fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

/// What an incident may cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Budget {
    /// Attempts at remedies, all together.
    pub attempts: u32,
    /// From its opening.
    #[serde(serialize_with = "seconds")]
    pub deadline: Duration,
}

/// The most that a playbook may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blast {
    /// Nothing.
    Nothing,
    /// Sessions of one database.
    Sessions,
    /// One database.
    Resource,
    /// A server, with every database on it.
    Server,
}

/// For which tiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tiers {
    /// All of them.
    All,
}

/// Whom to tell when the remedies have run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tells {
    /// The one on call.
    Page,
    /// The customer.
    Ticket,
    /// The customer, then the one on call.
    TicketAndPage,
    /// The one on call, before anything is tried.
    PageAtOnce,
}

impl Playbook {
    /// The remedy at this place.
    pub fn remedy(&self, place: u16) -> Option<&Remedy> {
        if place == UNDO {
            return self.undo.as_ref();
        }
        self.remedies.get(usize::from(place))
    }
}

fn seconds<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}
