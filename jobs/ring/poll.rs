//! When an idle worker looks for tokens again.
//!
//! apalis-core's own interval strategy arms a new delay without polling it, so
//! that nothing wakes the worker when it ends. This one polls every delay it
//! arms until it is pending.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis::prelude::{PollSnapshot, PollStrategy};
use tokio::time::{Instant, Sleep, sleep};

const SHORTEST: Duration = Duration::from_millis(5);

/// Waits briefly after work, then longer and longer up to a limit.
pub struct PollIdle {
    timer: Pin<Box<Sleep>>,
    wait: Duration,
    longest: Duration,
}

impl PollIdle {
    /// Waits between 5 ms and `longest`.
    pub fn new(longest: Duration) -> Self {
        Self {
            timer: Box::pin(sleep(SHORTEST)),
            wait: SHORTEST,
            longest: longest.max(SHORTEST),
        }
    }
}

impl PollStrategy for PollIdle {
    fn poll_drive(&mut self, cx: &mut Context<'_>, snapshot: &PollSnapshot) -> Poll<Option<()>> {
        if snapshot.is_busy() {
            self.wait = SHORTEST;
        }
        // The invariant: on return, the timer is pending and holds our waker.
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(Instant::now() + self.wait);
            self.wait = (self.wait * 2).min(self.longest);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn wakes_again_and_again() {
        let mut idle = PollIdle::new(Duration::from_millis(20));
        let mut wakes = 0;
        let woken = tokio::time::timeout(
            Duration::from_secs(5),
            poll_fn(|cx| {
                wakes += 1;
                let _ = idle.poll_drive(cx, &PollSnapshot::new());
                if wakes > 20 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }),
        )
        .await;
        assert!(woken.is_ok(), "went silent after {wakes} wakes");
    }
}
