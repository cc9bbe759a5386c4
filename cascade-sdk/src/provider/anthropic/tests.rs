//! Request bodies, and answers in the shapes of the public reference of the messages api.

use super::{request, response};
use crate::answer::AnswerSchema;
use crate::money::Usage;
use crate::provider::http::HttpResponse;
use crate::provider::testing::{answered, tier};
use crate::provider::{FinishReason, ModelCall, ProviderErrorKind as Kind, Response};
use crate::request::{Message, Part, Request, Role, Tool, ToolCall};
use cascade_sdk_core::config::RequestSettings;
use serde_json::{Value, json};
use std::time::Duration;

fn body(request: &Request, settings: &RequestSettings, schema: &AnswerSchema) -> Value {
    let tier = tier();
    request::body(&ModelCall::new(&tier, settings, schema, request))
}

fn read(body: &Value) -> Response {
    response::read(&answered(200, &body.to_string())).unwrap()
}

#[test]
fn a_plain_request_has_nothing_that_was_not_asked_for() {
    assert_eq!(
        body(&Request::new("hi"), &RequestSettings::default(), &AnswerSchema::TEXT),
        json!({"model": "qwen-0.5b", "max_tokens": 48,
               "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]})
    );
}

#[test]
fn a_full_request_carries_every_setting() {
    let settings = RequestSettings {
        system: Some("route".into()),
        temperature: Some(0.5),
        seed: Some(7),
        ..RequestSettings::default()
    };
    let schema = AnswerSchema::from_json(r#"{"type":"string","enum":["a","b"]}"#).unwrap();
    let request = Request::from_messages([
        Message::new(Role::System, "first"),
        Message::user("look")
            .with_image("https://example.com/a.png")
            .with_image("data:image/png;base64,AAAA"),
    ])
    .with_system("own");
    assert_eq!(
        body(&request, &settings, &schema),
        json!({
            "model": "qwen-0.5b", "max_tokens": 48, "temperature": 0.5, "system": "route\n\nown\n\nfirst",
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ]}],
            "output_config": {"format": {"type": "json_schema", "schema": {
                "type": "object", "properties": {"answer": {"type": "string", "enum": ["a", "b"]}},
                "required": ["answer"], "additionalProperties": false,
            }}},
        })
    );
}

#[test]
fn a_schema_that_cannot_be_enforced_stands_in_the_system_prompt() {
    let schema =
        AnswerSchema::from_json(r#"{"type":"object","additionalProperties":{"type":"integer"}}"#).unwrap();
    let sent = body(&Request::new("hi"), &RequestSettings::default(), &schema);
    assert!(sent.get("output_config").is_none());
    let system = sent["system"].as_str().unwrap();
    assert!(system.ends_with(r#"{"additionalProperties":{"type":"integer"},"type":"object"}"#), "{system}");
}

#[test]
fn tools_their_calls_and_their_results() {
    let call = |id: &str| ToolCall::new(id, "weather", json!({"city": "Oslo"}));
    let request = Request::new("Oslo and Rome?")
        .with_tool(Tool::new("weather", "now", json!({"type": "object"})))
        .with_message(
            Message::assistant("").with_part(Part::ToolCall(call("a"))).with_part(Part::ToolCall(call("b"))),
        )
        .with_message(Message::tool(call("a").result("3 degrees")))
        .with_message(Message::tool(call("b").result("down").as_failure()))
        .with_message(Message::user("go on"));
    let sent = body(&request, &RequestSettings::default(), &AnswerSchema::TEXT);
    assert_eq!(
        sent["tools"],
        json!([{"name": "weather", "description": "now", "input_schema": {"type": "object"}}])
    );
    let use_of =
        |id: &str| json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": "Oslo"}});
    assert_eq!(sent["messages"][1], json!({"role": "assistant", "content": [use_of("a"), use_of("b")]}));
    // All results in one turn.
    assert_eq!(
        sent["messages"][2],
        json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "3 degrees", "is_error": false},
            {"type": "tool_result", "tool_use_id": "b", "content": "down", "is_error": true},
            {"type": "text", "text": "go on"},
        ]})
    );
}

#[test]
fn what_the_format_cannot_carry_is_refused() {
    let mut tier = tier();
    let settings = RequestSettings::default();
    let late = Request::new("hi").with_message(Message::new(Role::System, "late"));
    let odd_call = ToolCall::new("call:1", "t", json!({}));
    let odd = Request::new("hi").with_message(Message::assistant("").with_part(Part::ToolCall(odd_call)));
    for request in [&late, &odd] {
        let call = ModelCall::new(&tier, &settings, &AnswerSchema::TEXT, request);
        assert!(request::check(&call).is_err());
    }
    tier.max_output_tokens = None;
    let plain = Request::new("hi");
    let call = ModelCall::new(&tier, &settings, &AnswerSchema::TEXT, &plain);
    assert!(request::check(&call).unwrap_err().contains("max_output_tokens"));
}

