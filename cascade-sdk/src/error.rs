//! The one error type of the client.

use crate::money::Usd;
use crate::routed::{Step, total};
use cascade_sdk_core::decide::Decision;
use std::fmt;
use std::time::Duration;

/// Why a request has no answer, or a client could not be made.
///
/// One word in size. It holds no key and no prompt; the answer that could not be read is shown by
/// [`Error::raw_answer`] only.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    path: Vec<Step<String>>,
    in_flight: Usd,
    retry_after: Option<Duration>,
    raw_answer: Option<String>,
    request_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    Budget,
    Timeout,
    Provider,
    Answer,
    Cancelled,
    Abstained,
    Embedding,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            path: Vec::new(),
            in_flight: Usd::ZERO,
            retry_after: None,
            raw_answer: None,
            request_id: None,
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// An error of the application's own making that belongs to its configuration, such as a file that
    /// cannot be read while a request is put together.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub(crate) fn with_path(mut self, path: Vec<Step<String>>, in_flight: Usd) -> Self {
        self.0.path = path;
        self.0.in_flight = in_flight;
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn with_raw_answer(mut self, answer: Option<String>) -> Self {
        self.0.raw_answer = answer;
        self
    }

    pub(crate) fn with_request_id(mut self, id: &str) -> Self {
        self.0.request_id = Some(id.to_owned());
        self
    }

    /// True if the configuration, a policy, the environment or the way a route is called is wrong. Trying again does not
    /// help.
    pub fn is_config(&self) -> bool {
        self.0.kind == Kind::Config
    }

    /// True if the budget has no room for the request; [`Error::retry_after`] is when its window ends.
    pub fn is_budget(&self) -> bool {
        self.0.kind == Kind::Budget
    }

    /// True if the deadline passed, or the last tier did not answer in time.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// True if the last tier's provider failed.
    pub fn is_provider(&self) -> bool {
        self.0.kind == Kind::Provider
    }

    /// True if the last tier refused, or its answer is not what was asked for.
    pub fn is_answer(&self) -> bool {
        self.0.kind == Kind::Answer
    }

    /// True if the client was closed before the answer came.
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == Kind::Cancelled
    }

    /// True if the policy's router reads an embedding that could not be had, and the route names no tier that answers then.
    pub fn is_embedding(&self) -> bool {
        self.0.kind == Kind::Embedding
    }

    /// True if the policy answers "don't know": a stage's score was too low even for the tiers after it to be asked.
    pub fn is_abstained(&self) -> bool {
        self.0.kind == Kind::Abstained
    }

    /// What the request cost in US dollars although it has no answer; a call that was cut short counts at its upper
    /// bound.
    pub fn spent(&self) -> Usd {
        total(&self.0.path, Step::total_cost).saturating_add(self.0.in_flight)
    }

    /// Every tier that was asked, in order, with what went wrong.
    pub fn path(&self) -> &[Step<String>] {
        &self.0.path
    }

    /// How long the provider asks to wait, or until the budget's window ends.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The text of the last answer that could not be used. It is the model's own: do not log it carelessly.
    pub fn raw_answer(&self) -> Option<&str> {
        self.0.raw_answer.as_deref()
    }

    /// The id of the request that failed.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// What people read whose `main` returns the error: the message, and which tiers were asked at what price. `{:#?}` shows the
/// fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, path, in_flight, retry_after, request_id, .. } = &*self.0;
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("kind", kind)
                .field("message", message)
                .field("request_id", request_id)
                .field("spent", &self.spent())
                .field("path", path)
                .field("retry_after", retry_after)
                .finish_non_exhaustive();
        }
        f.write_str(message)?;
        let Some(id) = request_id else { return Ok(()) };
        write!(f, "\n\nRequest `{id}` cost ${}", self.spent())?;
        f.write_str(if path.is_empty() { "." } else { ":" })?;
        for (number, step) in path.iter().enumerate() {
            write!(f, "\n    {}. tier `{}`, ${}: ", number + 1, step.tier, step.total_cost())?;
            match (&step.failure, step.decision) {
                (Some(failure), _) => write!(f, "{failure}")?,
                (None, Decision::Escalate(why)) => write!(f, "not kept, {why}")?,
                (None, _) => f.write_str("the last answer")?,
            }
        }
        if *in_flight > Usd::ZERO {
            write!(f, "\n    a call that was cut short, at most ${in_flight}")?;
        }
        if let Some(wait) = retry_after {
            write!(f, "\n\nTry again after {wait:.1?}.")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_and_sendable() {
        fn sendable<T: Send + Sync + 'static>() {}
        sendable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn the_answer_is_shown_on_request_only() {
        let error = Error::new(Kind::Answer, "not JSON").with_raw_answer(Some("private".into()));
        assert!(!format!("{error} {error:?}").contains("private"));
        assert_eq!(error.raw_answer(), Some("private"));
    }
}
