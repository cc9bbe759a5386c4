//! From what a provider returned to a result of the log.

use super::prompts::Prompt;
use super::run::{Job, Lane};
use cascade_sdk::Failure;
use cascade_sdk::money::{Price, Usage, Usd};
use cascade_sdk::provider::{FinishReason, ProviderError, Response, TokenLogprob};
use cascade_sdk_core::log::{RawJson, ResultRecord};
use serde_json::{Value, json};
use std::time::Duration;

/// What an answered call cost, and its result, graded.
///
/// # Errors
/// In words, if the cost of the call cannot be known.
pub(crate) fn of_response(
    lane: &Lane,
    job: &Job,
    asked: &Prompt,
    response: &Response,
    elapsed: Duration,
) -> Result<(Usd, ResultRecord<'static>), String> {
    let cost = cost(&lane.tier.price, response)?;
    let mut result = begin(lane, asked, elapsed, cost);
    if let Some(latency) = response.latency {
        result.latency_ms = Some(milliseconds(latency));
    }
    if let Some(usage) = response.usage {
        let unless_zero = |tokens: u64| (tokens > 0).then_some(tokens);
        result.input_tokens = Some(usage.input_tokens);
        result.output_tokens = Some(usage.output_tokens);
        result.cached_input_tokens = unless_zero(usage.cached_input_tokens);
        result.cache_write_tokens = unless_zero(usage.cache_write_tokens);
        result.reasoning_tokens = unless_zero(usage.reasoning_tokens);
    }
    result.served_model = response.served_model.clone().map(Into::into);
    result.finish = response.finish.log_word().map(|word| word.to_owned().into());
    result.output = Some(response.text.clone().into());
    if let Some(tokens) = &response.token_logprobs {
        result.token_logprobs = job.keep_tokens.record(tokens);
    }
    let answer = match response.finish {
        FinishReason::Refused => Err(Failure::Refused),
        _ => job.schema.read_text(&response.text).map_err(Failure::Answer),
    };
    match answer {
        Ok(answer) => {
            match asked.grader.grade(&answer) {
                Some(quality) => result.quality = Some(quality),
                None if asked.grader.is_external() => wait_for_grade(&mut result),
                None => {
                    // A verdict that cannot be read is no verdict.
                    fail(&mut result, &Failure::Refused);
                    return Ok((cost, result));
                }
            }
            let signals = cascade_sdk::signals(response, &job.schema);
            result.signals = signals.into_iter().map(|(name, value)| (name.into(), Some(value))).collect();
            let costs = response.signal_costs.iter();
            result.signal_cost_usd = costs.map(|(name, cost)| (name.clone().into(), Some(*cost))).collect();
        }
        Err(failure) => fail(&mut result, &failure),
    }
    Ok((cost, result))
}

/// The result of a tier that ran and failed: it counts with quality 0, no signals, and what it may have cost.
pub(crate) fn of_failure(
    lane: &Lane,
    asked: &Prompt,
    error: &ProviderError,
    cost: Usd,
    elapsed: Duration,
) -> ResultRecord<'static> {
    let mut result = begin(lane, asked, elapsed, cost);
    fail(&mut result, &Failure::Call(error.clone()));
    result
}

/// Stands in `graded_by` until somebody outside has graded the answer. Such results stay in the journal.
const PENDING: &str = "pending";

/// Marks an answer as one that nobody has graded yet.
pub(crate) fn wait_for_grade(result: &mut ResultRecord<'static>) {
    result.quality = Some(0.0);
    result.graded_by = Some(PENDING.into());
}

/// True for an answer that nobody has graded yet.
pub(crate) fn waits_for_grade(result: &ResultRecord<'_>) -> bool {
    result.graded_by.as_deref() == Some(PENDING) && result.error.is_none()
}

/// A call that ran and failed counts, with quality 0 and without signals.
fn fail(result: &mut ResultRecord<'static>, failure: &Failure) {
    result.quality = Some(0.0);
    result.error = Some(failure.log_word().into());
}

#[expect(clippy::field_reassign_with_default, reason = "the record is non-exhaustive: no struct expression")]
fn begin(lane: &Lane, asked: &Prompt, elapsed: Duration, cost: Usd) -> ResultRecord<'static> {
    let mut result = ResultRecord::default();
    result.cost_usd = Some(cost);
    result.latency_ms = Some(milliseconds(elapsed));
    result.graded_by = Some(asked.graded_by.into());
    result.request_hash = Some(lane.request.clone().into());
    result
}

pub(crate) fn cost(price: &Price, response: &Response) -> Result<Usd, String> {
    if let Some(cost) = response.cost {
        return Ok(cost);
    }
    match response.usage {
        Some(usage) => price.cost(&usage).map_err(|error| error.to_string()),
        // A server without token counts is of use only where tokens are free.
        None if price.cost(&Usage {
            input_tokens: 1_000_000,
            output_tokens: 1_000_000,
            ..Usage::default()
        }) == Ok(price.per_request) =>
        {
            Ok(price.per_request)
        }
        None => {
            Err("the server reports no token counts (`usage`), so nobody can say what a call costs".into())
        }
    }
}

/// Tenths of milliseconds are as exact as a wall clock over a network is.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// What of an answer's tokens goes into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepTokens {
    No,
    /// The log-probability of each.
    LogProbabilities,
    /// All that a signal is made of, so that the answer can be watched as it arrived.
    Whole,
}

impl KeepTokens {
    fn record(self, tokens: &[TokenLogprob]) -> Option<RawJson<'static>> {
        let entries: Vec<Value> = match self {
            Self::No => return None,
            Self::LogProbabilities => tokens.iter().map(|token| compact(token.logprob)).collect(),
            Self::Whole => tokens.iter().map(whole).collect(),
        };
        RawJson::of(&entries).ok()
    }
}

/// Four decimals are what servers compute in; `null` where the server gave no number.
fn compact(logprob: f64) -> Value {
    let value = (logprob * 10_000.0).round() / 10_000.0;
    if value.is_finite() { json!(value) } else { Value::Null }
}

/// A number where that says it all.
fn whole(token: &TokenLogprob) -> Value {
    let logprob = compact(token.logprob);
    if token.alternatives.is_empty() && token.most_tokens() == 1 {
        return logprob;
    }
    let mut entry = json!({ "logprob": logprob });
    // Bytes tell how many tokens a server merged into one entry.
    if let Some(bytes) = token.bytes.as_ref().filter(|_| token.most_tokens() > 1) {
        entry["bytes"] = json!(bytes);
    }
    let known: Vec<Value> = token.alternatives.iter().map(|other| compact(*other)).collect();
    // One that is not known is no number, and so the reader would refuse it.
    if !known.is_empty() && known.iter().all(Value::is_number) {
        entry["top_logprobs"] = Value::Array(known);
    }
    entry
}
