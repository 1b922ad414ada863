//! How strong the recent observations speak against a subject. What servers and
//! resources have in common of the table in docs/deciding.md.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Attributes, Cause, Observation, Patience, Witness};

use drover::store::scenes::MEMORY;

use super::Scene;

/// What one failed observation is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The second witness says so too.
    Agreed,
    /// The second witness says that it is alive.
    Disputed,
    /// The second witness could not be asked.
    Unwitnessed,
    /// There is no second witness.
    Alone,
    /// Something alive answered, only not with service.
    Answering,
}

pub(super) fn weigh(seen: &Attributes) -> Weight {
    if seen.cause.is_some_and(|cause| cause.profile().answered) {
        return Weight::Answering;
    }
    match &seen.witness {
        Some(Witness::Down { .. }) => Weight::Agreed,
        Some(Witness::Up { .. }) => Weight::Disputed,
        Some(Witness::Silent { .. }) => Weight::Unwitnessed,
        None => Weight::Alone,
    }
}

/// Whether enough was seen to call a subject unavailable, and if so, why.
/// `failure` is the newest observation, and a failed one.
pub(super) fn convicts(
    scene: &Scene,
    failure: &Observation,
    patience: &Patience,
) -> Option<String> {
    let weight = weigh(&failure.attributes);
    let cause = cause(&failure.attributes);
    let this_kind = streak(scene, |seen| {
        !seen.service_available && weigh(seen) == weight
    });
    let any_kind = streak(scene, |seen| !seen.service_available);
    match (weight, &failure.attributes.witness) {
        (Weight::Agreed, Some(Witness::Down { detail })) => {
            return Some(format!("{cause}; the second witness agrees: {detail}"));
        }
        (Weight::Disputed, _) if this_kind.lasted >= patience.disagreement => {
            return Some(format!(
                "{cause} for {}, though the second witness says it is alive",
                words(this_kind.lasted)
            ));
        }
        (Weight::Unwitnessed, _) if this_kind.lasted >= patience.silent_witness => {
            return Some(format!(
                "{cause} for {}, and the second witness cannot be asked",
                words(this_kind.lasted)
            ));
        }
        (Weight::Answering, _) if this_kind.lasted >= patience.answering => {
            return Some(format!("{cause} for {}", words(this_kind.lasted)));
        }
        (Weight::Alone, _) if any_kind.by_repetition(patience) => {
            return Some(format!(
                "{cause}, {} times in a row over {}",
                any_kind.failures,
                words(any_kind.lasted)
            ));
        }
        (Weight::Alone | Weight::Disputed | Weight::Unwitnessed | Weight::Answering, _) => {}
        (Weight::Agreed, _) => {}
    }
    // Kinds that take turns must not wait for ever on each other.
    (any_kind.lasted >= patience.answering)
        .then(|| format!("no service for {}, lately: {cause}", words(any_kind.lasted)))
}

/// A run of observations of one kind, from the newest backwards.
struct Streak {
    failures: u32,
    workers: usize,
    feelers: u16,
    lasted: Duration,
}

impl Streak {
    /// One witness alone needs repetition, from two workers if there are two.
    fn by_repetition(&self, patience: &Patience) -> bool {
        self.failures >= patience.failures
            && self.lasted >= patience.over
            && (self.workers >= 2 || self.feelers < 2 || self.lasted >= patience.single_worker)
    }
}

fn streak(scene: &Scene, belongs: impl Fn(&Attributes) -> bool) -> Streak {
    // What was seen while the server was down speaks of the server.
    let since = scene.server.map_or(scene.subject.state_since, |host| {
        host.since.max(scene.subject.state_since)
    });
    let run: Vec<&Observation> = scene
        .recent
        .iter()
        .take_while(|seen| belongs(&seen.attributes))
        .take_while(|seen| {
            scene
                .server
                .is_none_or(|host| seen.created_at >= host.since)
        })
        .collect();
    let (Some(newest), Some(oldest)) = (run.first(), run.last()) else {
        return Streak {
            failures: 0,
            workers: 0,
            feelers: 0,
            lasted: Duration::ZERO,
        };
    };
    let mut workers: Vec<&str> = run.iter().map(|seen| seen.worker.as_str()).collect();
    workers.sort_unstable();
    workers.dedup();
    // A run that fills the whole memory is as old as the state, or as the
    // server's being up; a shorter one is as old as it looks.
    let began = if run.len() >= MEMORY as usize {
        oldest.created_at.min(since)
    } else {
        oldest.created_at
    };
    Streak {
        failures: u32::try_from(run.len()).unwrap_or(u32::MAX),
        workers: workers.len(),
        feelers: run.iter().map(|seen| seen.feelers).max().unwrap_or(0),
        lasted: between(began, newest.created_at),
    }
}

/// How many observations in a row failed for this cause, up to the newest.
pub(super) fn run_of(scene: &Scene, cause: Cause) -> u32 {
    streak(scene, |seen| seen.cause == Some(cause)).failures
}

/// What a person is told of a failed observation: `refused: connection refused`.
pub(super) fn cause(seen: &Attributes) -> String {
    let cause = seen.cause.map_or("no service", Cause::as_str);
    match &seen.message {
        Some(message) => format!("{cause}: {message}"),
        None => cause.to_owned(),
    }
}

fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

fn words(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}
