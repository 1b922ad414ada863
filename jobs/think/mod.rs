//! Think: what a subject's state says about what was seen.
//!
//! Architecture Invariant: everything here is a pure function of a [`Scene`] and
//! the [`Rules`]: no I/O, no clock, no randomness. So every decision can be
//! replayed from the record, and changed rules can be tried on it.

mod evidence;
pub mod replay;
mod resource;
mod server;
mod sight;
pub use sight::{Sight, sight};
#[cfg(test)]
mod tests;

use std::time::Duration;

use drover::model::{
    IncidentKind, Kind, Observation, ObservationId, Opening, Rules, State, SubjectId,
};
pub use drover::store::scenes::{Host, Scene};

/// What is to be done after a thought.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The change of state, if any.
    pub change: Option<Verdict>,
    /// When the subject is to be felt again, before jitter.
    pub after: Duration,
    /// A subject to be felt at once: its word is needed.
    pub wake: Option<SubjectId>,
    /// The host key to pin, read at the first contact.
    pub pin: Option<String>,
    /// What is wrong enough for an incident. It is named at every thought while
    /// it lasts: one that is open already stays the only one.
    pub opens: Vec<Opening>,
}

/// A change of state and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The new state.
    pub to: State,
    /// For people.
    pub reason: String,
    /// The observation that tipped the scale.
    pub because: ObservationId,
    /// The kind of incident it calls for.
    pub opens: Option<IncidentKind>,
}

/// Decides.
pub fn think(scene: &Scene, rules: &Rules) -> Decision {
    match scene.subject.kind {
        Kind::Server => server::think(scene, rules),
        Kind::Resource => resource::think(scene, rules),
    }
}

/// Unavailable, until enough good observations came in a row.
fn recover(scene: &Scene, rules: &Rules, newest: &Observation) -> Decision {
    let wanted = rules.patience.recoveries as usize;
    let well = scene
        .recent
        .iter()
        .take_while(|seen| seen.attributes.service_available)
        .count();
    if well < wanted {
        return Decision::stay(scene, rules);
    }
    Decision::turn(
        rules,
        Verdict {
            to: State::Available,
            reason: format!("answers, {well} times in a row"),
            because: newest.id,
            opens: None,
        },
    )
}

impl Decision {
    /// Nothing changes; felt again at the state's cadence.
    fn stay(scene: &Scene, rules: &Rules) -> Self {
        Self {
            change: None,
            after: rules.cadence.of(scene.subject.state),
            wake: None,
            pin: None,
            opens: vec![],
        }
    }

    /// The state changes; felt again at the new one's cadence.
    fn turn(rules: &Rules, verdict: Verdict) -> Self {
        let opens = verdict.opens.map(|kind| Opening {
            kind,
            reason: verdict.reason.clone(),
        });
        Self {
            after: rules.cadence.of(verdict.to),
            change: Some(verdict),
            wake: None,
            pin: None,
            opens: opens.into_iter().collect(),
        }
    }
}
