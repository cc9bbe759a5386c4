//! Verifiers: the application's own code that says how good an answer is.

use super::SignalFailure;
use crate::answer::AnswerError;
use crate::request::{Request, ToolCall};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Why a verifier cannot tell.
pub type VerifierError = Box<dyn std::error::Error + Send + Sync>;

/// Says how good an answer is: runs the unit test, checks the SQL, looks the city up. Given to
/// [`Builder::verifier`](crate::Builder::verifier) under the name of a signal of the kind `verifier`.
///
/// The value is any finite number; larger means more confident. One that takes longer than the signal's `timeout_s`, panics
/// or returns an error leaves the signal missing, and a rule that reads it escalates.
///
/// ```
/// use cascade_sdk::signal::{Candidate, Verifier, VerifierError};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     quantity: u32,
/// }
///
/// struct Plausible;
///
/// #[async_trait::async_trait]
/// impl Verifier for Plausible {
///     async fn verify(&self, candidate: &Candidate) -> Result<f64, VerifierError> {
///         let order: Order = candidate.answer()?;
///         Ok(if (1..=1000).contains(&order.quantity) { 1.0 } else { 0.0 })
///     }
/// }
/// ```
#[async_trait]
pub trait Verifier: Send + Sync + 'static {
    /// The value for an answer. It must not block the thread for long: [`blocking`] makes a verifier of code that does.
    ///
    /// # Errors
    /// Anything that keeps it from telling. What the error says is shown on request only.
    async fn verify(&self, candidate: &Candidate) -> Result<f64, VerifierError>;
}

/// An answer that is to be verified.
#[derive(Clone)]
pub struct Candidate {
    route: String,
    tier: String,
    request: Request,
    text: String,
    value: Value,
    tool_calls: Vec<ToolCall>,
}

impl Candidate {
    /// An answer as a verifier sees it, such as in its tests: `value` is the text itself, or what a typed answer reads as.
    pub fn new(
        route: impl Into<String>,
        tier: impl Into<String>,
        request: Request,
        text: impl Into<String>,
        value: Value,
    ) -> Self {
        let (route, tier, text) = (route.into(), tier.into(), text.into());
        Self { route, tier, request, text, value, tool_calls: Vec::new() }
    }

    /// Says which tools the model asks to be called.
    #[must_use]
    pub fn with_tool_calls(mut self, tool_calls: Vec<ToolCall>) -> Self {
        self.tool_calls = tool_calls;
        self
    }

    /// Name of the route.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Name of the tier that answered.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// What was asked. `cascade collect` knows messages, features and tags, and the prompt's id.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The answer as the model wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The answer as JSON: a string for text, else what the model's JSON says, without a wrapper. Null where a typed answer
    /// is yet to come, because the model calls tools first.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The tools that the model asks to be called, in order; empty where it answers.
    pub fn tool_calls(&self) -> &[ToolCall] {
        &self.tool_calls
    }

    /// Reads a candidate as `cascade collect --verifier NAME=COMMAND` writes it to a program, so that the application's own
    /// binary can be that program: one JSON object with `route`, `tier`, `id`, `input`, `text` and `answer`.
    ///
    /// # Errors
    /// [`AnswerError`] if it is none.
    pub fn from_json(text: &str) -> Result<Self, AnswerError> {
        #[derive(serde::Deserialize)]
        struct Written {
            route: String,
            tier: String,
            id: Option<String>,
            input: String,
            text: String,
            answer: Value,
        }
        let written: Written = serde_json::from_str(text).map_err(|error| AnswerError::json(&error))?;
        let request = Request { id: written.id, ..Request::new(written.input) };
        Ok(Self::new(written.route, written.tier, request, written.text, written.answer))
    }

    /// The answer as a value of the route's type.
    ///
    /// # Errors
    /// [`AnswerError`] if it is of another type.
    pub fn answer<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        T::deserialize(&self.value).map_err(|error| AnswerError::json(&error))
    }
}

/// Prompts and answers do not belong in logs.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("route", &self.route)
            .field("tier", &self.tier)
            .field("text", &format_args!("{} bytes", self.text.len()))
            .field("tool_calls", &self.tool_calls)
            .finish_non_exhaustive()
    }
}

/// A verifier of code that blocks, such as a compiler that is run: it gets a thread of its own. Past its time it is not waited
/// for any more, but nothing can end it.
///
/// ```
/// use cascade_sdk::signal::blocking;
/// let balanced = blocking(|candidate| {
///     let count = |bracket| candidate.text().matches(bracket).count();
///     Ok(if count('(') == count(')') { 1.0 } else { 0.0 })
/// });
/// ```
pub fn blocking<F>(verify: F) -> Blocking<F>
where
    F: Fn(&Candidate) -> Result<f64, VerifierError> + Send + Sync + 'static,
{
    Blocking(Arc::new(verify))
}

/// See [`blocking`].
pub struct Blocking<F>(Arc<F>);

impl<F> fmt::Debug for Blocking<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocking")
    }
}

#[async_trait]
impl<F> Verifier for Blocking<F>
where
    F: Fn(&Candidate) -> Result<f64, VerifierError> + Send + Sync + 'static,
{
    async fn verify(&self, candidate: &Candidate) -> Result<f64, VerifierError> {
        let (verify, candidate) = (Arc::clone(&self.0), candidate.clone());
        let mut task = AbortOnDrop(tokio::task::spawn_blocking(move || verify(&candidate)));
        match (&mut task.0).await {
            Ok(result) => result,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(cancelled.into()),
            },
        }
    }
}

/// A task that nobody waits for any more is not started; one that blocks already cannot be ended.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a verifier, bounded in time; a panic ends with it.
pub(super) async fn verify(
    verifier: &dyn Verifier,
    candidate: Candidate,
    timeout: Duration,
) -> Result<f64, SignalFailure> {
    // Making the future and showing the error are the application's code as much as the future is.
    let verified = async { verifier.verify(&candidate).await.map_err(|error| error.to_string()) };
    match tokio::time::timeout(timeout, unless_it_panics(verified)).await {
        Err(_) => Err(SignalFailure::VerifierTimeout),
        Ok(None) => Err(SignalFailure::VerifierPanic),
        Ok(Some(Err(error))) => Err(SignalFailure::VerifierError(error.into())),
        Ok(Some(Ok(value))) => Ok(value),
    }
}

/// `None` if the future panics. It is not polled again, so whatever state the panic left is not seen.
pub(crate) async fn unless_it_panics<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
