//! What is told of calls to whoever observes the application: a `tracing` span for each call, and with the feature `metrics`
//! counters and histograms. Names are those of OpenTelemetry's conventions for generative AI where there are some
//! (docs/observability.md).

use super::route::{Route, TierSetup};
use crate::money::{Usage, Usd};
use crate::provider::{ProviderError, Response};
use crate::routed::Step;
use std::time::Duration;
use tracing::Span;
use tracing::field::{Empty, display};

/// The span of one call of a model.
pub(super) fn span(route: &str, setup: &TierSetup) -> Span {
    let tier = &setup.tier;
    tracing::info_span!(
        target: "cascade_sdk",
        "chat",
        "otel.kind" = "client",
        "gen_ai.operation.name" = "chat",
        "gen_ai.provider.name" = tier.provider.as_str(),
        "gen_ai.request.model" = tier.model.as_str(),
        "gen_ai.request.max_tokens" = tier.max_output_tokens,
        "gen_ai.response.model" = Empty,
        "gen_ai.usage.input_tokens" = Empty,
        "gen_ai.usage.output_tokens" = Empty,
        "error.type" = Empty,
        "cascade.route" = route,
        "cascade.tier" = tier.name.as_str(),
        "cascade.cost_usd" = Empty,
    )
}

/// Completes the span of a call.
pub(super) fn complete(
    span: &Span,
    result: &Result<Response, ProviderError>,
    usage: Option<Usage>,
    cost: Usd,
) {
    if span.is_disabled() {
        return;
    }
    match result {
        Ok(response) => {
            if let Some(model) = &response.served_model {
                span.record("gen_ai.response.model", model.as_str());
            }
        }
        Err(error) => {
            span.record("error.type", error.log_word());
        }
    }
    if let Some(usage) = usage {
        span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        span.record("gen_ai.usage.output_tokens", usage.output_tokens);
    }
    span.record("cascade.cost_usd", display(cost));
}

/// Counts a request that ended.
#[cfg(feature = "metrics")]
pub(super) fn count(
    route: &Route,
    path: &[Step<usize>],
    outcome: &'static str,
    cost: Usd,
    latency: Duration,
) {
    let name = || route.name.clone();
    metrics::counter!("cascade.requests", "route" => name(), "outcome" => outcome).increment(1);
    metrics::histogram!("cascade.request.duration", "route" => name()).record(latency.as_secs_f64());
    metrics::histogram!("cascade.request.cost", "route" => name()).record(cost.to_f64());
    for step in path {
        let Some(setup) = route.tiers.get(step.tier) else { continue };
        let (model, tier) = (|| setup.tier.model.clone(), || setup.tier.name.clone());
        let error = step.failure.as_ref().map_or("", crate::routed::Failure::log_word);
        metrics::histogram!(
            "gen_ai.client.operation.duration",
            "gen_ai.operation.name" => "chat", "gen_ai.request.model" => model(), "error.type" => error
        )
        .record(step.latency.as_secs_f64());
        if let Some(usage) = step.usage {
            for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
                metrics::histogram!(
                    "gen_ai.client.token.usage",
                    "gen_ai.operation.name" => "chat", "gen_ai.request.model" => model(), "gen_ai.token.type" => kind
                )
                .record(tokens as f64);
            }
        }
        let retries = step.retries.len() as u64;
        metrics::counter!("cascade.retries", "route" => name(), "tier" => tier()).increment(retries);
    }
}

/// Without the feature nothing is counted.
#[cfg(not(feature = "metrics"))]
pub(super) fn count(_: &Route, _: &[Step<usize>], _: &'static str, _: Usd, _: Duration) {}
