//! What is told of calls to whoever observes the application: a `tracing` span for each call, and with the feature `metrics`
//! counters and histograms. Names are those of OpenTelemetry's conventions for generative AI where there are some
//! (docs/observability.md).

use super::route::{Route, TierSetup};
use crate::money::{Usage, Usd};
use crate::provider::{ModelCall, ProviderError, Response};
use crate::routed::Step;
use crate::session::Session;
use cascade_sdk_core::config::Api;
use std::time::Duration;
use tracing::Span;
use tracing::field::{Empty, display};

/// What the conventions call the provider of a wire format; `None` for what they do not know, which goes by its name in the
/// configuration.
pub(super) fn provider_name(api: Api) -> Option<&'static str> {
    match api {
        Api::OpenAi => Some("openai"),
        Api::Anthropic => Some("anthropic"),
        Api::Gemini => Some("gcp.gemini"),
        _ => None,
    }
}

/// The span of one call of a model; `signal` is the one that it is made for, if it is.
pub(super) fn span(route: &Route, setup: &TierSetup, call: &ModelCall<'_>, signal: Option<&str>) -> Span {
    let tier = &setup.tier;
    tracing::info_span!(
        target: "cascade_sdk",
        "chat",
        "otel.name" = display(format_args!("chat {}", tier.model)),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "gen_ai.operation.name" = "chat",
        "gen_ai.provider.name" = setup.provider_name.as_str(),
        "gen_ai.conversation.id" = call.request.session().map(Session::id),
        "gen_ai.output.type" = if call.schema.is_text() { "text" } else { "json" },
        "gen_ai.request.model" = tier.model.as_str(),
        "gen_ai.request.max_tokens" = tier.max_output_tokens,
        "gen_ai.request.temperature" = call.temperature,
        "gen_ai.request.seed" = call.seed,
        "gen_ai.response.model" = Empty,
        "gen_ai.usage.input_tokens" = Empty,
        "gen_ai.usage.cache_read.input_tokens" = Empty,
        "gen_ai.usage.cache_creation.input_tokens" = Empty,
        "gen_ai.usage.output_tokens" = Empty,
        "error.type" = Empty,
        "cascade.route" = route.name.as_str(),
        "cascade.tier" = tier.name.as_str(),
        "cascade.provider" = tier.provider.as_str(),
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
            span.record("otel.status_code", "ERROR");
        }
    }
    if let Some(usage) = usage {
        span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        span.record("gen_ai.usage.output_tokens", usage.output_tokens);
        for (name, tokens) in [
            ("gen_ai.usage.cache_read.input_tokens", usage.cached_input_tokens),
            ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens),
        ] {
            if tokens > 0 {
                span.record(name, tokens);
            }
        }
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
        count_call(setup, step.failure.as_ref(), step.latency, step.usage, step.served_model.as_deref());
        let retries = |tier: &str, retries: usize| {
            metrics::counter!("cascade.retries", "route" => name(), "tier" => tier.to_owned())
                .increment(retries as u64);
        };
        retries(&setup.tier.name, step.retries.len());
        for call in &step.signal_calls {
            let asked = route.tiers.iter().chain(&route.judges).find(|setup| setup.tier.name == call.tier);
            let Some(asked) = asked else { continue };
            let served = call.served_model.as_deref();
            count_call(asked, call.failure.as_ref(), call.latency, call.usage, served);
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
    setup: &TierSetup,
    failure: Option<&crate::routed::Failure>,
    latency: Duration,
    usage: Option<Usage>,
    served_model: Option<&str>,
) {
    let mut labels = vec![
        metrics::Label::from_static_parts("gen_ai.operation.name", "chat"),
        metrics::Label::new("gen_ai.provider.name", setup.provider_name.clone()),
        metrics::Label::new("gen_ai.request.model", setup.tier.model.clone()),
    ];
    labels.extend(served_model.map(|model| metrics::Label::new("gen_ai.response.model", model.to_owned())));
    if let Some(usage) = usage {
        for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            let mut labels = labels.clone();
            labels.push(metrics::Label::from_static_parts("gen_ai.token.type", kind));
            metrics::histogram!("gen_ai.client.token.usage", labels).record(tokens as f64);
        }
    }
    // Absent where the call succeeded, as the conventions have it.
    labels.extend(failure.map(|failure| metrics::Label::new("error.type", failure.log_word())));
    metrics::histogram!("gen_ai.client.operation.duration", labels).record(latency.as_secs_f64());
}

/// Without the feature nothing is counted.
#[cfg(not(feature = "metrics"))]
pub(super) fn count(_: &Route, _: &[Step<usize>], _: &'static str, _: Usd, _: Duration) {}
