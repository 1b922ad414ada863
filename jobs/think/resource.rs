//! The resource's machine.

use drover::model::{Cause, ClusterIdentity, IncidentKind, Observation, Opening, Rules, State};

use super::evidence::{Weight, cause, convicts, run_of, weigh};
use super::{Decision, Pin, Scene, convict, host_is_available, recover};

pub(super) fn think(scene: &Scene, rules: &Rules) -> Decision {
    let stay = || Decision::stay(scene, rules);
    let Some(newest) = scene.recent.first() else {
        return stay();
    };
    let well = newest.attributes.service_available;
    match scene.subject.state {
        State::Available if well => first_contact(scene, rules, newest),
        // No flicker that a second look would see gone.
        State::Available | State::Uncertain
            if newest.attributes.cause == Some(Cause::AnotherCluster)
                && host_is_available(scene) =>
        {
            convict(rules, newest, cause(&newest.attributes), incident(newest))
        }
        State::Available => suspect(scene, rules, newest),
        State::Uncertain if well => super::back_in_service(rules, newest),
        State::Uncertain => doubt(scene, rules, newest),
        State::Unavailable => {
            // The server's incident stands for its resources.
            let kind = host_is_available(scene).then(|| incident(newest));
            recover(scene, rules, newest, kind)
        }
        State::Creating | State::Destroying | State::Destroyed => stay(),
    }
}

/// Nothing changes; which cluster it is, where that was not known yet, is known now.
fn first_contact(scene: &Scene, rules: &Rules, newest: &Observation) -> Decision {
    let figures = &newest.attributes.resource;
    let is = figures
        .system_identifier
        .clone()
        .map(|system_identifier| ClusterIdentity {
            system_identifier,
            data_directory: figures.data_directory.clone(),
        });
    Decision {
        pin: is.map(Pin::Cluster),
        ..Decision::stay(scene, rules)
    }
}

fn suspect(scene: &Scene, rules: &Rules, failure: &Observation) -> Decision {
    let turn = super::suspect(rules, failure);
    if host_is_available(scene) {
        ask_the_host(scene, failure, turn)
    } else {
        Decision {
            after: rules.cadence.uncertain,
            ..turn
        }
    }
}

fn doubt(scene: &Scene, rules: &Rules, failure: &Observation) -> Decision {
    if !host_is_available(scene) {
        // The server's incident stands for its resources: no second alarm, and
        // no need to knock every two seconds on a dead machine.
        return Decision {
            after: rules.cadence.unavailable,
            ..Decision::stay(scene, rules)
        };
    }
    match convicts(scene, failure, &rules.patience) {
        Some(reason) => convict(rules, failure, reason, incident(failure)),
        None => {
            let stay = Decision {
                opens: crowded_out(scene, failure).into_iter().collect(),
                ..Decision::stay(scene, rules)
            };
            ask_the_host(scene, failure, stay)
        }
    }
}

/// PostgreSQL itself says that no connection is left: that needs no patience, only to
/// be no single moment's peak.
fn crowded_out(scene: &Scene, failure: &Observation) -> Option<Opening> {
    (run_of(scene, Cause::TooManyConnections) >= 2).then(|| Opening {
        kind: IncidentKind::ConnectionsExhausted,
        reason: cause(&failure.attributes),
    })
}

/// Neither the resource nor its server's sshd answered: the server's own feel
/// has to say which of them is down.
fn ask_the_host(scene: &Scene, failure: &Observation, decision: Decision) -> Decision {
    let wake = match weigh(&failure.attributes) {
        Weight::Unwitnessed => scene.server.map(|host| host.id),
        Weight::Agreed | Weight::Disputed | Weight::Alone | Weight::Answering => None,
    };
    Decision { wake, ..decision }
}

/// The kind that a failure calls for.
pub(super) fn incident(failure: &Observation) -> IncidentKind {
    match failure.attributes.cause {
        Some(Cause::TooManyConnections) => IncidentKind::ConnectionsExhausted,
        Some(Cause::Authentication) => IncidentKind::CredentialsRefused,
        Some(Cause::AnotherCluster) => IncidentKind::AnotherCluster,
        Some(Cause::DatabaseGone) => IncidentKind::DatabaseGone,
        Some(
            Cause::Refused
            | Cause::Timeout
            | Cause::NoRoute
            | Cause::Disconnected
            | Cause::Tls
            | Cause::StartingUp
            | Cause::ShuttingDown
            | Cause::Recovery
            | Cause::DiskFull
            | Cause::ReadOnly
            | Cause::Corrupt
            | Cause::HostKeyChanged
            | Cause::HostKeyUnknown
            | Cause::Creating
            | Cause::Destroying
            | Cause::Protocol
            | Cause::Error,
        )
        | None => IncidentKind::ResourceDown,
    }
}
