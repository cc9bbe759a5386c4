//! Providers: who is asked, what a call looks like, and what comes back.
//!
//! [`ModelCall`] is the one description of a call: `collect` and the client make it with [`ModelCall::new`], every wire
//! format reads it. A [`Provider`] answers one call; retries, budgets and escalation are the client's business.

#[cfg(feature = "http")]
mod anthropic;
mod call;
#[cfg(feature = "http")]
mod embeddings;
mod error;
#[cfg(feature = "http")]
mod gemini;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod openai;
#[cfg(feature = "replay")]
mod replay;
#[cfg(feature = "http")]
mod schema;
#[cfg(any(test, feature = "test-util"))]
mod scripted;
mod secret;
#[cfg(feature = "http")]
mod setup;
#[cfg(feature = "http")]
mod sse;
mod stream;
#[cfg(all(test, feature = "http"))]
mod testing;
#[cfg(feature = "http")]
mod wire;

#[cfg(feature = "http")]
pub use anthropic::Anthropic;
pub use call::{DEFAULT_TIMEOUT, ModelCall};
#[cfg(feature = "http")]
pub use embeddings::{EmbeddingBill, EmbeddingCall, EmbeddingReply, EmbeddingServer};
#[cfg(any(feature = "http", feature = "replay"))]
pub use error::SetupError;
pub use error::{ProviderError, ProviderErrorKind};
#[cfg(feature = "http")]
pub use gemini::Gemini;
#[cfg(feature = "http")]
pub use openai::OpenAi;
#[cfg(feature = "replay")]
pub use replay::Replay;
#[cfg(any(test, feature = "test-util"))]
pub use scripted::{Asked, Reply, Scripted};
pub use secret::Secret;
#[cfg(feature = "http")]
pub use setup::connect;
pub use stream::{Chunk, ResponseStream};

pub(crate) use stream::Partial;

pub use cascade_sdk_core::signal::TokenLogprob;

use crate::money::{Usage, Usd};
use crate::request::{Bound, Message, Part, Role, ToolCall};
use async_trait::async_trait;
use cascade_sdk_core::config::Api;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Answers one call. Implement it to bring a model that no built-in wire format reaches.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Says, before anything is sent, why this call cannot be sent as asked: images or tools that the provider does not
    /// take, parts of earlier answers that only another api can read. The client asks every tier that a request may come
    /// to before it asks the first for an answer.
    ///
    /// # Errors
    /// [`ProviderErrorKind::Unsupported`] with the reason.
    fn check(&self, call: &ModelCall<'_>) -> Result<(), ProviderError> {
        call.check(self.capabilities(), None)
    }

    /// Sends one call and waits for the whole answer, without retrying.
    ///
    /// # Errors
    /// [`ProviderError`] if there is no usable answer. A refusal or an answer cut off at the length limit is an answer:
    /// see [`FinishReason`].
    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError>;

    /// Sends one call and gives the answer piece by piece, without retrying. The client comes here only where
    /// [`Capabilities::streaming`] is set; elsewhere it takes a whole answer and shows it as one piece.
    ///
    /// A piece with a [`Chunk::finish`] makes the answer whole; a stream that ends without one is a broken connection.
    ///
    /// # Errors
    /// [`ProviderError`] if nothing arrives, or in the middle of the stream; [`ProviderErrorKind::Unsupported`] unless a
    /// provider implements it.
    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        let _ = call;
        Err(ProviderError::new(ProviderErrorKind::Unsupported, "the provider does not stream"))
    }
}

/// What a provider can give.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// Most alternatives per token whose log-probabilities it returns; 0 if it returns none.
    pub top_logprobs: u8,
    /// Whether it can be held to a JSON Schema.
    pub json_schema: bool,
    /// Whether it takes tool definitions and returns tool calls.
    pub tools: bool,
    /// Whether messages may hold images.
    pub images: bool,
    /// Whether it takes a sampling seed.
    pub seed: bool,
    /// Whether it implements [`Provider::stream`].
    pub streaming: bool,
    /// Whether it returns signals of its own in [`Response::signals`], as `replay` does.
    pub own_signals: bool,
    /// Whether its answers, tokens and signals are those of the log that the policy was fitted on. A signal that the log lacks
    /// is then missing: nothing computes it anew.
    pub replays: bool,
    /// Whether its calls are certainly free, so that budgets leave them alone.
    pub free: bool,
}

