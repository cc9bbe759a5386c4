//! The OpenAI chat completions format, spoken by many servers: requests to JSON, JSON to answers.

use super::error::{ProviderError, ProviderErrorKind};
use super::http::{HttpClient, HttpResponse, Opened};
use super::{Capabilities, FinishReason, ModelCall, Provider, Response, ResponseStream, TokenLogprob};
use crate::money::Usage;
use crate::request::{Message, Part, Role};
use async_trait::async_trait;
use cascade_sdk_core::config::Api;
use serde::Deserialize;
use serde_json::{Map, Value, json};

mod stream;

/// A server that speaks OpenAI chat completions.
#[derive(Clone, Debug)]
pub struct OpenAi {
    http: HttpClient,
    length_key: &'static str,
}

impl OpenAi {
    pub(crate) fn new(http: HttpClient) -> Self {
        let length_key = length_key(http.host());
        Self { http, length_key }
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Api::OpenAi)
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        let body = request_body(call, self.length_key).to_string().into_bytes();
        let answer = self.http.post(&["chat", "completions"], body, call.timeout).await?;
        read_response(&answer)
    }

    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        let body = stream::streamed(request_body(call, self.length_key)).to_string().into_bytes();
        match self.http.open(&["chat", "completions"], body, call.timeout).await? {
            Opened::Stream(body) => Ok(stream::read(body)),
            Opened::Whole(answer) => read_response(&answer).map(ResponseStream::whole),
        }
    }
}

/// OpenAI and Azure renamed the limit and refuse the old name for newer models; compatible servers know the old name.
fn length_key(host: &str) -> &'static str {
    if host == "api.openai.com" || host.ends_with(".openai.azure.com") {
        "max_completion_tokens"
    } else {
        "max_tokens"
    }
}

/// The body of a request.
fn request_body(call: &ModelCall<'_>, length_key: &str) -> Value {
    let system = call.system.iter().map(|text| json!({ "role": "system", "content": text }));
    let messages: Vec<Value> = system.chain(call.request.messages.iter().map(message)).collect();
    let mut body = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    set("model", Some(json!(call.model)));
    set("messages", Some(Value::Array(messages)));
    set(length_key, call.max_output_tokens.map(Value::from));
    set("temperature", call.temperature.map(Value::from));
    set("seed", call.seed.map(Value::from));
    if let Some(count) = call.top_logprobs {
        set("logprobs", Some(json!(true)));
        set("top_logprobs", Some(json!(count)));
    }
    set("response_format", call.schema.sent().map(response_format));
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let content = match message.parts.as_slice() {
        // Older compatible servers take a plain string only.
        [Part::Text(text)] => json!(text),
        parts => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => json!({ "type": "text", "text": text }),
                Part::Image { url } => json!({ "type": "image_url", "image_url": { "url": url } }),
            })
            .collect(),
    };
    json!({ "role": role, "content": content })
}

/// Strict decoding refuses schemas with optional or unlisted properties, so it is asked for only where it can hold.
fn response_format(schema: &Value) -> Value {
    json!({
        "type": "json_schema",
        "json_schema": { "name": "answer", "strict": is_strict(schema), "schema": schema },
    })
}

/// True if every object in the schema is closed and requires all its properties.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let closed = object.get("properties").and_then(Value::as_object).is_none_or(|properties| {
                let required = object.get("required").and_then(Value::as_array);
                object.get("additionalProperties") == Some(&json!(false))
                    && required.map_or(0, Vec::len) == properties.len()
            });
            closed && object.values().all(is_strict)
        }
        Value::Array(items) => items.iter().all(is_strict),
        _ => true,
    }
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
}

#[derive(Deserialize)]
struct WireMessage {
    content: Option<String>,
    refusal: Option<String>,
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
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
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

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            cached_input_tokens: usage.prompt_tokens_details.and_then(|d| d.cached_tokens).unwrap_or(0),
            cache_write_tokens: 0,
            output_tokens: usage.completion_tokens,
            reasoning_tokens: usage.completion_tokens_details.and_then(|d| d.reasoning_tokens).unwrap_or(0),
        }
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::Refused,
        other => FinishReason::Other(word(other)),
    }
}

