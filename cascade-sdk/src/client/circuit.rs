//! Circuit breakers: a tier whose server keeps failing is left alone for a while, so that requests go on to the next tier at
//! once instead of waiting for it.

use crate::provider::{ProviderError, ProviderErrorKind};
use cascade_sdk_core::config;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The breaker of one tier, shared by its routes.
#[derive(Debug)]
pub(super) struct Circuit {
    settings: config::Circuit,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Calls go out; so many failed in a row.
    Closed { failures: u32 },
    /// No call goes out before that time.
    Open { until: Instant },
    /// One call is out to see whether the server answers again. If nothing is heard of it, another goes out at that time.
    Probing { until: Instant },
}

impl Circuit {
    pub(super) fn new(settings: config::Circuit) -> Self {
        Self { settings, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Whether a call may go out.
    ///
    /// # Errors
    /// How long to wait until one may.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        if self.settings.failures == 0 {
            return Ok(());
        }
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::Probing { until } if now < until => Err(until - now),
            State::Open { .. } | State::Probing { .. } => {
                *state = State::Probing { until: now + self.settings.open };
                Ok(())
            }
        }
    }

    /// Notes how a call that was let out ended. True if that opened the circuit.
    pub(super) fn report(&self, error: Option<&ProviderError>, now: Instant) -> bool {
        if self.settings.failures == 0 {
            return false;
        }
        let mut state = self.state();
        if !error.is_some_and(is_server_failure) {
            *state = State::Closed { failures: 0 };
            return false;
        }
        let failures = match *state {
            State::Closed { failures } => failures.saturating_add(1),
            // The probe failed, or a call that went out before the circuit opened.
            State::Open { .. } | State::Probing { .. } => self.settings.failures,
        };
        let opens = failures >= self.settings.failures;
        *state =
            if opens { State::Open { until: now + self.settings.open } } else { State::Closed { failures } };
        opens
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Failures that say something of the server rather than of the request.
fn is_server_failure(error: &ProviderError) -> bool {
    error.kind() == ProviderErrorKind::Timeout || error.is_retryable()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(10);

    fn circuit(failures: u32) -> Circuit {
        Circuit::new(config::Circuit { failures, open: OPEN })
    }

    fn broken() -> ProviderError {
        ProviderError::new(ProviderErrorKind::Connection, "reset")
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_probe() {
        let (circuit, start) = (circuit(2), Instant::now());
        assert!(!circuit.report(Some(&broken()), start));
        circuit.report(None, start);
        assert!(!circuit.report(Some(&broken()), start));
        assert_eq!(circuit.admit(start), Ok(()));
        assert!(circuit.report(Some(&broken()), start));
        assert_eq!(circuit.admit(start), Err(OPEN));
        // One call tries, the others wait for it.
        assert_eq!(circuit.admit(start + OPEN), Ok(()));
        assert_eq!(circuit.admit(start + OPEN), Err(OPEN));
        assert!(circuit.report(Some(&broken()), start + OPEN));
        assert_eq!(circuit.admit(start + OPEN), Err(OPEN));
        assert_eq!(circuit.admit(start + 2 * OPEN), Ok(()));
        circuit.report(None, start + 2 * OPEN);
        assert_eq!(circuit.admit(start + 2 * OPEN), Ok(()));
        assert!(!circuit.report(Some(&broken()), start + 2 * OPEN));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_is_followed_by_another() {
        let (circuit, start) = (circuit(1), Instant::now());
        circuit.report(Some(&broken()), start);
        assert_eq!(circuit.admit(start + OPEN), Ok(()));
        assert_eq!(circuit.admit(start + 2 * OPEN), Ok(()));
    }

    #[test]
    fn a_request_that_is_wrong_says_nothing_of_the_server() {
        let (circuit, now) = (circuit(1), Instant::now());
        let wrong = ProviderError::new(ProviderErrorKind::Status, "bad request").with_status(400);
        assert!(!circuit.report(Some(&wrong), now));
        assert_eq!(circuit.admit(now), Ok(()));
        let never = self::circuit(0);
        assert!(!never.report(Some(&broken()), now));
        assert_eq!(never.admit(now), Ok(()));
    }
}
