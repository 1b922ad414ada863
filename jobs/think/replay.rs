//! Thinking again over recorded observations.

use chrono::{DateTime, Utc};
use drover::model::{Observation, Rules, State, Subject};
use drover::store::scenes::{MEMORY, MEMORY_AVAILABLE};

use super::{Host, Scene, Verdict, think};

/// A recorded observation, and how the resource's server stood when it was made.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What was seen.
    pub seen: Observation,
    /// A resource's server, then.
    pub server: Option<Host>,
}

/// Decides anew after each of these observations (oldest first), from the state
/// that `subject` has, and returns the changes of state with their times.
pub fn replay(
    subject: &Subject,
    history: &[Recorded],
    rules: &Rules,
) -> Vec<(DateTime<Utc>, Verdict)> {
    let mut subject = subject.clone();
    let mut changes = Vec::new();
    for (index, newest) in history.iter().enumerate() {
        let now = newest.seen.created_at;
        let scene = Scene {
            recent: recent(&subject, &history[..=index], now),
            server: newest.server,
            subject: subject.clone(),
            now,
        };
        if let Some(verdict) = think(&scene, rules).change {
            subject.state = verdict.to;
            subject.state_since = now;
            changes.push((now, verdict));
        }
    }
    changes
}

/// What `scenes::load` reads: the newest first, only two while available, none
/// older than an hour.
fn recent(subject: &Subject, until: &[Recorded], now: DateTime<Utc>) -> Vec<Observation> {
    let most = if subject.state == State::Available {
        MEMORY_AVAILABLE as usize
    } else {
        MEMORY as usize
    };
    until
        .iter()
        .rev()
        .map(|recorded| recorded.seen.clone())
        .take_while(|seen| now - seen.created_at < chrono::TimeDelta::hours(1))
        .take(most)
        .collect()
}
