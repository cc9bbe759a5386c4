//! Why an answer lacks a signal.

use crate::routed::Failure;
use std::fmt;
use std::sync::Arc;

/// Why an answer lacks a signal. A rule that reads it escalates.
#[derive(Clone)]
#[non_exhaustive]
pub enum SignalFailure {
    /// A sample or a judge could not be had, or the judge's answer is no verdict.
    Model(Failure),
    /// The budget had no room for a call, or its ledgers could not be asked.
    Budget,
    /// The verifier took longer than its time.
    VerifierTimeout,
    /// The verifier panicked.
    VerifierPanic,
    /// The verifier says that it cannot tell. What it says may quote the answer, so it is shown by
    /// [`SignalFailure::detail`] only.
    VerifierError(Arc<str>),
    /// The value is not a finite number.
    NotANumber,
}

impl SignalFailure {
    /// The word for it in decision logs.
    pub fn log_word(&self) -> &'static str {
        match self {
            Self::Model(failure) => failure.log_word(),
            Self::Budget => "budget",
            Self::VerifierTimeout => "verifier_timeout",
            Self::VerifierPanic => "verifier_panic",
            Self::VerifierError(_) => "verifier_error",
            Self::NotANumber => "not_a_number",
        }
    }

    /// What the verifier says. It may quote the prompt or the answer: do not log it carelessly.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::VerifierError(detail) => Some(detail),
            _ => None,
        }
    }
}

impl fmt::Display for SignalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(failure) => failure.fmt(f),
            Self::Budget => f.write_str("the budget has no room for the signal"),
            Self::VerifierTimeout => f.write_str("the verifier took too long"),
            Self::VerifierPanic => f.write_str("the verifier panicked"),
            Self::VerifierError(_) => f.write_str("the verifier cannot tell"),
            Self::NotANumber => f.write_str("the signal is not a finite number"),
        }
    }
}

impl fmt::Debug for SignalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(failure) => f.debug_tuple("Model").field(failure).finish(),
            other => f.write_str(other.log_word()),
        }
    }
}

impl std::error::Error for SignalFailure {}
