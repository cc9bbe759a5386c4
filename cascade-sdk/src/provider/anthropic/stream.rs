//! Messages that arrive as server-sent events.

use super::response::{WireUsage, fault, finish, take_block};
use crate::provider::http::HttpStream;
use crate::provider::sse::{Event, events};
use crate::provider::{Chunk, ProviderError, Response, ResponseStream, wire};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The body that asks for a stream.
pub(super) fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

/// Reads a stream.
pub(super) fn read(body: HttpStream) -> ResponseStream {
    let mut seen = Seen::default();
    events(body, move |data| event(data, &mut seen))
}

/// What is remembered: blocks that are not whole yet, and the tokens that were counted before the answer began.
#[derive(Default)]
struct Seen {
    blocks: BTreeMap<u64, Value>,
    usage: WireUsage,
}

/// What one event says. Kinds that are not known are left out, as the format asks for.
fn event(data: &str, seen: &mut Seen) -> Result<Event, ProviderError> {
    let bad = |what: &str| wire::bad_body(200, what);
    let mut event: Value =
        serde_json::from_str(data).map_err(|_| bad("is a stream with an event that is not JSON"))?;
    let kind = event["type"].as_str().map(str::to_owned);
    let index = event["index"].as_u64().unwrap_or(0);
    Ok(match kind.as_deref() {
        Some("message_start") => {
            let message = &event["message"];
            seen.usage.update(&message["usage"]);
            Event::Chunk(Chunk {
                usage: Some(seen.usage.usage()),
                served_model: message["model"].as_str().map(str::to_owned),
                ..Chunk::default()
            })
        }
        Some("content_block_start") => {
            let block = event["content_block"].take();
            if block["type"] == "text" {
                return Ok(text(&block["text"]));
            }
            if !block.is_object() {
                return Err(bad("is a stream with a broken block"));
            }
            seen.blocks.insert(index, block);
            Event::Nothing
        }
        Some("content_block_delta") => {
            let delta = &event["delta"];
            if delta["type"] == "text_delta" {
                return Ok(text(&delta["text"]));
            }
            seen.add(index, delta);
            Event::Nothing
        }
        Some("content_block_stop") => match seen.blocks.remove(&index) {
            Some(block) => Event::Chunk(whole(block).ok_or_else(|| bad("is a stream with a broken block"))?),
            None => Event::Nothing,
        },
        Some("message_delta") => {
            seen.usage.update(&event["usage"]);
            let reason = event["delta"]["stop_reason"].as_str();
            Event::Chunk(Chunk {
                finish: reason.map(|reason| finish(Some(reason))),
                usage: Some(seen.usage.usage()),
                ..Chunk::default()
            })
        }
        Some("message_stop") => Event::End,
        Some("error") => {
            let error = &event["error"];
            return Err(fault(error, status_of(error["type"].as_str())).into_error().after_sending());
        }
        Some(_) => Event::Nothing,
        None => return Err(bad("is a stream with an event without a type")),
    })
}

fn text(text: &Value) -> Event {
    match text.as_str() {
        None | Some("") => Event::Nothing,
        Some(text) => Event::Chunk(Chunk::text(text)),
    }
}

impl Seen {
    /// Adds a piece to a block that is no text.
    fn add(&mut self, index: u64, delta: &Value) {
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let (key, piece) = match delta["type"].as_str() {
            Some("input_json_delta") => ("partial_json", &delta["partial_json"]),
            Some("thinking_delta") => ("thinking", &delta["thinking"]),
            Some("signature_delta") => ("signature", &delta["signature"]),
            _ => return,
        };
        let piece = piece.as_str().unwrap_or_default();
        match &mut block[key] {
            Value::String(text) => text.push_str(piece),
            other => *other = json!(piece),
        }
    }
}

/// A block that is complete; `None` if it is not one, or its arguments are not JSON.
fn whole(mut block: Value) -> Option<Chunk> {
    if let Some(Value::String(input)) = block.as_object_mut()?.remove("partial_json")
        && !input.trim().is_empty()
    {
        block["input"] = serde_json::from_str(&input).ok()?;
    }
    let mut response = Response::default();
    take_block(&mut response, block).then_some(())?;
    Some(Chunk { tool_calls: response.tool_calls, bound: response.bound, ..Chunk::default() })
}

