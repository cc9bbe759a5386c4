//! Chat completions that arrive as server-sent events.

use super::{Logprobs, WireCall, WireUsage, error_of, finish_reason, tokens};
use crate::provider::error::{ProviderError, ProviderErrorKind};
use crate::provider::http::{HttpResponse, HttpStream};
use crate::provider::sse::{Event, events};
use crate::provider::{Chunk, FinishReason, ResponseStream, wire};
use crate::request::ToolCall;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The body that asks for a stream, and for the token counts at its end.
pub(super) fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    body
}

/// Reads a stream.
pub(super) fn read(body: HttpStream) -> ResponseStream {
    let mut seen = Seen::default();
    events(body, move |data| event(data, &mut seen))
}

/// What is remembered until the end: whether the model refused, and the tool calls, which arrive in pieces.
#[derive(Default)]
struct Seen {
    refused: bool,
    calls: BTreeMap<u32, WireCall>,
}

#[derive(Deserialize)]
struct WireChunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    model: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: u32,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

impl Seen {
    fn add(&mut self, delta: CallDelta) {
        let call = self.calls.entry(delta.index).or_default();
        call.id.push_str(&delta.id.unwrap_or_default());
        let Some(function) = delta.function else { return };
        call.function.name.push_str(&function.name.unwrap_or_default());
        if let Value::String(arguments) = &mut call.function.arguments {
            arguments.push_str(&function.arguments.unwrap_or_default());
        } else {
            call.function.arguments = Value::String(function.arguments.unwrap_or_default());
        }
    }

    fn take_calls(&mut self) -> Result<Vec<ToolCall>, ProviderError> {
        let calls = std::mem::take(&mut self.calls).into_values().enumerate();
        let calls: Option<Vec<ToolCall>> = calls.map(|(index, call)| call.read(index)).collect();
        calls.ok_or_else(|| wire::bad_body(200, "holds a tool call whose arguments are not JSON"))
    }
}

