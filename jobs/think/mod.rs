//! Think: what a subject's state says about what was seen.
//!
//! Architecture Invariant: everything here is a pure function of a [`Scene`] and
//! the [`Rules`]: no I/O, no clock, no randomness. So every decision can be
//! replayed from the record, and changed rules can be tried on it.

mod assess;
mod conditions;
mod evidence;
mod figures;
mod following;
mod list;
pub mod replay;
mod resource;
mod server;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use evidence::{Weight, cause, weigh};

pub(crate) use assess::DISK_MARGIN;
pub use assess::{Assessment, assess};
pub(crate) use conditions::fills;
use drover::model::{
    Cause, IncidentKind, Kind, Observation, ObservationId, Opening, Rules, State, SubjectId,
};
use drover::store::queue::Pin;
pub use drover::store::scenes::{Host, Leader, Position, Scene};
pub(crate) use figures::{Scheduled, scheduled};

/// What is to be done after a thought.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The change of state, if any.
    pub change: Option<Verdict>,
    /// When the subject is to be felt again, before jitter.
    pub after: Duration,
    /// A subject to be felt at once: its word is needed.
    pub wake: Option<SubjectId>,
    /// What to pin, as the first contact showed it.
    pub pin: Option<Pin>,
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

/// How soon a second look follows a first one whose second witness agrees: it is
/// all that is missing.
const AGREED: Duration = Duration::from_millis(100);
/// The same for one that is on its way back: soon enough for who waits, and not so
/// soon that a flicker passes for health.
const RECOVERING: Duration = Duration::from_secs(1);

/// Decides.
pub fn think(scene: &Scene, rules: &Rules) -> Decision {
    let scene = &*what_was_looked_at(scene);
    let mut decision = match scene.subject.kind {
        Kind::Server => server::think(scene, rules),
        Kind::Resource => resource::think(scene, rules),
    };
    match scene.subject.state {
        State::Available | State::Uncertain | State::Unavailable => {
            decision.opens.extend(conditions::found(scene, rules));
        }
        State::Creating | State::Destroying | State::Destroyed => {}
    }
    decision
}

/// The scene without what was written down while nobody could look: that a subject
/// was just being made says nothing of how it is.
fn what_was_looked_at(scene: &Scene) -> Cow<'_, Scene> {
    let nobody_looked = |seen: &Observation| {
        matches!(
            seen.attributes.cause,
            Some(Cause::Creating | Cause::Destroying)
        )
    };
    if !scene.recent.iter().any(nobody_looked) {
        return Cow::Borrowed(scene);
    }
    let mut scene = scene.clone();
    scene.recent.retain(|seen| !nobody_looked(seen));
    Cow::Owned(scene)
}

/// Whether a resource's server stands, so that what the resource says speaks of
/// itself; true of a server.
fn host_is_available(scene: &Scene) -> bool {
    scene
        .server
        .is_none_or(|host| host.state == State::Available)
}

/// It answers again.
fn back_in_service(rules: &Rules, newest: &Observation) -> Decision {
    let verdict = Verdict {
        to: State::Available,
        reason: "answers".into(),
        because: newest.id,
        opens: None,
    };
    Decision::turn(rules, verdict)
}

/// Available, and the newest observation is a failure.
fn suspect(rules: &Rules, failure: &Observation) -> Decision {
    let turn = Decision::turn(
        rules,
        Verdict {
            to: State::Uncertain,
            reason: cause(&failure.attributes),
            because: failure.id,
            opens: None,
        },
    );
    match weigh(&failure.attributes) {
        Weight::Agreed => Decision {
            after: AGREED,
            ..turn
        },
        Weight::Disputed | Weight::Unwitnessed | Weight::Alone | Weight::Answering => turn,
    }
}

/// Unavailable, until enough good observations came in a row. While it fails,
/// `kind` is named again at every thought, so that no incident can get lost.
fn recover(
    scene: &Scene,
    rules: &Rules,
    newest: &Observation,
    kind: Option<IncidentKind>,
) -> Decision {
    let wanted = rules.patience.recoveries as usize;
    let well = scene
        .recent
        .iter()
        .take_while(|seen| seen.attributes.service_available)
        .count();
    if well < wanted {
        let opens = kind.filter(|_| well == 0).map(|kind| Opening {
            kind,
            reason: cause(&newest.attributes),
        });
        return Decision {
            opens: opens.into_iter().collect(),
            after: if well == 0 {
                rules.cadence.unavailable
            } else {
                rules.cadence.unavailable.min(RECOVERING)
            },
            ..Decision::stay(scene, rules)
        };
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

/// It does not do its service, beyond doubt: an incident of this kind is opened.
fn convict(rules: &Rules, failure: &Observation, reason: String, kind: IncidentKind) -> Decision {
    Decision::turn(
        rules,
        Verdict {
            to: State::Unavailable,
            reason,
            because: failure.id,
            opens: Some(kind),
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
