//! What an attempt cost.

use super::receive::Refused;
use crate::client::route::TierSetup;
use crate::money::{Usage, Usd};
use crate::provider::{ModelCall, ProviderError, Response};
use std::time::Duration;

/// What one attempt cost.
pub(super) struct Bill {
    pub(super) cost: Usd,
    /// The part of `cost` that is an upper bound, because the provider did not say.
    pub(super) estimated: Usd,
    pub(super) usage: Option<Usage>,
    pub(super) latency: Option<Duration>,
}

/// The bill of an attempt, from what the provider says, else from the most that it can have been. Of an answer that was given
/// up the tokens that arrived are charged.
pub(super) fn bill(
    setup: &TierSetup,
    call: &ModelCall<'_>,
    result: &Result<Response, ProviderError>,
    refused: Option<Refused>,
) -> Bill {
    let price = &setup.tier.price;
    // A price times a count beyond all bounds is charged as the largest amount there is.
    let known = |cost, usage, latency| Bill { cost, estimated: Usd::ZERO, usage, latency };
    let guess = |output: u64, latency| {
        let limit = call.max_output_tokens;
        let output = match refused.and_then(|refused| refused.given_up_after) {
            // Counted by their bytes, so they may seem to be more than the limit lets through.
            Some(tokens) => tokens.min(limit.unwrap_or(u64::MAX)),
            None => limit.unwrap_or(output),
        };
        let input = call.input_bound().or(setup.tier.max_input_tokens).unwrap_or(0);
        let cost = price.worst_case(input, output).unwrap_or(Usd::MAX);
        Bill { cost, estimated: cost, usage: None, latency }
    };
    match result {
        Ok(response) => match (response.cost, response.usage) {
            (Some(cost), usage) => known(cost, usage, response.latency),
            (None, Some(usage)) => {
                known(price.cost(&usage).unwrap_or(Usd::MAX), Some(usage), response.latency)
            }
            // A token has at least one byte.
            (None, None) => guess(u64::try_from(response.text.len()).unwrap_or(u64::MAX), response.latency),
        },
        Err(error) => match error.cost() {
            Some(cost) => known(cost, None, error.latency),
            None if error.may_have_been_charged() => guess(0, error.latency),
            None => known(Usd::ZERO, None, error.latency),
        },
    }
}

/// The part of a cost that the limits of the request rule out: the provider counts more than was asked for.
pub(super) fn excess(cost: Usd, worst: Usd, tier: &str) -> Usd {
    if cost <= worst {
        return Usd::ZERO;
    }
    tracing::warn!(
        target: "cascade_sdk",
        tier,
        worst_case_usd = %worst,
        cost_usd = %cost,
        "the provider reports more usage than the request allows"
    );
    cost.saturating_sub(worst)
}
