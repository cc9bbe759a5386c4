//! From the JSON of an answer to a response.

use crate::money::Usage;
use crate::provider::http::HttpResponse;
use crate::provider::wire::{self, Fault, word};
use crate::provider::{FinishReason, ProviderError, Response};
use crate::request::{Bound, ToolCall};
use cascade_sdk_core::config::Api;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Message {
    content: Vec<Value>,
    stop_reason: Option<String>,
    model: Option<String>,
    usage: Option<WireUsage>,
}

/// Tokens. Other than our [`Usage`], `input_tokens` leaves out what was read from or written to the cache.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl WireUsage {
    /// Takes over the counts that an event of a stream states.
    pub(super) fn update(&mut self, usage: &Value) {
        let later = Self::deserialize(usage).unwrap_or_default();
        let Self {
            input_tokens,
            cache_creation_input_tokens,
            cache_read_input_tokens,
            output_tokens,
            output_tokens_details,
        } = later;
        self.input_tokens = input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens = cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = output_tokens.or(self.output_tokens);
        self.output_tokens_details = output_tokens_details.or(self.output_tokens_details);
    }

    pub(super) fn usage(self) -> Usage {
        let cached = self.cache_read_input_tokens.unwrap_or(0);
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        Usage {
            input_tokens: self.input_tokens.unwrap_or(0).saturating_add(cached).saturating_add(written),
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: self.output_tokens.unwrap_or(0),
            reasoning_tokens: self.output_tokens_details.and_then(|d| d.thinking_tokens).unwrap_or(0),
        }
    }
}

/// What a server's answer says.
pub(super) fn read(answer: &HttpResponse) -> Result<Response, ProviderError> {
    if answer.status >= 300 {
        return Err(status_error(answer));
    }
    let message: Message = wire::read(answer, "a message")?;
    let mut response = Response {
        finish: finish(message.stop_reason.as_deref()),
        usage: message.usage.map(WireUsage::usage),
        served_model: message.model,
        ..Response::default()
    };
    for block in message.content {
        if !take_block(&mut response, block) {
            return Err(wire::bad_body(answer.status, "holds a block that is not one"));
        }
    }
    Ok(response)
}

/// Adds a block of content; false if it is none.
pub(super) fn take_block(response: &mut Response, mut block: Value) -> bool {
    match block.get("type").and_then(Value::as_str) {
        Some("text") => match block.get("text").and_then(Value::as_str) {
            Some(text) => response.text.push_str(text),
            None => return false,
        },
        Some("tool_use") => {
            let field = |key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
            let (Some(id), Some(name)) = (field("id"), field("name")) else { return false };
            response.tool_calls.push(ToolCall::new(id, name, block["input"].take()));
        }
        Some("thinking" | "redacted_thinking") => {
            response.bound.push(Bound::new(Api::Anthropic.name(), block));
        }
        // What the server did with tools of its own, which are never asked for.
        Some(_) => {}
        None => return false,
    }
    true
}

pub(super) fn finish(reason: Option<&str>) -> FinishReason {
    match reason {
        None | Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("refusal") => FinishReason::Refused,
        Some("tool_use") => FinishReason::ToolCalls,
        Some(other) => FinishReason::Other(word(other)),
    }
}

fn status_error(answer: &HttpResponse) -> ProviderError {
    let body = wire::loose_json(answer);
    let mut fault = fault(&body["error"], answer.status);
    fault.retry_after = answer.retry_after;
    fault.into_error()
}

/// An error object, in a body or in a stream.
pub(super) fn fault(error: &Value, status: u16) -> Fault<'_> {
    let detail = error.get("message").and_then(Value::as_str);
    Fault {
        status,
        name: error.get("type").and_then(Value::as_str).map(word),
        // The only sign of it is the text.
        too_long: status == 400 && detail.is_some_and(|text| text.starts_with("prompt is too long")),
        detail,
        ..Fault::default()
    }
}
