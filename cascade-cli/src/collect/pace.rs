//! A rate limit of a provider: calls begin evenly spaced.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Spaces the calls of one provider, over all its tiers.
#[derive(Debug)]
pub(crate) struct Pace {
    between: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most so many calls in a minute; `None` is no limit.
    pub(crate) fn new(per_minute: Option<u32>) -> Self {
        let between = per_minute.map_or(Duration::ZERO, |calls| Duration::from_secs(60) / calls.max(1));
        Self { between, next: Mutex::new(None) }
    }

    /// Waits for the turn of one more call.
    pub(crate) async fn turn(&self) {
        if !self.between.is_zero() {
            tokio::time::sleep_until(self.reserve(Instant::now())).await;
        }
    }

    /// When the call may begin that is asked for now.
    fn reserve(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Time in which nothing was asked is not saved up: a burst is what limits are against.
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + self.between);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spaced_and_pauses_save_nothing_up() {
        let pace = Pace::new(Some(120));
        let start = Instant::now();
        let half = Duration::from_millis(500);
        assert_eq!(pace.reserve(start), start);
        assert_eq!(pace.reserve(start), start + half);
        assert_eq!(pace.reserve(start + 10 * half), start + 10 * half);
        assert_eq!(pace.reserve(start + 10 * half), start + 11 * half);
    }
}
