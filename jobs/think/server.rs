//! The server's machine.

use std::time::Duration;

use drover::model::{Cause, IncidentKind, Observation, Rules, State};

use super::evidence::{cause, convicts};
use super::{Decision, Pin, Scene, convict, recover, suspect};

/// How soon a server is felt again whose host key has just been read.
const AFTER_PINNING: Duration = Duration::from_millis(100);

pub(super) fn think(scene: &Scene, rules: &Rules) -> Decision {
    let stay = || Decision::stay(scene, rules);
    let Some(newest) = scene.recent.first() else {
        return stay();
    };
    if newest.attributes.cause == Some(Cause::HostKeyUnknown) {
        return first_contact(scene, rules, newest);
    }
    let well = newest.attributes.service_available;
    match scene.subject.state {
        State::Available | State::Uncertain if another_key(newest) && !just_adopted(scene) => {
            distrust(rules, newest)
        }
        State::Available if well => stay(),
        State::Available => suspect(rules, newest),
        State::Uncertain if well => super::back_in_service(rules, newest),
        State::Uncertain => doubt(scene, rules, newest),
        State::Unavailable => recover(scene, rules, newest, Some(incident(newest))),
        State::Creating | State::Destroying | State::Destroyed => stay(),
    }
}

/// The key was read and nothing else: pin it, and come back with it.
fn first_contact(scene: &Scene, rules: &Rules, newest: &Observation) -> Decision {
    Decision {
        after: AFTER_PINNING,
        pin: newest.attributes.server.host_key.clone().map(Pin::HostKey),
        ..Decision::stay(scene, rules)
    }
}

/// Whether nothing but its adoption is known of it. Then another key is more likely a
/// slip of who adopted it, and web takes the adoption back; nobody is to be woken.
fn just_adopted(scene: &Scene) -> bool {
    scene.subject.state_since <= scene.subject.created_at
}

/// A server's proof that it holds another key is no flicker that a second look would
/// see gone, and until the incident is open its resources are logged in to.
fn distrust(rules: &Rules, failure: &Observation) -> Decision {
    convict(
        rules,
        failure,
        cause(&failure.attributes),
        incident(failure),
    )
}

fn doubt(scene: &Scene, rules: &Rules, failure: &Observation) -> Decision {
    let Some(reason) = convicts(scene, failure, &rules.patience) else {
        return Decision::stay(scene, rules);
    };
    convict(rules, failure, reason, incident(failure))
}

/// The kind that a failure calls for.
pub(super) fn incident(failure: &Observation) -> IncidentKind {
    if another_key(failure) {
        IncidentKind::HostKeyChanged
    } else {
        IncidentKind::ServerDown
    }
}

fn another_key(seen: &Observation) -> bool {
    seen.attributes.cause == Some(Cause::HostKeyChanged)
}
