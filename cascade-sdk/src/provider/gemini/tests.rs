//! Request bodies, and answers in the shapes of the public reference of generateContent.

use super::{request, response};
use crate::answer::AnswerSchema;
use crate::money::Usage;
use crate::provider::http::HttpResponse;
use crate::provider::testing::{answered, tier};
use crate::provider::{FinishReason, ModelCall, ProviderErrorKind as Kind, Response, TokenLogprob};
use crate::request::{Image, Message, Part, Request, Role, Tool, ToolCall};
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
        json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
               "generationConfig": {"maxOutputTokens": 48}})
    );
}

#[test]
fn a_full_request_carries_every_setting() {
    let settings = RequestSettings {
        system: Some("route".into()),
        temperature: Some(0.0),
        top_logprobs: Some(5),
        seed: Some(7),
        ..RequestSettings::default()
    };
    let schema = AnswerSchema::from_json(r#"{"type":"string","enum":["a","b"]}"#).unwrap();
    let file = Image::Url { url: "https://example.com/a.png".into(), media_type: Some("image/png".into()) };
    let request = Request::from_messages([
        Message::new(Role::System, "first"),
        Message::user("look")
            .with_part(Part::Image(Image::bytes("image/png", &[0, 0, 0])))
            .with_part(Part::Image(file)),
        Message::assistant("seen"),
        Message::user("and?"),
    ]);
    assert_eq!(
        body(&request, &settings, &schema),
        json!({
            "systemInstruction": {"parts": [{"text": "route"}, {"text": "first"}]},
            "contents": [
                {"role": "user", "parts": [
                    {"text": "look"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}},
                ]},
                {"role": "model", "parts": [{"text": "seen"}]},
                {"role": "user", "parts": [{"text": "and?"}]},
            ],
            "generationConfig": {
                "maxOutputTokens": 48, "temperature": 0.0, "seed": 7, "responseLogprobs": true, "logprobs": 5,
                "responseMimeType": "application/json", "responseJsonSchema": {
                    "type": "object", "properties": {"answer": {"type": "string", "enum": ["a", "b"]}},
                    "required": ["answer"], "additionalProperties": false,
                },
            },
        })
    );
}

#[test]
fn the_key_and_the_model_have_their_places() {
    assert_eq!(
        request::path("gemini-2.5-flash", "generateContent"),
        ["models", "gemini-2.5-flash:generateContent"]
    );
    assert_eq!(request::path("tunedModels/mine", "generateContent"), ["tunedModels", "mine:generateContent"]);
}

