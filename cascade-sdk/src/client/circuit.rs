//! Circuit breakers: a tier whose server keeps failing is left alone for a while, so that requests go on to the next tier at
//! once instead of waiting for it.

use crate::provider::{ProviderError, ProviderErrorKind};
use cascade_sdk_core::config;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a request must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// The time that it had from its start.
    pub(super) length: Duration,
}

/// A call that was let out. Dropped before it ended it counts as a timeout if the deadline of its request is why, and it had at
/// least half of the request's time; else it says nothing, and another may go out in its place.
#[derive(Debug)]
pub(super) struct Admitted<'c> {
    circuit: &'c Circuit,
    tier: &'c str,
    /// Set if it probes: since when.
    probes: Option<Instant>,
    /// Since when the call is out, where its request has a deadline.
    sent: Option<(Instant, Deadline)>,
    heard: bool,
}

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

    /// Lets a call to this tier out.
    ///
    /// # Errors
    /// How long to wait until one may go out.
    pub(super) fn admit<'c>(&'c self, tier: &'c str, now: Instant) -> Result<Admitted<'c>, Duration> {
        let mut state = self.state();
        let probes = match *state {
            _ if self.settings.failures == 0 => None,
            State::Closed { .. } => None,
            State::Open { until } | State::Probing { until } if now < until => return Err(until - now),
            State::Open { .. } | State::Probing { .. } => {
                *state = State::Probing { until: now + self.settings.open };
                Some(now)
            }
        };
        Ok(Admitted { circuit: self, tier, probes, sent: None, heard: false })
    }

    /// Notes how a call that was let out ended. True if that opened the circuit.
    fn report(&self, error: Option<&ProviderError>, now: Instant) -> bool {
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

    /// A probe ends without saying anything: the next call may probe.
    fn release(&self, since: Instant) {
        let mut state = self.state();
        if matches!(*state, State::Probing { until } if until == since + self.settings.open) {
            *state = State::Open { until: since };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted<'_> {
    /// The call goes out now.
    pub(super) fn send(&mut self, deadline: Option<Deadline>, now: Instant) {
        self.sent = deadline.map(|deadline| (now, deadline));
    }

    /// Notes how it ended.
    pub(super) fn end(mut self, error: Option<&ProviderError>, now: Instant) {
        self.note(error, now);
    }

    fn note(&mut self, error: Option<&ProviderError>, now: Instant) {
        self.heard = true;
        if self.circuit.report(error, now) {
            tracing::warn!(target: "cascade_sdk", tier = %self.tier, "circuit opened");
        }
    }

    fn ran_into_the_deadline(&self, now: Instant) -> bool {
        self.sent.is_some_and(|(since, deadline)| {
            now >= deadline.at && now.saturating_duration_since(since) >= deadline.length / 2
        })
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.heard {
            return;
        }
        let now = Instant::now();
        if self.ran_into_the_deadline(now) {
            let late =
                ProviderError::new(ProviderErrorKind::Timeout, "no answer within the request's deadline");
            self.note(Some(&late), now);
        } else if let Some(since) = self.probes {
            self.circuit.release(since);
        }
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

    /// Lets a call out that ends in this way.
    fn call(circuit: &Circuit, error: Option<&ProviderError>, now: Instant) -> Result<(), Duration> {
        circuit.admit("small", now).map(|admitted| admitted.end(error, now))
    }

    /// Lets a call out that is dropped after it was sent.
    fn drop_after(circuit: &Circuit, now: Instant, sent: Instant, deadline: Option<Deadline>) {
        circuit.admit("small", now).unwrap().send(deadline, sent);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_probe() {
        let (circuit, start) = (circuit(2), Instant::now());
        assert_eq!(call(&circuit, Some(&broken()), start), Ok(()));
        assert_eq!(call(&circuit, None, start), Ok(()));
        assert_eq!(call(&circuit, Some(&broken()), start), Ok(()));
        assert_eq!(call(&circuit, Some(&broken()), start), Ok(()));
        assert_eq!(call(&circuit, None, start), Err(OPEN));
        // One call tries, the others wait for it.
        let probe = circuit.admit("small", start + OPEN).unwrap();
        assert_eq!(call(&circuit, None, start + OPEN), Err(OPEN));
        probe.end(Some(&broken()), start + OPEN);
        assert_eq!(call(&circuit, None, start + OPEN), Err(OPEN));
        assert_eq!(call(&circuit, None, start + 2 * OPEN), Ok(()));
        assert_eq!(call(&circuit, Some(&broken()), start + 2 * OPEN), Ok(()));
        assert_eq!(call(&circuit, None, start + 2 * OPEN), Ok(()));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_is_followed_by_another() {
        let (circuit, start) = (circuit(1), Instant::now());
        assert_eq!(call(&circuit, Some(&broken()), start), Ok(()));
        let lost = circuit.admit("small", start + OPEN).unwrap();
        let next = circuit.admit("small", start + 2 * OPEN).unwrap();
        // The first one gives nothing back that the second one holds.
        drop(lost);
        assert_eq!(call(&circuit, None, start + 2 * OPEN), Err(OPEN));
        drop(next);
        assert_eq!(call(&circuit, None, start + 2 * OPEN), Ok(()));
    }

    #[test]
    fn a_probe_that_was_not_sent_leaves_its_turn_to_the_next() {
        let (circuit, start) = (circuit(1), Instant::now());
        assert_eq!(call(&circuit, Some(&broken()), start), Ok(()));
        drop(circuit.admit("small", start + OPEN).unwrap());
        assert_eq!(call(&circuit, None, start + OPEN), Ok(()));
        assert_eq!(call(&circuit, None, start + OPEN), Ok(()));
    }

    #[test]
    fn a_call_that_the_deadline_cut_short_is_a_timeout_unless_others_took_the_time() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let passed = Deadline { at: now, length: Duration::ZERO };
        // Sent a moment ago, with a deadline that has just passed, out of so much time.
        let opens = |deadline: Option<Deadline>| {
            let circuit = circuit(1);
            drop_after(&circuit, now, now, deadline);
            call(&circuit, None, Instant::now()).is_err()
        };
        assert!(opens(Some(passed)));
        assert!(!opens(Some(Deadline { length: 3600 * second, ..passed })));
        assert!(!opens(Some(Deadline { at: now + 3600 * second, ..passed })));
        assert!(!opens(None));
    }

    #[test]
    fn a_request_that_is_wrong_says_nothing_of_the_server() {
        let (circuit, now) = (circuit(1), Instant::now());
        let wrong = ProviderError::new(ProviderErrorKind::Status, "bad request").with_status(400);
        assert_eq!(call(&circuit, Some(&wrong), now), Ok(()));
        assert_eq!(call(&circuit, None, now), Ok(()));
        let never = self::circuit(0);
        assert_eq!(call(&never, Some(&broken()), now), Ok(()));
        assert_eq!(call(&never, None, now), Ok(()));
    }
}
