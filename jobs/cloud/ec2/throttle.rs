//! Asking less: when EC2 says that too much is asked of it, this process asks it
//! nothing for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// After this many doublings the longest is reached.
const DOUBLINGS: u32 = 6;

/// The wait that all who talk to one region share.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    /// How often in a row it was too much.
    times: u32,
}

impl Throttle {
    /// How long nothing may be asked from now on; `None`: ask.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.rest_at(Instant::now())
    }

    fn rest_at(&self, now: Instant) -> Option<Duration> {
        let rest = self.lock().until?.saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// It was too much: everybody waits for so long.
    pub(super) fn back_off(&self) -> Duration {
        self.back_off_at(Instant::now())
    }

    fn back_off_at(&self, now: Instant) -> Duration {
        let mut state = self.lock();
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
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        // An answer to what was asked before the wait began says nothing about it.
        if state.until.is_none_or(|until| until <= Instant::now()) {
            *state = State::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_what_came_together_counts_once() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = throttle.back_off_at(now);
            assert!(throttle.back_off_at(now) <= wait);
            assert!(throttle.rest_at(now).is_some());
            waits.push(wait.as_secs_f64());
            now += wait;
            assert_eq!(throttle.rest_at(now), None);
        }
        for (wait, most) in waits.iter().zip([1., 2., 4., 8., 16., 32., 60., 60., 60.]) {
            assert!((most / 2.0..=most).contains(wait), "{waits:?}");
        }
    }

    #[test]
    fn an_answer_ends_the_row_of_waits_but_not_a_wait() {
        let throttle = Throttle::default();
        throttle.back_off();
        throttle.answered();
        assert!(throttle.rest().is_some());
        throttle.lock().until = Some(Instant::now());
        throttle.answered();
        assert!(throttle.back_off() <= FIRST);
    }
}