#[test]
fn tools_their_calls_and_their_results() {
    let call = |id: &str| ToolCall::new(id, "weather", json!({"city": "Oslo"}));
    let request = Request::new("Oslo?")
        .with_tool(Tool::new("weather", "now", json!({"type": "object"})))
        .with_message(Message::assistant("").with_part(Part::ToolCall(call("a"))))
        .with_message(Message::tool(call("a").result("3 degrees")))
        .with_message(Message::tool(call("a").result(r#"{"degrees":3}"#)))
        .with_message(Message::tool(call("a").result("down").as_failure()));
    let schema = AnswerSchema::from_json(r#"{"type":"object","properties":{}}"#).unwrap();
    let sent = body(&request, &RequestSettings::default(), &schema);
    assert_eq!(
        sent["tools"],
        json!([{"functionDeclarations": [
            {"name": "weather", "description": "now", "parametersJsonSchema": {"type": "object"}},
        ]}])
    );
    let result =
        |value: Value| json!({"functionResponse": {"id": "a", "name": "weather", "response": value}});
    assert_eq!(
        sent["contents"][2]["parts"],
        json!([
            result(json!({"output": "3 degrees"})),
            result(json!({"degrees": 3})),
            result(json!({"error": "down"})),
        ])
    );
    // A schema beside tools is refused, so the prompt asks for it.
    assert!(sent["generationConfig"].get("responseJsonSchema").is_none());
    assert!(sent["systemInstruction"]["parts"][0]["text"].as_str().unwrap().contains("JSON Schema"));
}

#[test]
fn log_probabilities_and_every_kind_of_token() {
    let token = |text: &str, logprob: f64| json!({"token": text, "tokenId": 1, "logProbability": logprob});
    let response = read(&json!({
        "candidates": [{
            "content": {"role": "model", "parts": [{"text": "Par"}, {"text": "is"}]},
            "finishReason": "STOP", "index": 0, "avgLogprobs": -0.1,
            "logprobsResult": {
                "topCandidates": [
                    {"candidates": [token("Par", -0.06), token("Lon", -3.1)]},
                    {"candidates": [token("is", -0.5), token("ma", -1.5)]},
                ],
                "chosenCandidates": [token("Par", -0.06), token("is", -0.5)],
            },
        }],
        "usageMetadata": {"promptTokenCount": 1200, "cachedContentTokenCount": 1024, "candidatesTokenCount": 2,
                          "thoughtsTokenCount": 64, "toolUsePromptTokenCount": 3, "totalTokenCount": 1269,
                          "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1200}]},
        "modelVersion": "gemini-2.5-flash", "responseId": "abc",
    }));
    assert_eq!((response.text.as_str(), &response.finish), ("Paris", &FinishReason::Stop));
    let token = |text: &str, logprob, alternatives: &[f64]| TokenLogprob {
        bytes: Some(text.as_bytes().into()),
        logprob,
        alternatives: alternatives.to_vec(),
    };
    assert_eq!(
        response.token_logprobs,
        Some(vec![token("Par", -0.06, &[-0.06, -3.1]), token("is", -0.5, &[-0.5, -1.5])])
    );
    let usage = Usage {
        input_tokens: 1203,
        cached_input_tokens: 1024,
        cache_write_tokens: 0,
        output_tokens: 66,
        reasoning_tokens: 64,
    };
    assert_eq!(response.usage, Some(usage));
    assert_eq!(response.served_model.as_deref(), Some("gemini-2.5-flash"));
}

#[test]
fn calls_and_signatures_come_back_with_the_next_turn() {
    let response = read(&json!({
        "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "I think", "thought": true},
            {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "sig"},
            {"functionCall": {"id": "own", "name": "time"}},
        ]}}],
        "responseId": "abc",
    }));
    assert_eq!((response.text.as_str(), &response.finish), ("", &FinishReason::ToolCalls));
    let ids: Vec<_> = response.tool_calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!((ids, response.usage), (vec!["abc-0", "own"], None));
    let request = Request::new("Oslo?").with_message(response.message());
    let sent = body(&request, &RequestSettings::default(), &AnswerSchema::TEXT);
    assert_eq!(
        sent["contents"][1],
        json!({"role": "model", "parts": [
            {"functionCall": {"id": "abc-0", "name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "sig"},
            {"functionCall": {"id": "own", "name": "time", "args": {}}},
        ]})
    );
}

#[test]
fn every_reason_to_stop() {
    for (reason, finish) in [
        (json!("STOP"), FinishReason::Stop),
        (json!(null), FinishReason::Stop),
        (json!("MAX_TOKENS"), FinishReason::Length),
        (json!("SAFETY"), FinishReason::Refused),
        (json!("RECITATION"), FinishReason::Refused),
        (json!("PROHIBITED_CONTENT"), FinishReason::Refused),
        (json!("MALFORMED_FUNCTION_CALL"), FinishReason::Other("MALFORMED_FUNCTION_CALL".into())),
    ] {
        assert_eq!(read(&json!({"candidates": [{"finishReason": reason}]})).finish, finish);
    }
    // A prompt that was blocked has no candidate, and its tokens count.
    let blocked =
        read(&json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}));
    assert_eq!((blocked.finish, blocked.usage.unwrap().input_tokens), (FinishReason::Refused, 9));
}

#[test]
fn errors_say_what_to_do_and_never_quote_the_server() {
    let bad_key = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    let wait = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "41s"}]);
    let long = "The input token count (9) exceeds the maximum number of tokens allowed (8). SECRET";
    let none = json!([]);
    for (status, name, detail, details, kind, part, again) in [
        (400, "INVALID_ARGUMENT", "SECRET", &none, Kind::Status, "INVALID_ARGUMENT", false),
        (400, "INVALID_ARGUMENT", "API key SECRET", &bad_key, Kind::Auth, "api_key_env", false),
        (400, "INVALID_ARGUMENT", long, &none, Kind::TooLarge, "too long", false),
        (403, "PERMISSION_DENIED", "SECRET", &none, Kind::Auth, "PERMISSION_DENIED", false),
        (404, "NOT_FOUND", "SECRET", &none, Kind::Status, "`model`", false),
        (429, "RESOURCE_EXHAUSTED", "SECRET", &wait, Kind::Status, "rate", true),
        (500, "INTERNAL", "SECRET", &none, Kind::Status, "500", true),
        (503, "UNAVAILABLE", "SECRET", &none, Kind::Status, "UNAVAILABLE", true),
    ] {
        let error = json!({"error": {"code": status, "message": detail, "status": name, "details": details}});
        for body in [error.clone(), json!([error])] {
            let error = response::read(&answered(status, &body.to_string())).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (kind, again), "{body}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
            let asked = (details == &wait).then_some(Duration::from_secs(41));
            assert_eq!((error.detail(), error.retry_after()), (Some(detail), asked));
        }
    }
    let header = HttpResponse { retry_after: Some(Duration::from_secs(3)), ..answered(503, "<html>") };
    assert_eq!(response::read(&header).unwrap_err().retry_after(), Some(Duration::from_secs(3)));
}

#[test]
fn what_is_not_an_answer_may_still_cost_money() {
    for body in ["", "{", "null", "{}", r#"{"candidates":[]}"#, r#"{"candidates":7}"#] {
        let error = response::read(&answered(200, body)).unwrap_err();
        assert_eq!(error.kind(), Kind::BadBody, "{body}");
        assert!(error.may_have_been_charged() && !error.is_retryable(), "{body}");
    }
}
