//! A provider that answers from a script, so that applications test without a network.

use super::{
    Capabilities, Chunk, ModelCall, Provider, ProviderError, ProviderErrorKind, Response, ResponseStream,
    TokenLogprob,
};
use crate::money::Usage;
use async_trait::async_trait;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Answers each tier's calls in the order of its script, and remembers what it was asked. Clones share both.
///
/// ```
/// use cascade_sdk::provider::{Reply, Scripted};
/// let provider = Scripted::new()
///     .reply("small", Reply::text("billing").with_signal("mean_logprob", -0.9))
///     .reply_always("large", "technical");
/// assert!(provider.asked().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    once: BTreeMap<String, VecDeque<Reply>>,
    always: BTreeMap<String, Reply>,
    asked: Vec<Asked>,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub struct Reply {
    result: Result<Response, ProviderError>,
    delay: Duration,
    breaks: Option<usize>,
}

/// One call that a script answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// The tier.
    pub tier: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The routing text of the request.
    pub text: String,
}

impl Reply {
    /// This text, with a usage of 10 input tokens and 5 output tokens.
    pub fn text(text: impl Into<String>) -> Self {
        let usage = Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() };
        Response::text(text).with_usage(usage).into()
    }

    /// Adds a signal; larger means more confident.
    #[must_use]
    pub fn with_signal(mut self, name: impl Into<String>, value: f64) -> Self {
        self.result = self.result.map(|response| response.with_signal(name, value));
        self
    }

    /// Sets what was used.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.result = self.result.map(|response| response.with_usage(usage));
        self
    }

    /// Sets the log-probability of each token, in nats, the text being the tokens together. Streams give one token after
    /// the other.
    #[must_use]
    pub fn with_tokens<'t>(mut self, tokens: impl IntoIterator<Item = (&'t str, f64)>) -> Self {
        self.result = self.result.map(|mut response| {
            let tokens = tokens.into_iter().map(|(text, logprob)| TokenLogprob {
                bytes: Some(text.as_bytes().into()),
                logprob,
                alternatives: Vec::new(),
            });
            response.token_logprobs = Some(tokens.collect());
            response
        });
        self
    }

    /// Breaks the connection of a stream after this many pieces.
    #[must_use]
    pub fn breaking_after(mut self, pieces: usize) -> Self {
        self.breaks = Some(pieces);
        self
    }

    /// Waits before answering.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self { result: Ok(response), delay: Duration::ZERO, breaks: None }
    }
}

impl From<ProviderError> for Reply {
    fn from(error: ProviderError) -> Self {
        Self { result: Err(error), delay: Duration::ZERO, breaks: None }
    }
}

impl Scripted {
    /// An empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reply that is given once, after those before it.
    #[must_use]
    pub fn reply(self, tier: impl Into<String>, reply: impl Into<Reply>) -> Self {
        self.state().once.entry(tier.into()).or_default().push_back(reply.into());
        self
    }

    /// Sets the reply that is given whenever no other is left.
    #[must_use]
    pub fn reply_always(self, tier: impl Into<String>, reply: impl Into<Reply>) -> Self {
        self.state().always.insert(tier.into(), reply.into());
        self
    }

    /// The calls so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reply_to(&self, call: &ModelCall<'_>) -> Result<Reply, ProviderError> {
        let Some(reply) = self.next(call) else {
            let message = format!("the script has no reply left for tier `{}`", call.tier);
            return Err(ProviderError::new(ProviderErrorKind::Unsupported, message));
        };
        tokio::time::sleep(reply.delay).await;
        Ok(reply)
    }

    fn next(&self, call: &ModelCall<'_>) -> Option<Reply> {
        let mut state = self.state();
        state.asked.push(Asked {
            tier: call.tier.to_owned(),
            system: call.system.as_deref().map(str::to_owned),
            text: call.request.routing_text().into_owned(),
        });
        let once = state.once.get_mut(call.tier).and_then(VecDeque::pop_front);
        once.or_else(|| state.always.get(call.tier).cloned())
    }
}

#[async_trait]
impl Provider for Scripted {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            top_logprobs: 20,
            json_schema: true,
            tools: true,
            images: true,
            seed: true,
            streaming: true,
            own_signals: true,
            replays: false,
            free: false,
        }
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        self.reply_to(call).await?.result
    }

    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        let reply = self.reply_to(call).await?;
        let mut pieces: VecDeque<_> = pieces(reply.result?).into_iter().map(Ok).collect();
        if let Some(after) = reply.breaks {
            pieces.truncate(after);
            let message = "the script breaks the stream";
            pieces.push_back(Err(ProviderError::new(ProviderErrorKind::Connection, message).after_sending()));
        }
        Ok(ResponseStream::of_pieces(pieces))
    }
}

/// A scripted answer in pieces: one for each token where the script has tokens, else one for each word.
fn pieces(mut response: Response) -> Vec<Chunk> {
    let text = std::mem::take(&mut response.text);
    let tokens = response.token_logprobs.take().unwrap_or_default();
    let spelled = |token: &TokenLogprob| {
        token.bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
    };
    let words: Option<Vec<String>> = tokens.iter().map(spelled).collect();
    let mut chunks: Vec<Chunk> = match words.filter(|words| words.concat() == text && !words.is_empty()) {
        Some(words) => words
            .into_iter()
            .zip(tokens)
            .map(|(word, token)| Chunk { token_logprobs: vec![token], ..Chunk::text(word) })
            .collect(),
        None => text.split_inclusive(' ').map(Chunk::text).collect(),
    };
    chunks.push(response.into());
    chunks
}
