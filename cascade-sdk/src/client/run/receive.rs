//! One attempt: a call goes out, and its answer comes in whole or piece by piece.

use super::outlet::Outlet;
use super::room::Room;
use crate::client::route::TierSetup;
use crate::provider::{Chunk, ModelCall, Partial, ProviderError, ProviderErrorKind, Response, TokenLogprob};
use cascade_sdk_core::decide::Why;
use cascade_sdk_core::early::Watch;
use cascade_sdk_core::signal::ValueTokens;
use std::time::Duration;

/// A provider that keeps neither to the time of its call nor reports its overrun is cut off this much later.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// How an answer is taken in.
#[derive(Clone)]
pub(super) enum Intake<'a> {
    /// Whole, and kept back until the policy has judged it.
    Whole,
    /// Shown while it arrives: the policy keeps it whatever it is.
    Shown(&'a Outlet),
    /// Piece by piece, and kept back while it is watched whether the policy can still keep it.
    Watched(Box<Watched<'a>>),
}

/// How an answer is watched.
#[derive(Clone)]
pub(super) struct Watched<'a> {
    pub(super) watch: Watch<'a>,
    /// Finds the tokens of a typed answer that count; of other answers all do.
    pub(super) value: Option<ValueTokens>,
    pub(super) once_refused: OnceRefused<'a>,
}

/// What becomes of an answer that the policy cannot keep any more, while it arrives.
#[derive(Clone, Copy)]
pub(super) enum OnceRefused<'a> {
    /// It is given up.
    GiveUp,
    /// It is given up if there is room for the stage after it; else it is taken in, as if nobody had watched.
    GiveUpFor(&'a Room<'a>),
    /// It is taken in to its end, for a log of whole answers, and refused all the same.
    TakeIn,
}

/// What came of an attempt.
pub(super) struct Received {
    pub(super) result: Result<Response, ProviderError>,
    /// Whether any of it was shown, so that it cannot be taken back.
    pub(super) shown: bool,
    /// Set if the answer was refused while it arrived; then `result` is what was taken in of it.
    pub(super) refused: Option<Refused>,
}

/// An answer that was refused before its end.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) why: Why,
    /// The tokens that had arrived by the time that it was given up; `None` if it was taken in to its end all the same.
    pub(super) given_up_after: Option<u64>,
}

/// Sends a call and takes its answer in, all within the call's time.
pub(super) async fn receive(setup: &TierSetup, call: &ModelCall<'_>, intake: Intake<'_>) -> Received {
    let (mut shown, mut refused) = (false, None);
    let work = async {
        match intake {
            Intake::Whole => setup.provider.complete(call).await,
            Intake::Shown(outlet) if setup.capabilities.streaming => {
                show(setup, call, outlet, &mut shown).await
            }
            Intake::Shown(outlet) => {
                let response = setup.provider.complete(call).await?;
                shown = !response.text.is_empty();
                outlet.show(response.text.clone()).await;
                Ok(response)
            }
            // Seldom, and large: it must not make every call's future as large.
            Intake::Watched(watched) => Box::pin(observe(setup, call, watched, &mut refused)).await,
        }
    };
    let limit = call.timeout.saturating_add(GRACE);
    let result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {:?}", call.timeout);
        Err(ProviderError::new(ProviderErrorKind::Timeout, message).after_sending())
    });
    Received { result, shown, refused }
}

async fn observe(
    setup: &TierSetup,
    call: &ModelCall<'_>,
    watched: Box<Watched<'_>>,
    refused: &mut Option<Refused>,
) -> Result<Response, ProviderError> {
    let mut stream = setup.provider.stream(call).await?;
    let once_refused = watched.once_refused;
    let mut watched = Some(watched);
    let mut partial = Partial::default();
    let (mut tokens, mut why) = (0, None);
    while let Some(chunk) = stream.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(_) if partial.is_whole() => break,
            Err(error) => return Err(error),
        };
        tokens += chunk.token_logprobs.iter().map(TokenLogprob::most_tokens).sum::<u64>();
        tokens += chunk.token_numbers.iter().map(|numbers| u64::from(numbers.tokens)).sum::<u64>();
        let found = watched.as_mut().and_then(|watched| watched.look(&chunk));
        partial.push(chunk);
        // What is whole is paid for: its usage is worth waiting for.
        let Some(found) = found.filter(|_| !partial.is_whole()) else { continue };
        watched = None;
        let gives_up = match once_refused {
            OnceRefused::GiveUp => true,
            OnceRefused::GiveUpFor(room) => room.find().await,
            OnceRefused::TakeIn => {
                why = Some(found);
                false
            }
        };
        if gives_up {
            *refused = Some(Refused { why: found, given_up_after: Some(tokens) });
            return Ok(partial.into_cut());
        }
    }
    let response = partial.finish()?;
    *refused = why.map(|why| Refused { why, given_up_after: None });
    Ok(response)
}

impl Watched<'_> {
    /// Why the answer can be refused once this piece of it has arrived. The first reason is the one that a server of single tokens
    /// would have been given up for.
    fn look(&mut self, chunk: &Chunk) -> Option<Why> {
        let mut why = None;
        if let Some(value) = &mut self.value {
            value.push(&chunk.text, &chunk.token_logprobs);
            while let Some(token) = value.next_known() {
                why = why.or(self.watch.push(&token));
            }
        } else {
            for token in &chunk.token_logprobs {
                why = why.or(self.watch.push(token));
            }
        }
        for numbers in &chunk.token_numbers {
            why = why.or(self.watch.push_numbers(numbers));
        }
        why
    }
}

async fn show(
    setup: &TierSetup,
    call: &ModelCall<'_>,
    outlet: &Outlet,
    shown: &mut bool,
) -> Result<Response, ProviderError> {
    let mut stream = setup.provider.stream(call).await?;
    let mut partial = Partial::default();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => {
                *shown |= !chunk.text.is_empty();
                outlet.show(chunk.text.clone()).await;
                partial.push(chunk);
            }
            // All that can be missing is the usage.
            Err(_) if partial.is_whole() => break,
            Err(error) => return Err(error),
        }
    }
    partial.finish()
}
