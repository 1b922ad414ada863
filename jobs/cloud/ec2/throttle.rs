//! Asking less: when EC2 says that too much of something is asked of it, this process does not
//! ask it that for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// After this many doublings the longest is reached.
const DOUBLINGS: u32 = 6;

/// The waits that all who talk to one region share: one for each action, as EC2 counts them.
/// Whoever asks how instances are is no reason not to stop one.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    states: Mutex<HashMap<String, State>>,
}

#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    /// How often in a row it was too much.
    times: u32,
}

impl Throttle {
    /// How long this may not be asked from now on; `None`: ask.
    pub(super) fn rest(&self, action: &str) -> Option<Duration> {
        self.rest_at(action, Instant::now())
    }

    fn rest_at(&self, action: &str, now: Instant) -> Option<Duration> {
        let until = self.lock().get(action)?.until?;
        let rest = until.saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// It was too much: everybody waits for so long with this.
    pub(super) fn back_off(&self, action: &str) -> Duration {
        self.back_off_at(action, Instant::now())
    }

    fn back_off_at(&self, action: &str, now: Instant) -> Duration {
        let mut states = self.lock();
        let state = states.entry(action.to_owned()).or_default();
        // Calls that were under way together are one sign, not many.
        if let Some(until) = state.until.filter(|until| *until > now) {
            return until - now;
        }
        let full = FIRST.saturating_mul(1 << state.times.min(DOUBLINGS));
        // Jitter, so that processes that were stopped together do not come back so.
        let wait = full.min(LONGEST).mul_f64(rand::random_range(0.5..=1.0));
        state.times = state.times.saturating_add(1);
        state.until = Some(now + wait);
        wait
    }

    /// EC2 has answered otherwise.
    pub(super) fn answered(&self, action: &str) {
        let mut states = self.lock();
        let over = |state: &State| state.until.is_none_or(|until| until <= Instant::now());
        // An answer to what was asked before the wait began says nothing about it.
        if states.get(action).is_some_and(over) {
            states.remove(action);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        // Nothing that holds it can panic half way.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: &str = "StopInstances";

    #[test]
    fn who_asks_how_they_are_keeps_nobody_from_stopping_one() {
        let throttle = Throttle::default();
        throttle.back_off("DescribeInstanceStatus");
        assert!(throttle.rest("DescribeInstanceStatus").is_some());
        assert_eq!(throttle.rest(STOP), None);
    }

    #[test]
    fn waits_double_up_to_a_minute_and_what_came_together_counts_once() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = throttle.back_off_at(STOP, now);
            assert!(throttle.back_off_at(STOP, now) <= wait);
            assert!(throttle.rest_at(STOP, now).is_some());
            waits.push(wait.as_secs_f64());
            now += wait;
            assert_eq!(throttle.rest_at(STOP, now), None);
        }
        for (wait, most) in waits.iter().zip([1., 2., 4., 8., 16., 32., 60., 60., 60.]) {
            assert!((most / 2.0..=most).contains(wait), "{waits:?}");
        }
    }

    #[test]
    fn an_answer_ends_the_row_of_waits_but_not_a_wait() {
        let throttle = Throttle::default();
        throttle.back_off(STOP);
        throttle.answered(STOP);
        assert!(throttle.rest(STOP).is_some());
        throttle.lock().get_mut(STOP).unwrap().until = Some(Instant::now());
        throttle.answered(STOP);
        assert!(throttle.back_off(STOP) <= FIRST);
    }
}