impl Capabilities {
    /// What a wire format can carry. A server behind it may still leave parts out.
    pub const fn of(api: Api) -> Self {
        Self {
            top_logprobs: api.top_logprobs(),
            json_schema: api.takes_json_schema(),
            // What is replayed does not depend on them.
            tools: api.takes_tools() || !api.uses_network(),
            images: api.takes_images() || !api.uses_network(),
            seed: api.takes_seed(),
            streaming: api.streams(),
            own_signals: !api.uses_network(),
            replays: !api.uses_network(),
            free: !api.uses_network(),
        }
    }
}

/// What a model answered.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Response {
    /// The text; empty where the model returned none.
    pub text: String,
    /// The tools that the model asks to be called, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Parts of the answer that the api wants back with the next turn, such as signed reasoning.
    pub bound: Vec<Bound>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// What it used; `None` if the server did not say.
    pub usage: Option<Usage>,
    /// Log-probability of each generated token, end-of-sequence entries left out. `None` if the server returned none,
    /// asked or not. One entry may cover several tokens of one multi-byte character.
    pub token_logprobs: Option<Vec<TokenLogprob>>,
    /// The model that answered, as the server names it.
    pub served_model: Option<String>,
    /// Signals that the provider itself knows, by name; larger means more confident.
    pub signals: BTreeMap<String, f64>,
    /// What each of those signals cost beyond the call, in US dollars.
    pub signal_costs: BTreeMap<String, Usd>,
    /// What the call cost where the provider knows better than usage × price, as `replay` does.
    pub cost: Option<Usd>,
    /// How long the call took where the provider knows better than the clock, as `replay` does.
    pub latency: Option<Duration>,
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FinishReason {
    /// It was done.
    #[default]
    Stop,
    /// It ran into the length limit; the text is cut off.
    Length,
    /// The model or a content filter refused.
    Refused,
    /// It asks for tools to be called.
    ToolCalls,
    /// Anything else, in the server's word.
    Other(String),
}

impl FinishReason {
    /// The word for it in eval and decision logs (`finish`); `None` where the model was simply done.
    pub fn log_word(&self) -> Option<&str> {
        Some(match self {
            Self::Stop => return None,
            Self::Length => "length",
            Self::Refused => "refused",
            Self::ToolCalls => "tool_calls",
            Self::Other(word) => word,
        })
    }

    /// The same back.
    #[cfg_attr(not(feature = "replay"), expect(dead_code, reason = "only logs hold it"))]
    pub(crate) fn of_log_word(word: Option<&str>) -> Self {
        match word {
            None | Some("stop") => Self::Stop,
            Some("length") => Self::Length,
            Some("refused") => Self::Refused,
            Some("tool_calls") => Self::ToolCalls,
            Some(other) => Self::Other(other.to_owned()),
        }
    }
}

impl Response {
    /// A whole answer of this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Adds a tool that the model asks to be called.
    #[must_use]
    pub fn with_tool_call(mut self, call: ToolCall) -> Self {
        self.tool_calls.push(call);
        self.finish = FinishReason::ToolCalls;
        self
    }

    /// The answer as a message of the conversation that the next request continues, with all that the api wants back.
    pub fn message(&self) -> Message {
        // Apis want reasoning first and calls last.
        let text = Some(&self.text).filter(|text| !text.is_empty()).cloned().map(Part::Text);
        let calls = self.tool_calls.iter().cloned().map(Part::ToolCall);
        let parts = self.bound.iter().cloned().map(Part::Bound).chain(text).chain(calls).collect();
        Message { role: Role::Assistant, parts }
    }

    /// The answer as [`Response::message`], where it holds more than its text.
    pub(crate) fn turn(&self) -> Option<Message> {
        (!self.tool_calls.is_empty() || !self.bound.is_empty()).then(|| self.message())
    }

    /// Sets what was used.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Adds a signal that the provider itself knows.
    #[must_use]
    pub fn with_signal(mut self, name: impl Into<String>, value: f64) -> Self {
        self.signals.insert(name.into(), value);
        self
    }
}

/// Answers do not belong in logs: `Debug` shows their length only.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("text", &format_args!("{} bytes", self.text.len()))
            .field("tool_calls", &self.tool_calls)
            .field("finish", &self.finish)
            .field("usage", &self.usage)
            .field("token_logprobs", &self.token_logprobs.as_ref().map(Vec::len))
            .field("served_model", &self.served_model)
            .field("signals", &self.signals)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
