//! Answers that arrive in pieces.

use super::{FinishReason, ProviderError, ProviderErrorKind, Response, TokenLogprob};
use crate::money::{Usage, Usd};
use crate::request::{Bound, ToolCall};
use cascade_sdk_core::signal::TokenNumbers;
use futures_core::Stream;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A piece of an answer, as [`Provider::stream`](super::Provider::stream) gives it.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Chunk {
    /// What comes next of the text; may be empty.
    pub text: String,
    /// Tools that the model asks to be called; each whole.
    pub tool_calls: Vec<ToolCall>,
    /// Parts of the answer that the api wants back with the next turn.
    pub bound: Vec<Bound>,
    /// Log-probabilities of the tokens of this piece, end-of-sequence entries left out; empty where the server returns
    /// none.
    pub token_logprobs: Vec<TokenLogprob>,
    /// The same worked out already, where that is all that is known: what `replay` has of its log.
    pub(crate) token_numbers: Vec<TokenNumbers>,
    /// Why the model stopped. An answer is whole once a piece had it, and not before.
    pub finish: Option<FinishReason>,
    /// What was used so far; the last one counts.
    pub usage: Option<Usage>,
    /// The model that answers, as the server names it.
    pub served_model: Option<String>,
    /// Signals that the provider itself knows, by name; larger means more confident.
    pub signals: BTreeMap<String, f64>,
    /// What obtaining those signals cost beyond the call, by name.
    pub signal_costs: BTreeMap<String, Usd>,
    /// How long the call took, where the provider knows better than the clock; the last one counts.
    pub latency: Option<Duration>,
    /// What the call cost so far in US dollars, where the provider knows better than usage × price; the last one counts.
    pub cost: Option<Usd>,
}

impl Chunk {
    /// A piece of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The piece that makes the answer whole.
    pub fn end(finish: FinishReason) -> Self {
        Self { finish: Some(finish), ..Self::default() }
    }
}

impl From<Response> for Chunk {
    fn from(response: Response) -> Self {
        Self {
            text: response.text,
            tool_calls: response.tool_calls,
            bound: response.bound,
            token_logprobs: response.token_logprobs.unwrap_or_default(),
            token_numbers: Vec::new(),
            finish: Some(response.finish),
            usage: response.usage,
            served_model: response.served_model,
            signals: response.signals,
            signal_costs: response.signal_costs,
            latency: response.latency,
            cost: response.cost,
        }
    }
}

/// The pieces of one answer, in order. Dropping it gives the call up.
pub struct ResponseStream(Pin<Box<dyn Stream<Item = Result<Chunk, ProviderError>> + Send>>);

impl ResponseStream {
    /// A stream of pieces. After an error nothing follows.
    pub fn new(pieces: impl Stream<Item = Result<Chunk, ProviderError>> + Send + 'static) -> Self {
        Self(Box::pin(pieces))
    }

    /// An answer that came in one piece.
    pub fn whole(response: Response) -> Self {
        Self::of_pieces([Ok(response.into())])
    }

    /// Pieces that are all there.
    pub(crate) fn of_pieces(pieces: impl IntoIterator<Item = Result<Chunk, ProviderError>>) -> Self {
        Self::new(Pieces(pieces.into_iter().collect()))
    }

    /// The whole answer, once it is there.
    ///
    /// # Errors
    /// [`ProviderError`] if the stream fails, or ends before the answer is whole.
    pub async fn into_response(mut self) -> Result<Response, ProviderError> {
        let mut partial = Partial::default();
        while let Some(chunk) = self.next().await {
            match chunk {
                Ok(chunk) => partial.push(chunk),
                // All that can be missing is the usage.
                Err(_) if partial.is_whole() => break,
                Err(error) => return Err(error),
            }
        }
        partial.finish()
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Chunk, ProviderError>> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }
}

