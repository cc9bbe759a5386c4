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
        let input = call.most_input(&setup.tier, 0).unwrap_or(0);
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

/// The part of a reported cost that the limits of request and tier rule out: the provider counts more output than was asked for, or
/// more input than the text has bytes or than the tier's `max_input_tokens`. What is only estimated is no report.
pub(super) fn excess(bill: &Bill, setup: &TierSetup, call: &ModelCall<'_>) -> Usd {
    let reported = bill.cost.saturating_sub(bill.estimated);
    let Some(most) = call.most_allowed(&setup.tier).ok().filter(|most| reported > *most) else {
        return Usd::ZERO;
    };
    tracing::warn!(
        target: "cascade_sdk",
        tier = %setup.tier.name,
        most_usd = %most,
        cost_usd = %reported,
        input_tokens = bill.usage.map(|usage| usage.input_tokens),
        max_input_tokens = setup.tier.max_input_tokens,
        "the provider reports more usage than the limits of request and tier allow"
    );
    reported.saturating_sub(most)
}
