//! What a playbook is: data, which anybody can read before it is ever needed.

use std::time::Duration;

use drover::model::{Incident, IncidentKind, OperationKind, Severity};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// How an incident of one kind is mended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Playbook {
    /// What it handles.
    pub kind: IncidentKind,
    /// What that means, in one line.
    pub title: &'static str,
    /// What has to be seen for it.
    pub opened_when: &'static str,
    /// How loud a human is called.
    pub severity: Severity,
    /// What it may cost before a human is called.
    pub budget: Budget,
    /// The most that it may touch.
    pub blast_radius: Blast,
    /// Whether other servers are felt first, in case it is the observer that is
    /// blind. For remedies that many would have to suffer from.
    pub looks_round: bool,
    /// Whether what it is about comes and goes, so that its coming back is no sign of a remedy
    /// that does not hold.
    #[serde(skip)]
    pub comes_and_goes: bool,
    /// What is done, cheapest first. Empty: nothing that drover may do.
    pub remedies: &'static [Remedy],
    /// What keeps worse from others. It is tried once before a human is called, whatever the
    /// reason: because of the time, the budget, or how often the incident came back; and again
    /// while a human is needed, if it gets worse.
    pub guard: Option<Remedy>,
    /// What takes back, once all is well, what a remedy has done for the time being.
    pub undo: Option<Remedy>,
    /// Whom to tell when the remedies have run out.
    #[serde(rename = "tells")]
    pub escalation: Escalation,
}

/// One thing that can be done: an operation that is asked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Remedy {
    /// Its name in the timeline: `restart_fast`.
    pub name: &'static str,
    /// What it does, beginning with a verb: `restart the cluster`.
    pub does: &'static str,
    /// The operation that does it,
    pub operation: OperationKind,
    /// on what,
    pub on: On,
    /// when,
    pub when: When,
    /// and how exactly.
    #[serde(skip)]
    pub params: fn(&Incident) -> Value,
    /// How often it is tried.
    pub attempts: u16,
    /// How long a fresh observation may take to say that it helped.
    #[serde(serialize_with = "seconds")]
    pub settle: Duration,
}

/// On what an operation is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The incident's subject.
    Subject,
    /// Each leader that is the subject, or on it, and that a follower should take over
    /// from by now.
    Leaders,
}

/// When an operation is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once.
    Now,
    /// In the maintenance window.
    Window,
}

impl Remedy {
    /// An operation of this kind, once, at once, on the subject.
    pub const fn new(name: &'static str, does: &'static str, operation: OperationKind) -> Self {
        Self {
            name,
            does,
            operation,
            on: On::Subject,
            when: When::Now,
            params: |_| json!({}),
            attempts: 1,
            settle: Duration::ZERO,
        }
    }

    /// The same, tried so often.
    pub const fn tried(self, attempts: u16) -> Self {
        Self { attempts, ..self }
    }

    /// The same with so long for its effect to be seen.
    pub const fn settling(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }

    /// The same, asked with these parameters.
    pub const fn asking(self, params: fn(&Incident) -> Value) -> Self {
        Self { params, ..self }
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

impl Budget {
    /// So many attempts, within so many seconds.
    pub const fn new(attempts: u32, seconds: u64) -> Self {
        let deadline = Duration::from_secs(seconds);
        Self { attempts, deadline }
    }
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

/// Whom to tell when the remedies have run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Escalation {
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
    /// One that does nothing and pages a human at once: what is more is to be filled in.
    pub const fn of(kind: IncidentKind) -> Self {
        Self {
            kind,
            title: "",
            opened_when: "",
            severity: Severity::Error,
            budget: Budget::new(0, 60),
            blast_radius: Blast::Nothing,
            looks_round: false,
            comes_and_goes: false,
            remedies: &[],
            guard: None,
            undo: None,
            escalation: Escalation::Page,
        }
    }

    /// The remedy of this name; the first, if none was begun.
    pub fn remedy(&self, name: &str) -> Option<&Remedy> {
        self.all().find(|remedy| remedy.name == name)
    }

    /// Whatever it may ask for, in this order.
    pub fn all(&self) -> impl Iterator<Item = &Remedy> {
        self.remedies.iter().chain(&self.guard).chain(&self.undo)
    }

    /// Whether this is the name of what keeps worse from others.
    pub fn guards(&self, remedy: Option<&str>) -> bool {
        self.guard.is_some_and(|guard| remedy == Some(guard.name))
    }

    /// Whether this is what takes back.
    pub fn undoes(&self, remedy: &Remedy) -> bool {
        self.undo.is_some_and(|undo| undo.name == remedy.name)
    }
}

fn seconds<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}
