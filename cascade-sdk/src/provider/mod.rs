//! Providers: who is asked, what a call looks like, and what comes back.
//!
//! [`ModelCall`] is the one description of a call: `collect` and the client make it with [`ModelCall::new`], every wire
//! format reads it. A [`Provider`] answers one call; retries, budgets and escalation are the client's business.

mod error;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod openai;
#[cfg(feature = "replay")]
mod replay;
#[cfg(any(test, feature = "test-util"))]
mod scripted;
mod secret;
#[cfg(feature = "http")]
mod setup;
#[cfg(feature = "http")]
mod sse;
mod stream;

#[cfg(any(feature = "http", feature = "replay"))]
pub use error::SetupError;
pub use error::{ProviderError, ProviderErrorKind};
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

use crate::answer::AnswerSchema;
use crate::money::{Usage, Usd};
use crate::request::{Part, Request};
use async_trait::async_trait;
use cascade_sdk_core::config::{Api, RequestSettings, Tier};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Time allowed for a call whose tier sets no `timeout_s`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// More than any known chat template adds to one message.
const TEMPLATE_TOKENS: usize = 32;

/// Answers one call. Implement it to bring a model that no built-in wire format reaches.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

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
    /// Whether it takes a sampling seed.
    pub seed: bool,
    /// Whether it implements [`Provider::stream`].
    pub streaming: bool,
    /// Whether it returns signals of its own in [`Response::signals`], as `replay` does.
    pub own_signals: bool,
    /// Whether its calls are certainly free, so that budgets leave them alone.
    pub free: bool,
}

impl Capabilities {
    /// What a wire format can carry. A server behind it may still leave parts out.
    pub const fn of(api: Api) -> Self {
        Self {
            // More than this no provider returns.
            top_logprobs: if api.gives_log_probabilities() { 20 } else { 0 },
            json_schema: api.takes_json_schema(),
            seed: api.takes_seed(),
            // What is spoken here; the client makes one piece of whole answers elsewhere.
            streaming: matches!(api, Api::OpenAi),
            own_signals: !api.uses_network(),
            free: !api.uses_network(),
        }
    }
}

/// One call of one model: everything that shapes the bytes that are sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelCall<'a> {
    /// The tier's name.
    pub tier: &'a str,
    /// The model as the provider calls it.
    pub model: &'a str,
    /// The route's system prompt, then the request's own.
    pub system: Option<Cow<'a, str>>,
    /// The request: its messages, its id.
    pub request: &'a Request,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Alternatives asked for per token; `None` asks for no log-probabilities.
    pub top_logprobs: Option<u8>,
    /// Sampling seed.
    pub seed: Option<u64>,
    /// Form of the answer.
    pub schema: &'a AnswerSchema,
    /// Longest output in tokens.
    pub max_output_tokens: Option<u64>,
    /// Longest wait for the whole answer.
    pub timeout: Duration,
}

impl<'a> ModelCall<'a> {
    /// The call that asks `tier` this `request` on a route with these settings. `collect` and the client both make
    /// their calls here, so that a policy meets the requests it was fitted on.
    pub fn new(
        tier: &'a Tier,
        settings: &'a RequestSettings,
        schema: &'a AnswerSchema,
        request: &'a Request,
    ) -> Self {
        let system = match (settings.system.as_deref(), request.system.as_deref()) {
            (Some(route), Some(own)) => Some(Cow::Owned(format!("{route}\n\n{own}"))),
            (text, None) | (None, text) => text.map(Cow::Borrowed),
        };
        Self {
            tier: &tier.name,
            model: &tier.model,
            system,
            request,
            temperature: settings.temperature,
            top_logprobs: settings.top_logprobs.filter(|_| tier.log_probabilities),
            seed: settings.seed,
            schema,
            max_output_tokens: tier.max_output_tokens,
            timeout: tier.timeout.unwrap_or(DEFAULT_TIMEOUT),
        }
    }

    /// No tokenizer makes more tokens of the input than this: its UTF-8 bytes, plus room for what chat templates add to each
    /// message. `None` with images, whose tokens depend on the model.
    pub fn input_bound(&self) -> Option<u64> {
        let mut bytes = TEMPLATE_TOKENS + self.system.as_ref().map_or(0, |text| text.len() + TEMPLATE_TOKENS);
        for message in &self.request.messages {
            bytes += TEMPLATE_TOKENS;
            for part in &message.parts {
                match part {
                    Part::Text(text) => bytes += text.len(),
                    Part::Image { .. } => return None,
                }
            }
        }
        // Servers without grammar support paste the schema into the prompt.
        bytes += self.schema.sent().map_or(0, |schema| schema.to_string().len());
        u64::try_from(bytes).ok()
    }
}

/// What a model answered.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Response {
    /// The text; empty where the model returned none.
    pub text: String,
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
    /// Anything else, in the server's word.
    Other(String),
}

impl Response {
    /// A whole answer of this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
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
            .field("finish", &self.finish)
            .field("usage", &self.usage)
            .field("token_logprobs", &self.token_logprobs.as_ref().map(Vec::len))
            .field("served_model", &self.served_model)
            .field("signals", &self.signals)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
