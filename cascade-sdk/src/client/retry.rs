//! When a failed call is sent again, and after how long.

use crate::provider::ProviderError;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Upper bound of the first wait; doubles with each retry.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Longest wait of the client's own choosing.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// A server that asks for more than this is not waited for: the next tier answers sooner.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The longest wait between two attempts.
pub(super) const MOST_BETWEEN: Duration = LONGEST_RETRY_AFTER.saturating_add(FIRST_WAIT);

/// How long to wait before sending the call again; `None` if it must not be. `retries` is how many there were.
pub(crate) fn wait(error: &ProviderError, retries: u32, most: u32, random: f64) -> Option<Duration> {
    if retries >= most || !error.is_retryable() {
        return None;
    }
    let bound = FIRST_WAIT.saturating_mul(1_u32.checked_shl(retries).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
    // Jitter over the whole range, so that clients that failed together do not come back together.
    let own = bound.mul_f64(random.clamp(0.0, 1.0));
    match error.retry_after() {
        Some(asked) if asked > LONGEST_RETRY_AFTER => None,
        Some(asked) => Some(asked.saturating_add(own.min(FIRST_WAIT))),
        None => Some(own),
    }
}

/// A random number in [0, 1); the operating system seeds it. Only waits depend on it.
pub(crate) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderErrorKind as Kind;

    fn status(status: u16) -> ProviderError {
        ProviderError::new(Kind::Status, "failed").with_status(status)
    }

    #[test]
    fn only_what_may_succeed_later_is_sent_again() {
        for (code, again) in [
            (408, true),
            (409, true),
            (429, true),
            (500, true),
            (503, true),
            (501, false),
            (400, false),
            (404, false),
        ] {
            assert_eq!(wait(&status(code), 0, 2, 0.5).is_some(), again, "{code}");
        }
        assert!(wait(&ProviderError::new(Kind::Connection, "reset"), 0, 2, 0.5).is_some());
        assert!(wait(&ProviderError::new(Kind::Timeout, "slow"), 0, 2, 0.5).is_none());
        assert!(wait(&status(503), 2, 2, 0.5).is_none());
    }

    #[test]
    fn waits_double_up_to_a_limit_and_follow_the_server() {
        let waits: Vec<_> = (0..7).map(|n| wait(&status(500), n, 99, 1.0).unwrap().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 8000]);
        let asked = |seconds| status(429).with_retry_after(Some(Duration::from_secs(seconds)));
        assert_eq!(wait(&asked(7), 0, 2, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(wait(&asked(31), 0, 2, 0.0), None);
    }

    #[test]
    fn random_numbers_differ() {
        let numbers: Vec<_> = (0..20).map(|_| random()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| (number - numbers[0]).abs() > 1e-6));
    }
}
