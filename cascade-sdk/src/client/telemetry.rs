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

/// The span of one call of a model; `signal` is the one that it is made for, if it is.
pub(super) fn span(route: &str, setup: &TierSetup, signal: Option<&str>) -> Span {
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
        "cascade.signal" = signal,
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
        count_call(&setup.tier.model, step.failure.as_ref(), step.latency, step.usage);
        let retries = |tier: &str, retries: usize| {
            metrics::counter!("cascade.retries", "route" => name(), "tier" => tier.to_owned())
                .increment(retries as u64);
        };
        retries(&setup.tier.name, step.retries.len());
        for call in &step.signal_calls {
            count_call(&call.model, call.failure.as_ref(), call.latency, call.usage);
            retries(&call.tier, call.retries.len());
        }
        for (signal, cost) in &step.signal_costs {
            metrics::histogram!("cascade.signal.cost", "route" => name(), "signal" => signal.clone())
                .record(cost.to_f64());
        }
        for (signal, failure) in &step.signal_failures {
            let error = failure.log_word();
            metrics::counter!(
                "cascade.signal.failures", "route" => name(), "signal" => signal.clone(), "error.type" => error
            )
            .increment(1);
        }
    }
}

/// Counts a call of a model.
#[cfg(feature = "metrics")]
fn count_call(
    model: &str,
    failure: Option<&crate::routed::Failure>,
    latency: Duration,
    usage: Option<Usage>,
) {
    let model = || model.to_owned();
    let error = failure.map_or("", crate::routed::Failure::log_word);
    metrics::histogram!(
        "gen_ai.client.operation.duration",
        "gen_ai.operation.name" => "chat", "gen_ai.request.model" => model(), "error.type" => error
    )
    .record(latency.as_secs_f64());
    let Some(usage) = usage else { return };
    for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
        metrics::histogram!(
            "gen_ai.client.token.usage",
            "gen_ai.operation.name" => "chat", "gen_ai.request.model" => model(), "gen_ai.token.type" => kind
        )
        .record(tokens as f64);
    }
}

/// Without the feature nothing is counted.
#[cfg(not(feature = "metrics"))]
pub(super) fn count(_: &Route, _: &[Step<usize>], _: &'static str, _: Usd, _: Duration) {}