impl Stream for ResponseStream {
    type Item = Result<Chunk, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

struct Pieces(VecDeque<Result<Chunk, ProviderError>>);

impl Stream for Pieces {
    type Item = Result<Chunk, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// An answer that is put together from its pieces.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    response: Response,
    finished: bool,
}

impl Partial {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        let response = &mut self.response;
        response.text.push_str(&chunk.text);
        response.tool_calls.extend(chunk.tool_calls);
        response.bound.extend(chunk.bound);
        if !chunk.token_logprobs.is_empty() {
            response.token_logprobs.get_or_insert_default().extend(chunk.token_logprobs);
        }
        if let Some(finish) = chunk.finish {
            response.finish = finish;
            self.finished = true;
        }
        response.usage = chunk.usage.or(response.usage);
        response.cost = chunk.cost.or(response.cost);
        response.latency = chunk.latency.or(response.latency);
        response.signals.extend(chunk.signals);
        response.signal_costs.extend(chunk.signal_costs);
        if chunk.served_model.is_some() {
            response.served_model = chunk.served_model;
        }
    }

    /// True once the model said that it stopped: what follows can only be usage.
    pub(crate) fn is_whole(&self) -> bool {
        self.finished
    }

    /// What has arrived of an answer that is not wanted to its end.
    pub(crate) fn into_cut(self) -> Response {
        self.response
    }

    /// The answer, if it is whole.
    pub(crate) fn finish(mut self) -> Result<Response, ProviderError> {
        if !self.finished {
            return Err(ended_early());
        }
        // Log-probabilities of a part of the answer would pass for those of the whole.
        let covered = self.response.token_logprobs.as_ref().is_none_or(|tokens| {
            tokens
                .iter()
                .map(|token| token.bytes.as_ref().map_or(usize::MAX, |bytes| bytes.len()))
                .fold(0, usize::saturating_add)
                >= self.response.text.len()
        });
        if !covered {
            self.response.token_logprobs = None;
        }
        Ok(self.response)
    }
}

/// A stream that ended without a reason to stop.
pub(crate) fn ended_early() -> ProviderError {
    ProviderError::new(ProviderErrorKind::Connection, "the stream ended before the answer did")
        .after_sending()
}

/// Answers do not belong in logs: `Debug` shows their length only.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("text", &format_args!("{} bytes", self.text.len()))
            .field("token_logprobs", &self.token_logprobs.len())
            .field("finish", &self.finish)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> TokenLogprob {
        TokenLogprob { bytes: Some(text.as_bytes().into()), logprob: -0.5, ..TokenLogprob::default() }
    }

    #[test]
    fn pieces_make_an_answer_once_the_model_said_why_it_stopped() {
        let mut partial = Partial::default();
        partial.push(Chunk { token_logprobs: vec![token("ab")], ..Chunk::text("ab") });
        assert!(!partial.is_whole());
        assert!(Partial { response: partial.response.clone(), finished: false }.finish().is_err());
        partial.push(Chunk { token_logprobs: vec![token("c")], ..Chunk::text("c") });
        partial.push(Chunk::end(FinishReason::Length));
        let usage = Usage { output_tokens: 2, ..Usage::default() };
        partial.push(Chunk { usage: Some(usage), ..Chunk::default() });
        let response = partial.finish().unwrap();
        assert_eq!((response.text.as_str(), &response.finish), ("abc", &FinishReason::Length));
        assert_eq!(
            (response.token_logprobs.map(|tokens| tokens.len()), response.usage),
            (Some(2), Some(usage))
        );
    }

    #[test]
    fn log_probabilities_of_a_part_are_no_signal_of_the_whole() {
        let mut partial = Partial::default();
        partial.push(Chunk { token_logprobs: vec![token("ab")], ..Chunk::text("ab") });
        partial.push(Chunk { finish: Some(FinishReason::Stop), ..Chunk::text("c") });
        assert_eq!(partial.finish().unwrap().token_logprobs, None);
    }
}