/// What a server's answer says.
fn read_response(answer: &HttpResponse) -> Result<Response, ProviderError> {
    if answer.status >= 300 {
        return Err(status_error(answer));
    }
    let bad = |what: &str| {
        ProviderError::new(ProviderErrorKind::BadBody, format!("the server's answer {what}"))
            .with_status(answer.status)
            .after_sending()
    };
    let completion: Completion = serde_json::from_slice(&answer.body).map_err(|error| {
        // serde's own text quotes the body.
        let what = if error.is_data() { "is not a chat completion" } else { "is not JSON" };
        bad(&format!("{what} (line {}, column {})", error.line(), error.column()))
    })?;
    if let Some(error) = completion.error.filter(|error| !error.is_null()) {
        // Gateways report an upstream's failure with status 200.
        return Err(error_object(&error, None, answer));
    }
    let choice = completion.choices.into_iter().next().ok_or_else(|| bad("holds no choice"))?;
    let message = choice.message.ok_or_else(|| bad("holds no message"))?;
    let finish = match choice.finish_reason.as_deref() {
        _ if message.refusal.is_some() => FinishReason::Refused,
        reason => finish_reason(reason.unwrap_or("stop")),
    };
    Ok(Response {
        text: message.content.unwrap_or_default(),
        finish,
        usage: completion.usage.map(Into::into),
        token_logprobs: choice.logprobs.and_then(|logprobs| logprobs.content).map(tokens),
        served_model: completion.model,
        ..Response::default()
    })
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

fn status_error(answer: &HttpResponse) -> ProviderError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    error_object(body.get("error").unwrap_or(&body), Some(answer.status), answer)
}

/// An `error` object. `code` is a string at OpenAI and an integer at llama.cpp and OpenRouter.
fn error_object(error: &Value, status: Option<u16>, answer: &HttpResponse) -> ProviderError {
    let code_number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = status.or(code_number).unwrap_or(answer.status);
    let field = |key: &str| error.get(key).and_then(Value::as_str).map(word);
    let name = field("code").or_else(|| field("type"));
    let too_long = matches!(
        name.as_deref(),
        Some("context_length_exceeded" | "exceed_context_size_error" | "string_above_max_length")
    ) || field("type").as_deref() == Some("exceed_context_size_error");
    let name_shown = name.map_or(String::new(), |name| format!(" ({name})"));
    let (kind, message) = match status {
        _ if too_long => {
            let number = |key: &str| error.get(key).and_then(Value::as_u64);
            let sizes = match (number("n_prompt_tokens"), number("n_ctx")) {
                (Some(prompt), Some(context)) => format!(": {prompt} tokens, room for {context}"),
                _ => String::new(),
            };
            (ProviderErrorKind::TooLarge, format!("the input is too long for the model{sizes}"))
        }
        413 => (ProviderErrorKind::TooLarge, "the server refuses a request of this size".to_owned()),
        401 | 403 => (
            ProviderErrorKind::Auth,
            format!(
                "the server refuses the key with status {status}{name_shown}: check the provider's `api_key_env`"
            ),
        ),
        300..=399 => (
            ProviderErrorKind::Status,
            format!(
                "the server redirects (status {status}), which is not followed: set `base_url` to the final address"
            ),
        ),
        404 => (
            ProviderErrorKind::Status,
            format!(
                "the server answers 404{name_shown}: check the provider's `base_url` and the tier's `model`"
            ),
        ),
        429 => (ProviderErrorKind::Status, format!("the server limits the rate (status 429){name_shown}")),
        _ => (ProviderErrorKind::Status, format!("the server answers with status {status}{name_shown}")),
    };
    let failed = ProviderError::new(kind, message).with_status(status).with_retry_after(answer.retry_after);
    match error.get("message").and_then(Value::as_str) {
        Some(detail) => failed.with_detail(detail),
        None => failed,
    }
}

/// A server's word, safe to show: a short identifier, never free text that could quote a prompt or a key.
fn word(text: &str) -> String {
    let identifier = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.len() <= 64 && text.chars().all(identifier) { text.to_owned() } else { "unnamed".to_owned() }
}

#[cfg(test)]
mod tests;
