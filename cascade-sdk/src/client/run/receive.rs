//! One attempt: a call goes out, and its answer comes in whole or piece by piece.

use super::outlet::Outlet;
use crate::client::route::TierSetup;
use crate::provider::{ModelCall, Partial, ProviderError, ProviderErrorKind, Response};
use std::time::Duration;

/// A provider that keeps neither to the time of its call nor reports its overrun is cut off this much later.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// How an answer is taken in.
#[derive(Clone, Copy)]
pub(super) enum Intake<'a> {
    /// Whole, and kept back until the policy has judged it.
    Whole,
    /// Shown while it arrives: the policy keeps it whatever it is.
    Shown(&'a Outlet),
}

/// What came of an attempt.
pub(super) struct Received {
    pub(super) result: Result<Response, ProviderError>,
    /// Whether any of it was shown, so that it cannot be taken back.
    pub(super) shown: bool,
}

/// Sends a call and takes its answer in, all within the call's time.
pub(super) async fn receive(setup: &TierSetup, call: &ModelCall<'_>, intake: Intake<'_>) -> Received {
    let mut shown = false;
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
        }
    };
    let limit = call.timeout.saturating_add(GRACE);
    let result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {:?}", call.timeout);
        Err(ProviderError::new(ProviderErrorKind::Timeout, message).after_sending())
    });
    Received { result, shown }
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