/// The status that the same error has outside a stream.
fn status_of(error: Option<&str>) -> u16 {
    match error {
        Some("invalid_request_error") => 400,
        Some("rate_limit_error") => 429,
        Some("timeout_error") => 504,
        Some("overloaded_error") => 529,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usage;
    use crate::provider::stream::Partial;
    use crate::provider::{FinishReason, ProviderErrorKind};
    use crate::request::{Bound, ToolCall};

    fn collect(events: &[Value]) -> Result<Response, ProviderError> {
        let (mut partial, mut seen) = (Partial::default(), Seen::default());
        for data in events {
            match event(&data.to_string(), &mut seen)? {
                Event::Chunk(chunk) => partial.push(chunk),
                Event::Nothing => {}
                Event::End => break,
            }
        }
        partial.finish()
    }

    fn start() -> Value {
        json!({"type": "message_start", "message": {"type": "message", "role": "assistant", "content": [], "model": "served",
            "stop_reason": null, "usage": {"input_tokens": 12, "cache_read_input_tokens": 100, "output_tokens": 1}}})
    }

    fn end(reason: &str) -> [Value; 2] {
        [
            json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
                   "usage": {"output_tokens": 15}}),
            json!({"type": "message_stop"}),
        ]
    }

    fn delta(index: u64, delta: &Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    #[test]
    fn a_whole_stream_is_the_same_answer_as_one_in_a_piece() {
        let mut events = vec![
            start(),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            delta(0, &json!({"type": "text_delta", "text": "Par"})),
            delta(0, &json!({"type": "text_delta", "text": "is"})),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "something_new"}),
        ];
        assert_eq!(collect(&events).unwrap_err().kind(), ProviderErrorKind::Connection);
        events.extend(end("end_turn"));
        let response = collect(&events).unwrap();
        assert_eq!((response.text.as_str(), &response.finish), ("Paris", &FinishReason::Stop));
        let usage =
            Usage { input_tokens: 112, cached_input_tokens: 100, output_tokens: 15, ..Usage::default() };
        assert_eq!((response.usage, response.served_model.as_deref()), (Some(usage), Some("served")));
    }

    #[test]
    fn calls_and_reasoning_are_put_together_from_their_pieces() {
        let input = |text: &str| delta(1, &json!({"type": "input_json_delta", "partial_json": text}));
        let mut events = vec![
            start(),
            json!({"type": "content_block_start", "index": 0,
                   "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
            delta(0, &json!({"type": "thinking_delta", "thinking": "h"})),
            delta(0, &json!({"type": "thinking_delta", "thinking": "m"})),
            delta(0, &json!({"type": "signature_delta", "signature": "EqQB"})),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1,
                   "content_block": {"type": "tool_use", "id": "a", "name": "weather", "input": {}}}),
            input(""),
            input("{\"city\":"),
            input(" \"Oslo\"}"),
            json!({"type": "content_block_stop", "index": 1}),
        ];
        events.extend(end("tool_use"));
        let response = collect(&events).unwrap();
        let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "EqQB"});
        assert_eq!(response.bound, [Bound::new("anthropic", thinking)]);
        assert_eq!(response.tool_calls, [ToolCall::new("a", "weather", json!({"city": "Oslo"}))]);
        assert_eq!(response.finish, FinishReason::ToolCalls);
        events.remove(9);
        assert_eq!(collect(&events).unwrap_err().kind(), ProviderErrorKind::BadBody);
    }

    #[test]
    fn errors_and_nonsense_in_the_middle() {
        let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "SECRET"}});
        let error = collect(&[start(), overloaded]).unwrap_err();
        assert_eq!(
            (error.status(), error.is_retryable(), error.may_have_been_charged()),
            (Some(529), true, true)
        );
        assert!(!format!("{error} {error:?}").contains("SECRET"));
        let no_block = json!({"type": "content_block_start", "index": 0, "content_block": "x"});
        for nonsense in [json!({}), json!([]), json!("x"), no_block] {
            assert_eq!(collect(&[nonsense]).unwrap_err().kind(), ProviderErrorKind::BadBody);
        }
    }
}
