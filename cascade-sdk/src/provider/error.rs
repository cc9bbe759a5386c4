//! Why a call gave no usable answer.

use crate::money::Usd;
use std::fmt;
use std::time::Duration;

/// What went wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// No answer in time.
    Timeout,
    /// The server could not be reached, or the connection broke.
    Connection,
    /// The server answered with an error status.
    Status,
    /// The server answered with something that is not an answer.
    BadBody,
    /// The input is longer than the model takes, or the answer larger than is read.
    TooLarge,
    /// The key is missing, wrong or not allowed to do this.
    Auth,
    /// The call was not sent, because the tier's server kept failing and its circuit is open.
    CircuitOpen,
    /// The call cannot be sent as asked, or the log that is replayed has no answer to it.
    Unsupported,
}

/// One failed call. Holds no key, prompt or answer; what the server wrote is kept apart and shown only on request.
#[derive(Clone)]
pub struct ProviderError {
    pub(crate) kind: ProviderErrorKind,
    pub(crate) message: String,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) may_have_been_charged: bool,
    pub(crate) detail: Option<Box<str>>,
    pub(crate) cost: Option<Usd>,
    pub(crate) latency: Option<Duration>,
}

impl ProviderError {
    /// An error that was certainly not charged. `message` must hold neither keys nor prompts.
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            retry_after: None,
            may_have_been_charged: false,
            detail: None,
            cost: None,
            latency: None,
        }
    }

    /// Says that the request was sent, so that the provider may charge for it.
    #[must_use]
    pub fn after_sending(mut self) -> Self {
        self.may_have_been_charged = true;
        self
    }

    /// Sets the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets how long the server asks to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Sets what the failed call cost in US dollars, where the provider knows.
    #[must_use]
    pub fn with_cost(mut self, cost: Usd) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Sets how long the call took where the provider knows better than the clock, as `replay` does.
    #[must_use]
    pub fn with_latency(mut self, latency: Option<Duration>) -> Self {
        self.latency = latency;
        self
    }

    /// Keeps what the server wrote; it may quote the prompt, so it is shown only by [`ProviderError::detail`].
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().into_boxed_str());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// True if the provider may charge for the call although there is no answer.
    pub fn may_have_been_charged(&self) -> bool {
        self.may_have_been_charged
    }

    /// What the failed call cost in US dollars, where the provider knows.
    pub fn cost(&self) -> Option<Usd> {
        self.cost
    }

    /// What the server wrote about the error, if anything. It may quote the prompt: do not log it carelessly.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// True if the same call may succeed later: a broken connection, or status 408, 409, 429 or 5xx (but not 501).
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            ProviderErrorKind::Connection => true,
            ProviderErrorKind::Status => {
                matches!(self.status, Some(408 | 409 | 429 | 500 | 502..=599))
            }
            _ => false,
        }
    }

    /// True if the failure says something of the tier, so that it counts as the tier's answer to its prompt: no answer in time, an
    /// input that is too long, a request that is refused. False where the server or the set-up was in trouble, or nothing was
    /// sent: that says nothing of how the tier answers, and `cascade collect` asks again.
    pub fn is_evidence(&self) -> bool {
        match self.kind {
            ProviderErrorKind::Timeout | ProviderErrorKind::TooLarge => true,
            // A refused request is about this prompt; a missing page or a server in trouble is not.
            ProviderErrorKind::Status => self.status != Some(404) && !self.is_retryable(),
            _ => false,
        }
    }

    /// The word for this failure in an eval log's `error` (DESIGN.md 5).
    pub fn log_word(&self) -> &'static str {
        match self.kind {
            ProviderErrorKind::Timeout => "timeout",
            ProviderErrorKind::Connection => "connection",
            ProviderErrorKind::Status => "status",
            ProviderErrorKind::BadBody => "bad_body",
            ProviderErrorKind::TooLarge => "too_long",
            ProviderErrorKind::Auth => "auth",
            ProviderErrorKind::CircuitOpen => "circuit_open",
            ProviderErrorKind::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("may_have_been_charged", &self.may_have_been_charged)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ProviderError {}

/// Why a provider cannot be used. Never holds a key.
#[cfg(any(feature = "http", feature = "replay"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(String);

#[cfg(any(feature = "http", feature = "replay"))]
impl SetupError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

#[cfg(any(feature = "http", feature = "replay"))]
impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(any(feature = "http", feature = "replay"))]
impl std::error::Error for SetupError {}
