//! The OpenAI chat completions format, spoken by many servers: requests to JSON, JSON to answers.

use super::error::ProviderError;
use super::http::{HttpClient, HttpResponse, Opened};
use super::wire::{self, Fault, word};
use super::{Capabilities, FinishReason, ModelCall, Provider, Response, ResponseStream, TokenLogprob};
use crate::money::Usage;
use crate::request::{Message, Part, Role, Tool, ToolCall};
use async_trait::async_trait;
use cascade_sdk_core::config::{Api, LengthKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};

mod schema;
mod stream;

/// A server that speaks OpenAI chat completions.
#[derive(Clone, Debug)]
pub struct OpenAi {
    http: HttpClient,
    length_key: LengthKey,
}

impl OpenAi {
    pub(crate) fn new(http: HttpClient, stated: Option<LengthKey>) -> Self {
        let length_key = stated.unwrap_or_else(|| length_key(http.host()));
        Self { http, length_key }
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Api::OpenAi)
    }

    fn check(&self, call: &ModelCall<'_>) -> Result<(), ProviderError> {
        call.check(self.capabilities(), Some(Api::OpenAi))
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        self.check(call)?;
        let body = request_body(call, self.length_key).to_string().into_bytes();
        let answer = self.http.post(&["chat", "completions"], body, call.timeout).await?;
        read_response(&answer)
    }

    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        self.check(call)?;
        let body = stream::streamed(request_body(call, self.length_key)).to_string().into_bytes();
        match self.http.open(&["chat", "completions"], body, call.timeout).await? {
            Opened::Stream(body) => Ok(stream::read(body)),
            Opened::Whole(answer) => read_response(&answer).map(ResponseStream::whole),
        }
    }
}

/// OpenAI and Azure renamed the limit and refuse the old name for newer models; compatible servers know the old name.
fn length_key(host: &str) -> LengthKey {
    if host == "api.openai.com" || host.ends_with(".openai.azure.com") {
        LengthKey::MaxCompletionTokens
    } else {
        LengthKey::MaxTokens
    }
}

/// The body of a request.
fn request_body(call: &ModelCall<'_>, length_key: LengthKey) -> Value {
    let system = call.system.iter().map(|text| json!({ "role": "system", "content": text }));
    let messages: Vec<Value> = system.chain(call.request.messages.iter().flat_map(message)).collect();
    let mut body = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    set("model", Some(json!(call.model)));
    set("messages", Some(Value::Array(messages)));
    set(length_key.name(), call.max_output_tokens.map(Value::from));
    set("temperature", call.temperature.map(Value::from));
    set("seed", call.seed.map(Value::from));
    set("reasoning_effort", call.reasoning_effort.map(Value::from));
    if let Some(count) = call.top_logprobs {
        set("logprobs", Some(json!(true)));
        set("top_logprobs", Some(json!(count)));
    }
    set("response_format", call.native_schema().map(response_format));
    let tools = &call.request.tools;
    set("tools", (!tools.is_empty()).then(|| tools.iter().map(tool).collect()));
    Value::Object(body)
}

/// A message as the format has it. Each result of a tool is a message of its own.
fn message(message: &Message) -> Vec<Value> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut results = Vec::new();
    let (mut content, mut calls) = (Vec::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(text) => content.push(json!({ "type": "text", "text": text })),
            Part::Image(image) => {
                content.push(json!({ "type": "image_url", "image_url": { "url": image.to_url() } }));
            }
            Part::ToolCall(call) => calls.push(json!({
                "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments.to_string() },
            })),
            Part::ToolResult(result) => results.push(json!({
                "role": "tool", "tool_call_id": result.call_id, "content": result.content,
            })),
            // Refused by `check`: the format has none.
            Part::Bound(_) => {}
        }
    }
    if content.is_empty() && calls.is_empty() {
        return results;
    }
    let content = match message.parts.as_slice() {
        // Older compatible servers take a plain string only.
        [Part::Text(text)] => json!(text),
        _ if !calls.is_empty() => json!(message.text()),
        _ => Value::Array(content),
    };
    let mut whole = json!({ "role": role, "content": content });
    if !calls.is_empty() {
        whole["tool_calls"] = Value::Array(calls);
    }
    results.push(whole);
    results
}

fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "function": { "name": tool.name, "description": tool.description, "parameters": tool.parameters },
    })
}

/// Strict decoding refuses what it cannot enforce, so it is asked for only where it can hold. Elsewhere the schema goes out as
/// it is, for servers that enforce more.
fn response_format(schema: &Value) -> Value {
    let strict = schema::strict(schema);
    json!({
        "type": "json_schema",
        "json_schema": {
            "name": "answer", "strict": strict.is_some(), "schema": strict.as_ref().unwrap_or(schema),
        },
    })
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    model: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<WireMessage>,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct WireMessage {
    content: Option<Content>,
    refusal: Option<String>,
    tool_calls: Option<Vec<WireCall>>,
}

/// Text, or a list of pieces of it, as some servers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Deserialize)]
struct ContentPart {
    text: Option<String>,
    refusal: Option<String>,
}

#[derive(Default, Deserialize)]
struct WireCall {
    #[serde(default)]
    id: String,
    function: WireFunction,
}

#[derive(Default, Deserialize)]
struct WireFunction {
    name: String,
    /// A string of JSON; a few servers write the object itself.
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default, rename = "token")]
    text: String,
    logprob: Option<f64>,
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    logprob: Option<f64>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::Refused,
        other => FinishReason::Other(word(other)),
    }
}

