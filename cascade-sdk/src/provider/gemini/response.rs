//! From the JSON of an answer to a response.

use crate::money::Usage;
use crate::provider::http::HttpResponse;
use crate::provider::wire::{self, Fault, word};
use crate::provider::{FinishReason, ProviderError, Response, TokenLogprob};
use crate::request::{Bound, ToolCall};
use cascade_sdk_core::config::Api;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Value>,
    usage_metadata: Option<WireUsage>,
    model_version: Option<String>,
    response_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
    logprobs_result: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    thought_signature: Option<String>,
    function_call: Option<FunctionCall>,
}

#[derive(Deserialize)]
struct FunctionCall {
    id: Option<String>,
    name: String,
    args: Option<Value>,
}

/// Two lists of one entry a token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logprobs {
    #[serde(default)]
    chosen_candidates: Vec<Token>,
    #[serde(default)]
    top_candidates: Vec<Alternatives>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    #[serde(default)]
    token: String,
    log_probability: Option<f64>,
}

#[derive(Deserialize)]
struct Alternatives {
    #[serde(default)]
    candidates: Vec<Token>,
}

/// Tokens. Other than in our [`Usage`], hidden reasoning is no part of the candidates' tokens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the format")]
struct WireUsage {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
}

impl WireUsage {
    fn usage(self) -> Usage {
        let thoughts = self.thoughts_token_count.unwrap_or(0);
        Usage {
            input_tokens: self
                .prompt_token_count
                .unwrap_or(0)
                .saturating_add(self.tool_use_prompt_token_count.unwrap_or(0)),
            cached_input_tokens: self.cached_content_token_count.unwrap_or(0),
            cache_write_tokens: 0,
            output_tokens: self.candidates_token_count.unwrap_or(0).saturating_add(thoughts),
            reasoning_tokens: thoughts,
        }
    }
}

/// What a server's answer says.
pub(super) fn read(answer: &HttpResponse) -> Result<Response, ProviderError> {
    if answer.status >= 300 {
        return Err(status_error(answer));
    }
    let read: Answer = wire::read(answer, "a generateContent answer")?;
    if read.candidates.is_empty() && !read.is_blocked() {
        return Err(wire::bad_body(answer.status, "holds no candidate"));
    }
    Ok(respond(read, 0).0)
}

impl Answer {
    /// Whether a filter refused the prompt.
    fn is_blocked(&self) -> bool {
        self.prompt_feedback.as_ref().is_some_and(|feedback| feedback.get("blockReason").is_some())
    }
}

/// The response, and whether the model said why it stopped. `earlier` counts the tool calls in earlier pieces.
pub(super) fn respond(read: Answer, earlier: usize) -> (Response, bool) {
    let blocked = read.is_blocked();
    let mut response = Response {
        usage: read.usage_metadata.map(WireUsage::usage),
        served_model: read.model_version,
        ..Response::default()
    };
    let Some(candidate) = read.candidates.into_iter().next() else {
        if blocked {
            response.finish = FinishReason::Refused;
        }
        return (response, blocked);
    };
    let id = read.response_id.unwrap_or_default();
    for part in candidate.content.map_or_else(Vec::new, |content| content.parts) {
        take_part(&mut response, part, &id, earlier);
    }
    let reason = candidate.finish_reason;
    response.finish = finish(reason.as_deref(), !response.tool_calls.is_empty());
    response.token_logprobs = candidate.logprobs_result.map(tokens);
    (response, reason.is_some())
}

fn take_part(response: &mut Response, part: Part, id: &str, earlier: usize) {
    let Part { text, thought, thought_signature: signature, function_call } = part;
    let bind = |data: Value| Bound::new(Api::Gemini.name(), data);
    if let Some(call) = function_call {
        // Results are matched by id, and only newer models give one.
        let id = call.id.unwrap_or_else(|| format!("{id}-{}", earlier + response.tool_calls.len()));
        let mut taken = ToolCall::new(id, call.name, call.args.unwrap_or_else(|| json!({})));
        taken.bound = signature.map(|signature| bind(json!(signature)));
        response.tool_calls.push(taken);
    } else if thought {
        // A summary of the reasoning, which is neither answer nor history.
    } else {
        response.text.push_str(&text.unwrap_or_default());
        if let Some(signature) = signature {
            response.bound.push(bind(json!({ "text": "", "thoughtSignature": signature })));
        }
    }
}

fn finish(reason: Option<&str>, calls: bool) -> FinishReason {
    match reason {
        None | Some("STOP") if calls => FinishReason::ToolCalls,
        None | Some("STOP" | "FINISH_REASON_UNSPECIFIED") => FinishReason::Stop,
        Some("MAX_TOKENS") => FinishReason::Length,
        Some("SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY") => {
            FinishReason::Refused
        }
        Some(other) => FinishReason::Other(word(other)),
    }
}

fn tokens(logprobs: Logprobs) -> Vec<TokenLogprob> {
    let mut alternatives = logprobs.top_candidates.into_iter();
    let known = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let chosen = logprobs.chosen_candidates.into_iter().map(|token| TokenLogprob {
        bytes: Some(token.token.into_bytes().into_boxed_slice()),
        // A missing number must not look like certainty.
        logprob: known(token.log_probability),
        alternatives: alternatives.next().map_or_else(Vec::new, |top| {
            top.candidates.into_iter().map(|top| known(top.log_probability)).collect()
        }),
    });
    chosen.filter(|token| !token.ends_sequence()).collect()
}

fn status_error(answer: &HttpResponse) -> ProviderError {
    let body = wire::loose_json(answer);
    // Some paths answer with a list of one error.
    let error = body.get("error").or_else(|| body.get(0)?.get("error")).unwrap_or(&Value::Null);
    let mut fault = fault(error, answer.status);
    fault.retry_after = answer.retry_after.or(fault.retry_after);
    fault.into_error()
}

/// An error object, in a body or in a stream.
pub(super) fn fault(error: &Value, status: u16) -> Fault<'_> {
    let detail = error.get("message").and_then(Value::as_str);
    let details = || error.get("details").and_then(Value::as_array).into_iter().flatten();
    let text = |key: &'static str| details().find_map(move |entry| entry.get(key)?.as_str());
    Fault {
        status,
        name: text("reason").or_else(|| error.get("status")?.as_str()).map(word),
        // The only sign of it is the text.
        too_long: status == 400
            && detail.is_some_and(|text| text.contains("token count") && text.contains("exceeds")),
        bad_key: status == 400 && text("reason") == Some("API_KEY_INVALID"),
        retry_after: text("retryDelay").and_then(seconds),
        detail,
        ..Fault::default()
    }
}

/// A length of time such as `41s` or `0.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}