/// What one event says. The first has no content, the last no choice.
fn event(data: &str, seen: &mut Seen) -> Result<Event, ProviderError> {
    if data.trim() == "[DONE]" {
        return Ok(Event::End);
    }
    let read: WireChunk = serde_json::from_str(data).map_err(|error| {
        // serde's own text quotes the data.
        let what = if error.is_data() {
            "an event that is not a chunk of a completion"
        } else {
            "an event that is not JSON"
        };
        ProviderError::new(ProviderErrorKind::BadBody, format!("the server's stream holds {what}"))
            .after_sending()
    })?;
    if let Some(error) = read.error.filter(|error| !error.is_null()) {
        // The status was sent before the error was known.
        let answer = HttpResponse { status: 200, body: Vec::new(), retry_after: None };
        return Err(error_of(&error, None, &answer).after_sending());
    }
    let mut chunk =
        Chunk { usage: read.usage.and_then(WireUsage::usage), served_model: read.model, ..Chunk::default() };
    for choice in read.choices.into_iter().filter(|choice| choice.index == 0) {
        if let Some(delta) = choice.delta {
            chunk.text.push_str(&delta.content.unwrap_or_default());
            seen.refused |= delta.refusal.is_some_and(|refusal| !refusal.is_empty());
            delta.tool_calls.into_iter().flatten().for_each(|call| seen.add(call));
        }
        let logprobs = choice.logprobs.and_then(|logprobs| logprobs.content);
        chunk.token_logprobs.extend(logprobs.map(tokens).unwrap_or_default());
        if let Some(reason) = choice.finish_reason {
            chunk.tool_calls = seen.take_calls()?;
            chunk.finish = Some(match finish_reason(&reason) {
                _ if seen.refused => FinishReason::Refused,
                FinishReason::Stop if !chunk.tool_calls.is_empty() => FinishReason::ToolCalls,
                reason => reason,
            });
        }
    }
    let empty = chunk.text.is_empty()
        && chunk.token_logprobs.is_empty()
        && chunk.finish.is_none()
        && chunk.usage.is_none();
    Ok(if empty { Event::Nothing } else { Event::Chunk(chunk) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usage;
    use crate::provider::stream::Partial;

    fn collect(events: &[&str]) -> Result<crate::provider::Response, ProviderError> {
        let (mut partial, mut seen) = (Partial::default(), Seen::default());
        for data in events {
            match event(data, &mut seen)? {
                Event::Chunk(chunk) => partial.push(chunk),
                Event::Nothing => {}
                Event::End => break,
            }
        }
        partial.finish()
    }

    /// llama.cpp: a first chunk without content, token objects with an `id`, usage without choices at the end.
    const LLAMA: [&str; 6] = [
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1,"id":"c","model":"smol","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"A"},"logprobs":{"content":[{"id":49,"token":"A","bytes":[65],"logprob":-2.375,"top_logprobs":[{"id":49,"token":"A","bytes":[65],"logprob":-2.375},{"id":504,"token":"The","bytes":[84,104,101],"logprob":-2.5}]}]}}],"model":"smol"}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"ü"},"logprobs":{"content":[{"id":7,"token":"ü","bytes":[195,188],"logprob":-0.5,"top_logprobs":[]}]}}],"model":"smol"}"#,
        r#"{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"model":"smol"}"#,
        r#"{"choices":[],"model":"smol","usage":{"completion_tokens":3,"prompt_tokens":37,"prompt_tokens_details":{"cached_tokens":5}},"timings":{"cache_n":0}}"#,
        "[DONE]",
    ];

    #[test]
    fn a_whole_stream_is_the_same_answer_as_one_in_a_piece() {
        let response = collect(&LLAMA).unwrap();
        assert_eq!((response.text.as_str(), &response.finish), ("Aü", &FinishReason::Length));
        let usage = Usage { input_tokens: 37, cached_input_tokens: 5, output_tokens: 3, ..Usage::default() };
        assert_eq!((response.usage, response.served_model.as_deref()), (Some(usage), Some("smol")));
        let tokens = response.token_logprobs.unwrap();
        assert_eq!(tokens.iter().map(|token| token.logprob).collect::<Vec<_>>(), [-2.375, -0.5]);
        assert_eq!(tokens[0].alternatives, [-2.375, -2.5]);
    }

    #[test]
    fn a_stream_without_an_end_is_not_an_answer() {
        let error = collect(&LLAMA[..3]).unwrap_err();
        assert!(error.kind() == ProviderErrorKind::Connection && error.may_have_been_charged());
    }

    #[test]
    fn refusals_errors_and_nonsense_are_told_apart() {
        let refusal = [
            r#"{"choices":[{"index":0,"delta":{"refusal":"I can"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        ];
        assert_eq!(collect(&refusal).unwrap().finish, FinishReason::Refused);
        let upstream = r#"{"id":"x","error":{"code":502,"message":"SECRET upstream"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#;
        let error = collect(&[LLAMA[1], upstream]).unwrap_err();
        assert_eq!(
            (error.status(), error.may_have_been_charged(), error.is_retryable()),
            (Some(502), true, true)
        );
        assert!(!error.to_string().contains("SECRET"), "{error}");
        for nonsense in ["{", "hello", "[1]"] {
            let error = collect(&[nonsense]).unwrap_err();
            assert_eq!(error.kind(), ProviderErrorKind::BadBody, "{nonsense}");
        }
    }

    #[test]
    fn tool_calls_are_put_together_from_their_pieces() {
        let pieces = [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"weather","arguments":""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"time","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Oslo\"}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        ];
        let response = collect(&pieces).unwrap();
        assert_eq!(response.finish, FinishReason::ToolCalls);
        assert_eq!(
            response.tool_calls,
            [ToolCall::new("a", "weather", json!({"city": "Oslo"})), ToolCall::new("b", "time", json!({}))]
        );
        let error = collect(&[pieces[0], pieces[1], pieces[4]]).unwrap_err();
        assert!(error.kind() == ProviderErrorKind::BadBody && error.may_have_been_charged());
    }

    #[test]
    fn other_choices_are_not_mixed_in() {
        let two = r#"{"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":{"content":"one"},"finish_reason":"stop"}]}"#;
        assert_eq!(collect(&[two]).unwrap().text, "one");
    }
}