/// What a server's answer says.
fn read_response(answer: &HttpResponse) -> Result<Response, ProviderError> {
    if answer.status >= 300 {
        let body = wire::loose_json(answer);
        if is_filtered(&body) {
            return Ok(Response {
                finish: FinishReason::Refused,
                usage: Some(Usage::default()),
                ..Response::default()
            });
        }
        return Err(error_of(body.get("error").unwrap_or(&body), Some(answer.status), answer));
    }
    let completion: Completion = wire::read(answer, "a chat completion")?;
    if let Some(error) = completion.error.filter(|error| !error.is_null()) {
        // Gateways report an upstream's failure with status 200.
        return Err(error_of(&error, None, answer));
    }
    let bad = |what: &str| wire::bad_body(answer.status, what);
    let choice = completion.choices.into_iter().next().ok_or_else(|| bad("holds no choice"))?;
    if let Some(error) = choice.error.filter(|error| !error.is_null()) {
        // The upstream failed while it answered, so what it wrote until then may be charged.
        return Err(error_of(&error, None, answer).after_sending());
    }
    let message = choice.message.ok_or_else(|| bad("holds no message"))?;
    let (text, refused) = message.content.map_or_else(Default::default, Content::read);
    let refused = refused || message.refusal.is_some_and(|refusal| !refusal.is_empty());
    let calls = message.tool_calls.unwrap_or_default().into_iter().enumerate();
    let tool_calls: Option<Vec<ToolCall>> = calls.map(|(index, call)| call.read(index)).collect();
    let tool_calls = tool_calls.ok_or_else(|| bad("holds a tool call whose arguments are not JSON"))?;
    let finish = match choice.finish_reason.as_deref() {
        _ if refused => FinishReason::Refused,
        None | Some("stop") if !tool_calls.is_empty() => FinishReason::ToolCalls,
        reason => finish_reason(reason.unwrap_or("stop")),
    };
    Ok(Response {
        text,
        tool_calls,
        finish,
        usage: completion.usage.and_then(WireUsage::usage),
        token_logprobs: choice.logprobs.and_then(|logprobs| logprobs.content).map(tokens),
        served_model: completion.model,
        ..Response::default()
    })
}

impl Content {
    /// The text, and whether the model refused.
    fn read(self) -> (String, bool) {
        match self {
            Self::Text(text) => (text, false),
            Self::Parts(parts) => {
                let refused = parts.iter().any(|part| part.refusal.is_some());
                (parts.into_iter().filter_map(|part| part.text).collect(), refused)
            }
        }
    }
}

impl WireCall {
    /// `None` if the arguments are not JSON: models may write anything.
    fn read(self, index: usize) -> Option<ToolCall> {
        let arguments = match self.function.arguments {
            Value::String(text) if text.trim().is_empty() => json!({}),
            Value::String(text) => serde_json::from_str(&text).ok()?,
            Value::Null => json!({}),
            value => value,
        };
        let id = if self.id.is_empty() { format!("call-{index}") } else { self.id };
        Some(ToolCall::new(id, self.function.name, arguments))
    }
}

impl WireUsage {
    /// `None` where a server sends the object without its counts.
    fn usage(self) -> Option<Usage> {
        if self.prompt_tokens.is_none() && self.completion_tokens.is_none() {
            return None;
        }
        Some(Usage {
            input_tokens: self.prompt_tokens.unwrap_or(0),
            cached_input_tokens: self.prompt_tokens_details.and_then(|d| d.cached_tokens).unwrap_or(0),
            cache_write_tokens: 0,
            output_tokens: self.completion_tokens.unwrap_or(0),
            reasoning_tokens: self.completion_tokens_details.and_then(|d| d.reasoning_tokens).unwrap_or(0),
        })
    }
}

/// Drops end-of-sequence entries, which have neither text nor bytes and say nothing about the answer.
fn tokens(wire: Vec<Token>) -> Vec<TokenLogprob> {
    wire.into_iter()
        .map(|token| TokenLogprob {
            bytes: Some(token.bytes.unwrap_or_else(|| token.text.into_bytes()).into_boxed_slice()),
            // A missing number must not look like certainty.
            logprob: token.logprob.unwrap_or(f64::NAN),
            alternatives: token.top_logprobs.iter().map(|top| top.logprob.unwrap_or(f64::NAN)).collect(),
        })
        .filter(|token| token.bytes.as_ref().is_some_and(|bytes| !bytes.is_empty()))
        .collect()
}

/// Azure refuses a prompt by its content filter with an error status. It is a refusal like any other, and free.
fn is_filtered(body: &Value) -> bool {
    body.pointer("/error/code").and_then(Value::as_str) == Some("content_filter")
}

/// An `error` object. `code` is a string at OpenAI and an integer at llama.cpp and OpenRouter.
pub(super) fn error_of(error: &Value, status: Option<u16>, answer: &HttpResponse) -> ProviderError {
    let code_number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let field = |key: &str| error.get(key).and_then(Value::as_str).map(word);
    let number = |key: &str| error.get(key).and_then(Value::as_u64);
    let name = field("code").or_else(|| field("type"));
    let detail = error.get("message").and_then(Value::as_str);
    let too_long = matches!(
        name.as_deref(),
        Some("context_length_exceeded" | "exceed_context_size_error" | "string_above_max_length")
    ) || field("type").as_deref() == Some("exceed_context_size_error")
        // vLLM and some gateways say it in words only.
        || detail.is_some_and(|text| text.contains("maximum context length"));
    let fault = Fault {
        status: status.or(code_number).unwrap_or(answer.status),
        name,
        too_long,
        bad_key: false,
        sizes: number("n_prompt_tokens").zip(number("n_ctx")),
        detail,
        retry_after: answer.retry_after,
    };
    fault.into_error()
}

#[cfg(test)]
mod tests;