#[test]
fn texts_are_joined_and_all_kinds_of_input_counted() {
    let response = read(&json!({
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "Par"}, {"type": "text", "text": "is", "citations": null}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 12, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 1000,
                  "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
                  "output_tokens": 5, "service_tier": "standard"},
    }));
    assert_eq!((response.text.as_str(), &response.finish), ("Paris", &FinishReason::Stop));
    let usage = Usage {
        input_tokens: 1112,
        cached_input_tokens: 1000,
        cache_write_tokens: 100,
        output_tokens: 5,
        reasoning_tokens: 0,
    };
    assert_eq!((response.usage, response.token_logprobs.is_none()), (Some(usage), true));
    assert_eq!(response.served_model.as_deref(), Some("claude-sonnet-4-5-20250929"));
}

#[test]
fn calls_and_reasoning_come_back_with_the_next_turn() {
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "EqQB"});
    let calling = json!({"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {"city": "Oslo"}});
    let response = read(&json!({
        "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [thinking, {"type": "text", "text": "I look."}, calling],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }));
    assert_eq!(response.finish, FinishReason::ToolCalls);
    assert_eq!(response.tool_calls, [ToolCall::new("toolu_01", "weather", json!({"city": "Oslo"}))]);
    let request = Request::new("Oslo?").with_message(response.message());
    let sent = body(&request, &RequestSettings::default(), &AnswerSchema::TEXT);
    assert_eq!(
        sent["messages"][1]["content"],
        json!([thinking, {"type": "text", "text": "I look."}, calling])
    );
}

#[test]
fn every_reason_to_stop() {
    for (reason, finish) in [
        (json!("end_turn"), FinishReason::Stop),
        (json!("stop_sequence"), FinishReason::Stop),
        (json!(null), FinishReason::Stop),
        (json!("max_tokens"), FinishReason::Length),
        (json!("model_context_window_exceeded"), FinishReason::Length),
        (json!("refusal"), FinishReason::Refused),
        (json!("pause_turn"), FinishReason::Other("pause_turn".into())),
    ] {
        assert_eq!(read(&json!({"content": [], "stop_reason": reason})).finish, finish);
    }
}

#[test]
fn errors_say_what_to_do_and_never_quote_the_server() {
    let wait = Some(Duration::from_secs(7));
    for (status, name, detail, kind, part, again) in [
        (400, "invalid_request_error", "SECRET", Kind::Status, "invalid_request_error", false),
        (400, "invalid_request_error", "prompt is too long: 9 > 8 SECRET", Kind::TooLarge, "too long", false),
        (401, "authentication_error", "SECRET", Kind::Auth, "api_key_env", false),
        (403, "permission_error", "SECRET", Kind::Auth, "permission_error", false),
        (404, "not_found_error", "SECRET", Kind::Status, "`model`", false),
        (413, "request_too_large", "SECRET", Kind::TooLarge, "size", false),
        (429, "rate_limit_error", "SECRET", Kind::Status, "rate", true),
        (500, "api_error", "SECRET", Kind::Status, "500", true),
        (529, "overloaded_error", "SECRET", Kind::Status, "overloaded_error", true),
    ] {
        let body =
            json!({"type": "error", "error": {"type": name, "message": detail}, "request_id": "req_1"});
        let answer = HttpResponse { status, body: body.to_string().into_bytes(), retry_after: wait };
        let error = response::read(&answer).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.retry_after()), (kind, again, wait), "{body}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        assert_eq!((error.detail(), error.may_have_been_charged()), (Some(detail), false));
    }
    let gateway = response::read(&answered(502, "<html>SECRET</html>")).unwrap_err();
    assert!(gateway.is_retryable() && gateway.to_string().contains("502"));
}

#[test]
fn what_is_not_an_answer_may_still_cost_money() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"content":"x"}"#,
        r#"{"content":[{}]}"#,
        r#"{"content":[{"type":"text"}]}"#,
        r#"{"content":[{"type":"tool_use","id":"a"}]}"#,
    ] {
        let error = response::read(&answered(200, body)).unwrap_err();
        assert_eq!(error.kind(), Kind::BadBody, "{body}");
        assert!(error.may_have_been_charged() && !error.is_retryable(), "{body}");
    }
}
