//! One attempt: a call goes out, and its answer comes in whole or piece by piece.

use super::outlet::Outlet;
use crate::client::route::TierSetup;
use crate::provider::{ModelCall, Partial, ProviderError, ProviderErrorKind, Response, TokenLogprob};
use cascade_sdk_core::decide::Why;
use cascade_sdk_core::early::Watch;
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
    /// Piece by piece, kept back, and given up once the policy cannot keep it any more.
    Watched(Watch<'a>),
}

/// What came of an attempt.
pub(super) struct Received {
    pub(super) result: Result<Response, ProviderError>,
    /// Whether any of it was shown, so that it cannot be taken back.
    pub(super) shown: bool,
    /// Set if the answer was given up; then `result` is what there was of it.
    pub(super) given_up: Option<GivenUp>,
}

/// An answer that was not taken in to its end.
#[derive(Clone, Copy)]
pub(super) struct GivenUp {
    pub(super) why: Why,
    /// The tokens that had arrived.
    pub(super) tokens: u64,
}

/// Sends a call and takes its answer in, all within the call's time.
pub(super) async fn receive(setup: &TierSetup, call: &ModelCall<'_>, intake: Intake<'_>) -> Received {
    let (mut shown, mut given_up) = (false, None);
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
            Intake::Watched(watch) => observe(setup, call, watch, &mut given_up).await,
        }
    };
    let limit = call.timeout.saturating_add(GRACE);
    let result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {:?}", call.timeout);
        Err(ProviderError::new(ProviderErrorKind::Timeout, message).after_sending())
    });
    Received { result, shown, given_up }
}

async fn observe(
    setup: &TierSetup,
    call: &ModelCall<'_>,
    mut watch: Watch<'_>,
    given_up: &mut Option<GivenUp>,
) -> Result<Response, ProviderError> {
    let mut stream = setup.provider.stream(call).await?;
    let mut partial = Partial::default();
    let mut tokens = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(_) if partial.is_whole() => break,
            Err(error) => return Err(error),
        };
        tokens += chunk.token_logprobs.iter().map(TokenLogprob::most_tokens).sum::<u64>();
        let mut why = None;
        for token in &chunk.token_logprobs {
            // The first reason is the one that a server of single tokens would have been given up for.
            why = why.or(watch.push(token));
        }
        for numbers in &chunk.token_numbers {
            tokens += u64::from(numbers.tokens);
            why = why.or(watch.push_numbers(numbers));
        }
        partial.push(chunk);
        // What is whole is paid for: its usage is worth waiting for.
        if let Some(why) = why.filter(|_| !partial.is_whole()) {
            *given_up = Some(GivenUp { why, tokens });
            return Ok(partial.into_cut());
        }
    }
    partial.finish()
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
