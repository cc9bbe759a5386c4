//! What a tier did, as a result of an eval log without its quality.

use super::route::Route;
use crate::money::Usd;
use crate::provider::FinishReason;
use crate::routed::{Failure, Step};
use crate::signal::SignalCall;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// The fields that a step of the path shares with an eval log.
#[derive(Serialize)]
pub(super) struct ResultRow<'a> {
    #[serde(serialize_with = "dollars")]
    cost_usd: Usd,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "dollars")]
    signal_cost_total_usd: Usd,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signal_cost_usd: BTreeMap<&'a str, f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signal_calls: Vec<SignalCallRow<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signal_errors: BTreeMap<&'a str, &'static str>,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "dollars")]
    estimated_usd: Usd,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "dollars")]
    excess_usd: Usd,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "none_or_zero")]
    cached_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "none_or_zero")]
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "none_or_zero")]
    reasoning_tokens: Option<u64>,
    latency_ms: f64,
    signals: &'a BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<&'a str>,
    request_hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retries: Vec<&'static str>,
}

impl<'a> ResultRow<'a> {
    pub(super) fn new(route: &'a Route, step: &'a Step<usize>, text: Option<&'a str>) -> Self {
        let usage = step.usage;
        Self {
            cost_usd: step.cost,
            signal_cost_total_usd: step.signal_cost,
            signal_cost_usd: step.signal_costs.iter().map(|(name, cost)| (&**name, cost.to_f64())).collect(),
            signal_calls: step.signal_calls.iter().map(SignalCallRow::new).collect(),
            signal_errors: step
                .signal_failures
                .iter()
                .map(|(name, failure)| (&**name, failure.log_word()))
                .collect(),
            estimated_usd: step.estimated,
            excess_usd: step.excess,
            input_tokens: usage.map(|usage| usage.input_tokens),
            cached_input_tokens: usage.map(|usage| usage.cached_input_tokens),
            cache_write_tokens: usage.map(|usage| usage.cache_write_tokens),
            output_tokens: usage.map(|usage| usage.output_tokens),
            reasoning_tokens: usage.map(|usage| usage.reasoning_tokens),
            latency_ms: milliseconds(step.latency),
            signals: &step.signals,
            served_model: step.served_model.as_deref(),
            finish: step.finish.as_ref().and_then(FinishReason::log_word),
            request_hash: route.request_hashes.get(step.tier).map_or("", String::as_str),
            error: step.failure.as_ref().map(Failure::log_word),
            output: text,
            retries: step.retries.iter().map(Failure::log_word).collect(),
        }
    }
}

/// A call of a model that a signal took.
#[derive(Serialize)]
struct SignalCallRow<'a> {
    signal: &'a str,
    tier: &'a str,
    model: &'a str,
    #[serde(serialize_with = "dollars")]
    cost_usd: Usd,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "dollars")]
    estimated_usd: Usd,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "dollars")]
    excess_usd: Usd,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    served_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retries: Vec<&'static str>,
}

impl<'a> SignalCallRow<'a> {
    fn new(call: &'a SignalCall) -> Self {
        Self {
            signal: &call.signal,
            tier: &call.tier,
            model: &call.model,
            cost_usd: call.cost,
            estimated_usd: call.estimated,
            excess_usd: call.excess,
            input_tokens: call.usage.map(|usage| usage.input_tokens),
            output_tokens: call.usage.map(|usage| usage.output_tokens),
            latency_ms: milliseconds(call.latency),
            served_model: call.served_model.as_deref(),
            error: call.failure.as_ref().map(Failure::log_word),
            retries: call.retries.iter().map(Failure::log_word).collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference to the field")]
pub(super) fn dollars<S: Serializer>(amount: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    amount.to_f64().serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference to the field")]
pub(super) fn is_zero(amount: &Usd) -> bool {
    *amount == Usd::ZERO
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn none_or_zero(count: &Option<u64>) -> bool {
    count.unwrap_or(0) == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference to the field")]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
