//! Thinking again over recorded observations.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use drover::model::{Observation, Rules, State, Subject};
use drover::store::scenes::{MEMORY, MEMORY_AVAILABLE, POSITIONS, POSITIONS_MINUTES};

use super::{Decision, Host, Leader, Position, Scene, Verdict, think};

/// A recorded observation, and how the resource's server stood when it was made.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What was seen.
    pub seen: Observation,
    /// A resource's server, then.
    pub server: Option<Host>,
    /// Whom it followed then.
    pub leader: Option<Leader>,
}

/// A subject that is thought about again, one observation after the other. It
/// holds no more of its history than thinking looks at.
pub struct Replay<'r> {
    subject: Subject,
    rules: &'r Rules,
    /// Newest first.
    recent: VecDeque<Observation>,
    /// The same, for as long as a follower is looked at.
    positions: VecDeque<Position>,
}

impl<'r> Replay<'r> {
    /// From the state that `subject` has; `before` is what was seen of it until
    /// then, newest first.
    pub fn new(subject: Subject, before: Vec<Observation>, rules: &'r Rules) -> Self {
        let positions = before.iter().map(Position::of);
        Self {
            subject,
            rules,
            positions: positions.take(POSITIONS as usize).collect(),
            recent: before.into(),
        }
    }

    /// Decides after one more observation, and goes into the state that follows.
    pub fn step(
        &mut self,
        seen: Observation,
        server: Option<Host>,
        leader: Option<Leader>,
    ) -> Decision {
        let now = seen.created_at;
        self.positions.push_front(Position::of(&seen));
        self.positions.truncate(POSITIONS as usize);
        let lately = now - chrono::TimeDelta::minutes(POSITIONS_MINUTES);
        let positions = match &leader {
            Some(_) => {
                let lately = self.positions.iter().take_while(|p| p.at > lately);
                lately.copied().collect()
            }
            None => vec![],
        };
        self.recent.push_front(seen);
        self.recent.truncate(MEMORY as usize);
        // As `scenes::load` reads: fewer while available, none older than an hour.
        let waits = |seen: &Observation| {
            let names = &seen.attributes.resource.synchronous_standby_names;
            names.is_some()
        };
        let most = match self.recent.front().is_some_and(waits) {
            false if self.subject.state == State::Available => MEMORY_AVAILABLE,
            false | true => MEMORY,
        };
        let young = |seen: &&Observation| now - seen.created_at < chrono::TimeDelta::hours(1);
        let scene = Scene {
            subject: self.subject.clone(),
            server,
            recent: self
                .recent
                .iter()
                .take_while(young)
                .take(most as usize)
                .cloned()
                .collect(),
            leader,
            positions,
            // How the record stood then is not known any more.
            words: vec![],
            now,
        };
        let decision = think(&scene, self.rules);
        if let Some(verdict) = &decision.change {
            self.subject.state = verdict.to;
            self.subject.state_since = now;
        }
        decision
    }

    /// The state it is in by now.
    pub fn state(&self) -> State {
        self.subject.state
    }
}

/// Decides anew after each of these observations (oldest first), from the state
/// that `subject` has, and returns the changes of state with their times.
pub fn replay(
    subject: &Subject,
    history: &[Recorded],
    rules: &Rules,
) -> Vec<(DateTime<Utc>, Verdict)> {
    let mut again = Replay::new(subject.clone(), vec![], rules);
    history
        .iter()
        .filter_map(|recorded| {
            let (seen, leader) = (recorded.seen.clone(), recorded.leader.clone());
            let verdict = again.step(seen, recorded.server, leader).change?;
            Some((recorded.seen.created_at, verdict))
        })
        .collect()
}
