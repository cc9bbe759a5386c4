//! Answers that arrive as server-sent events, each in the shape of a whole answer.

use super::response::{Answer, fault, respond};
use crate::provider::http::HttpStream;
use crate::provider::sse::{Event, events};
use crate::provider::{Chunk, FinishReason, ProviderError, ResponseStream, wire};
use serde_json::Value;

/// Reads a stream.
pub(super) fn read(body: HttpStream) -> ResponseStream {
    let mut calls = 0;
    events(body, move |data| event(data, &mut calls))
}

/// What one event says. `calls` counts the tool calls so far: the last event does not repeat them.
fn event(data: &str, calls: &mut usize) -> Result<Event, ProviderError> {
    let bad = |what: &str| wire::bad_body(200, what);
    let read: Value =
        serde_json::from_str(data).map_err(|_| bad("is a stream with an event that is not JSON"))?;
    if let Some(error) = read.get("error") {
        // The status was sent before the error was known.
        let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        return Err(fault(error, status).into_error().after_sending());
    }
    let answer: Answer = serde_json::from_value(read)
        .map_err(|_| bad("is a stream with an event that is not a piece of an answer"))?;
    let (response, finished) = respond(answer, *calls);
    *calls += response.tool_calls.len();
    let finish = match response.finish.clone() {
        FinishReason::Stop if *calls > 0 => FinishReason::ToolCalls,
        finish => finish,
    };
    Ok(Event::Chunk(Chunk { finish: finished.then_some(finish), ..Chunk::from(response) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::stream::Partial;
    use crate::provider::{ProviderErrorKind, Response};
    use serde_json::json;

    fn collect(events: &[Value]) -> Result<Response, ProviderError> {
        let (mut partial, mut calls) = (Partial::default(), 0);
        for data in events {
            if let Event::Chunk(chunk) = event(&data.to_string(), &mut calls)? {
                partial.push(chunk);
            }
        }
        partial.finish()
    }

    fn piece(parts: &Value, more: &Value) -> Value {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
        candidate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"candidates": [candidate], "modelVersion": "served", "responseId": "abc",
               "usageMetadata": {"promptTokenCount": 30, "candidatesTokenCount": 2}})
    }

    #[test]
    fn a_whole_stream_is_the_same_answer_as_one_in_a_piece() {
        let logprobs = |token: &str| json!({"logprobsResult": {"chosenCandidates": [{"token": token, "logProbability": -0.5}]}});
        let mut events = vec![
            piece(&json!([{"text": "Par"}]), &logprobs("Par")),
            piece(&json!([{"text": "is"}]), &logprobs("is")),
        ];
        assert_eq!(collect(&events).unwrap_err().kind(), ProviderErrorKind::Connection);
        events.push(piece(&json!([{"text": ""}]), &json!({"finishReason": "STOP"})));
        let response = collect(&events).unwrap();
        assert_eq!((response.text.as_str(), &response.finish), ("Paris", &FinishReason::Stop));
        assert_eq!(response.token_logprobs.map(|tokens| tokens.len()), Some(2));
        assert_eq!(response.usage.map(|usage| usage.output_tokens), Some(2));
    }

    #[test]
    fn calls_of_earlier_events_count_and_have_ids_of_their_own() {
        let call = json!([{"functionCall": {"name": "weather", "args": {}}}]);
        let events = [
            piece(&call, &json!({})),
            piece(&call, &json!({})),
            piece(&json!([{"text": ""}]), &json!({"finishReason": "STOP"})),
        ];
        let response = collect(&events).unwrap();
        assert_eq!(response.finish, FinishReason::ToolCalls);
        let ids: Vec<_> = response.tool_calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["abc-0", "abc-1"]);
    }

    #[test]
    fn blocks_errors_and_nonsense() {
        let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}});
        assert_eq!(collect(&[blocked]).unwrap().finish, FinishReason::Refused);
        let error = json!({"error": {"code": 503, "message": "SECRET", "status": "UNAVAILABLE"}});
        let error = collect(&[error]).unwrap_err();
        assert_eq!((error.status(), error.may_have_been_charged()), (Some(503), true));
        assert!(!format!("{error} {error:?}").contains("SECRET"));
        for nonsense in [json!({"candidates": 7}), json!("x")] {
            assert_eq!(collect(&[nonsense]).unwrap_err().kind(), ProviderErrorKind::BadBody);
        }
    }
}
