//! Request bodies, and answers as real servers write them (OpenAI, llama.cpp, OpenRouter).

use super::*;
use crate::answer::AnswerSchema;
use crate::provider::ProviderErrorKind;
use crate::provider::testing::{answered, tier};
use crate::request::Request;
use cascade_sdk_core::config::RequestSettings;
use std::time::Duration;

#[test]
fn a_plain_request_has_nothing_that_was_not_asked_for() {
    let (tier, request) = (tier(), Request::new("hi"));
    let settings = RequestSettings::default();
    let call = ModelCall::new(&tier, &settings, &AnswerSchema::TEXT, &request);
    assert_eq!(
        request_body(&call, LengthKey::MaxTokens),
        json!({"model": "qwen-0.5b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 48})
    );
}

#[test]
fn a_full_request_carries_every_setting() {
    let tier = tier();
    let settings = RequestSettings {
        system: Some("route".into()),
        temperature: Some(0.0),
        top_logprobs: Some(5),
        seed: Some(7),
        ..RequestSettings::default()
    };
    let schema = AnswerSchema::from_json(r#"{"type":"string","enum":["a","b"]}"#).unwrap();
    let request = Request::from_messages([
        Message::user("look").with_image("https://example.com/a.png"),
        Message::assistant("seen"),
    ])
    .with_system("own");
    let body =
        request_body(&ModelCall::new(&tier, &settings, &schema, &request), LengthKey::MaxCompletionTokens);
    assert_eq!(
        body,
        json!({
            "model": "qwen-0.5b",
            "messages": [
                {"role": "system", "content": "route\n\nown"},
                {"role": "user", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                ]},
                {"role": "assistant", "content": "seen"},
            ],
            "max_completion_tokens": 48, "temperature": 0.0, "seed": 7, "logprobs": true, "top_logprobs": 5,
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": {
                "type": "object", "properties": {"answer": {"type": "string", "enum": ["a", "b"]}},
                "required": ["answer"], "additionalProperties": false,
            }}},
        })
    );
}

#[test]
fn strict_decoding_is_asked_for_only_where_it_can_hold() {
    let format = |schema: &Value| response_format(schema)["json_schema"].clone();
    let free = json!({"type": "object", "additionalProperties": {"type": "string", "format": "uint32"}});
    assert_eq!(format(&free), json!({"name": "answer", "strict": false, "schema": free}));
    let listed = json!({"type": "object", "properties": {"a": {"const": "x"}}, "required": ["a"]});
    let strict = format(&listed);
    assert_eq!((&strict["strict"], &strict["schema"]["additionalProperties"]), (&json!(true), &json!(false)));
    assert_eq!(strict["schema"]["properties"]["a"], json!({"type": "string", "enum": ["x"]}));
}

#[test]
fn each_server_gets_the_length_key_it_knows() {
    assert_eq!(length_key("api.openai.com"), LengthKey::MaxCompletionTokens);
    assert_eq!(length_key("acme.openai.azure.com"), LengthKey::MaxCompletionTokens);
    assert_eq!(length_key("127.0.0.1"), LengthKey::MaxTokens);
    assert_eq!(length_key("evil-api.openai.com.example"), LengthKey::MaxTokens);
}

/// llama.cpp: the last log-probability entry is the end of the sequence; tokens carry an extra `id`.
const LLAMA: &str = r#"{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"Paris"},
  "logprobs":{"content":[
    {"id":60704,"token":"Paris","bytes":[80,97,114,105,115],"logprob":-0.06,"top_logprobs":[
      {"id":60704,"token":"Paris","bytes":[80,97,114,105,115],"logprob":-0.06},
      {"id":785,"token":"The","bytes":[84,104,101],"logprob":-3.1}]},
    {"id":151645,"token":"","bytes":[],"logprob":-0.4,"top_logprobs":[{"id":151645,"token":"","bytes":[],"logprob":-0.4}]}]}}],
  "created":1760000000,"model":"qwen-0.5b","system_fingerprint":"b1-x","object":"chat.completion",
  "usage":{"completion_tokens":2,"prompt_tokens":31,"total_tokens":33},"id":"chatcmpl-x",
  "timings":{"prompt_n":1,"predicted_n":2}}"#;

#[test]
fn the_end_of_sequence_entry_is_left_out() {
    let response = read_response(&answered(200, LLAMA)).unwrap();
    assert_eq!((response.text.as_str(), &response.finish), ("Paris", &FinishReason::Stop));
    assert_eq!(
        response.token_logprobs,
        Some(vec![TokenLogprob {
            bytes: Some((*b"Paris").into()),
            logprob: -0.06,
            alternatives: vec![-0.06, -3.1],
        }])
    );
    let usage = Usage { input_tokens: 31, output_tokens: 2, ..Usage::default() };
    assert_eq!(response.usage, Some(usage));
    assert_eq!(response.served_model.as_deref(), Some("qwen-0.5b"));
}

#[test]
fn logprobs_that_were_not_sent_are_none_not_empty() {
    for logprobs in ["", r#","logprobs":null"#] {
        let body =
            format!(r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":"stop"{logprobs}}}]}}"#);
        let response = read_response(&answered(200, &body)).unwrap();
        assert_eq!((response.token_logprobs, response.usage), (None, None));
    }
}

#[test]
fn openai_details_of_usage_are_kept() {
    let body = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4.1-nano-2025-04-14",
      "choices":[{"index":0,"message":{"role":"assistant","content":"ok","refusal":null,"annotations":[]},
                  "logprobs":{"content":[{"token":"ok","logprob":-0.1,"bytes":[111,107],"top_logprobs":[]}],"refusal":null},
                  "finish_reason":"length"}],
      "usage":{"prompt_tokens":1200,"completion_tokens":80,"total_tokens":1280,
               "prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},
               "completion_tokens_details":{"reasoning_tokens":64,"audio_tokens":0}},
      "service_tier":"default","system_fingerprint":null}"#;
    let response = read_response(&answered(200, body)).unwrap();
    assert_eq!(response.finish, FinishReason::Length);
    let usage = response.usage.unwrap();
    assert_eq!((usage.cached_input_tokens, usage.reasoning_tokens), (1024, 64));
}

#[test]
fn refusals_and_empty_content_are_answers() {
    let refused = r#"{"choices":[{"message":{"content":null,"refusal":"I can't"},"finish_reason":"stop"}],
                      "usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let response = read_response(&answered(200, refused)).unwrap();
    assert_eq!((response.text.as_str(), response.finish), ("", FinishReason::Refused));
    assert_eq!(response.usage.unwrap().input_tokens, 3);
    let filtered = r#"{"choices":[{"message":{"content":null},"finish_reason":"content_filter"}]}"#;
    assert_eq!(read_response(&answered(200, filtered)).unwrap().finish, FinishReason::Refused);
    let tools = r#"{"choices":[{"message":{"content":null,"tool_calls":[]},"finish_reason":"tool_calls"}]}"#;
    assert_eq!(read_response(&answered(200, tools)).unwrap().finish, FinishReason::ToolCalls);
}

#[test]
fn error_statuses_say_what_to_do_and_never_quote_the_server() {
    use ProviderErrorKind as Kind;
    for (status, body, kind, part) in [
        (
            400,
            r#"{"error":{"code":400,"message":"SECRET","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}"#,
            Kind::TooLarge,
            "5000 tokens, room for 4096",
        ),
        (
            400,
            r#"{"error":{"message":"SECRET","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Kind::TooLarge,
            "too long",
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"SECRET","type":"invalid_request_error"}}"#,
            Kind::Status,
            "invalid_request_error",
        ),
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: SECRET","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            Kind::Auth,
            "api_key_env",
        ),
        (
            401,
            r#"{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}"#,
            Kind::Auth,
            "authentication_error",
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#,
            Kind::Status,
            "base_url",
        ),
        (
            429,
            r#"{"error":{"message":"SECRET","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Kind::Status,
            "rate",
        ),
        (
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            Kind::Status,
            "503",
        ),
        (307, "", Kind::Status, "redirects"),
        (500, "<html>SECRET</html>", Kind::Status, "500"),
        (400, r#"{"error":"SECRET text"}"#, Kind::Status, "400"),
        // A gateway's failure in a successful answer.
        (200, r#"{"error":{"code":502,"message":"SECRET","metadata":{}}}"#, Kind::Status, "502"),
    ] {
        let error = read_response(&answered(status, body)).unwrap_err();
        assert_eq!(error.kind(), kind, "{body}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        assert!(!error.may_have_been_charged(), "{body}");
    }
}

#[test]
fn the_server_s_own_words_are_there_on_request() {
    let body = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
    let error = read_response(&answered(503, body)).unwrap_err();
    assert_eq!((error.detail(), error.is_retryable()), (Some("Loading model"), true));
}

#[test]
fn what_is_not_an_answer_may_still_cost_money() {
    for body in
        ["", "{", "[]", "null", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#, r#"{"choices":7}"#, "\u{0}"]
    {
        let error = read_response(&answered(200, body)).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::BadBody, "{body}");
        assert!(error.may_have_been_charged() && !error.is_retryable(), "{body}");
    }
}

#[test]
fn compatible_servers_write_content_in_many_ways() {
    for (message, text, finish) in [
        (
            json!({"content": "x", "refusal": "", "reasoning_content": "hm", "extra": [1]}),
            "x",
            FinishReason::Stop,
        ),
        (
            json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            "ab",
            FinishReason::Stop,
        ),
        (json!({"content": [{"type": "refusal", "refusal": "no"}]}), "", FinishReason::Refused),
        (json!({"content": []}), "", FinishReason::Stop),
        (json!({}), "", FinishReason::Stop),
    ] {
        let body =
            json!({"choices": [{"message": message, "finish_reason": "stop", "native_finish_reason": "x"}]});
        let response = read_response(&answered(200, &body.to_string())).unwrap();
        assert_eq!((response.text.as_str(), &response.finish), (text, &finish), "{body}");
    }
}

#[test]
fn usage_that_says_nothing_is_missing_not_zero() {
    for (usage, known) in [
        (json!(null), None),
        (json!({}), None),
        (json!({"total_tokens": 9}), None),
        (json!({"prompt_tokens": null, "completion_tokens": null}), None),
        (json!({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": null}), Some((3, 4))),
        (json!({"prompt_tokens": 3, "cost": 0.1}), Some((3, 0))),
    ] {
        let body = json!({"choices": [{"message": {"content": "x"}}], "usage": usage});
        let response = read_response(&answered(200, &body.to_string())).unwrap();
        assert_eq!(response.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), known, "{body}");
    }
}

#[test]
fn multi_byte_characters_are_one_entry_with_all_their_bytes() {
    let entry = |token: &str, bytes: Value| json!({"token": token, "bytes": bytes, "logprob": -0.5, "top_logprobs": []});
    let content = json!([entry("ß", json!([195, 159])), entry("e", json!(null)), entry("", json!(null))]);
    let body = json!({"choices": [{"message": {"content": "ße"}, "logprobs": {"content": content}}],
                      "usage": {"prompt_tokens": 1, "completion_tokens": 4}});
    let response = read_response(&answered(200, &body.to_string())).unwrap();
    let bytes: Vec<_> =
        response.token_logprobs.unwrap().into_iter().filter_map(|token| token.bytes).collect();
    // The entry without text and bytes is the end of the sequence.
    assert_eq!(bytes, ["ß".as_bytes().into(), "e".as_bytes().into()]);
}

#[test]
fn tools_their_calls_and_their_results() {
    let body = json!({"choices": [{"finish_reason": "stop", "message": {"content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}},
        {"type": "function", "function": {"name": "time", "arguments": ""}},
        {"id": "x", "function": {"name": "time", "arguments": {"zone": "UTC"}}},
    ]}}]});
    let response = read_response(&answered(200, &body.to_string())).unwrap();
    assert_eq!(response.finish, FinishReason::ToolCalls);
    assert_eq!(
        response.tool_calls,
        [
            ToolCall::new("call_1", "weather", json!({"city": "Oslo"})),
            ToolCall::new("call-1", "time", json!({})),
            ToolCall::new("x", "time", json!({"zone": "UTC"})),
        ]
    );
    let request = Request::new("Oslo?")
        .with_tool(Tool::new("weather", "now", json!({"type": "object"})))
        .with_message(response.message())
        .with_message(Message::tool(response.tool_calls[0].result("3 degrees")));
    let (mut tier, settings) = (tier(), RequestSettings::default());
    tier.reasoning_effort = Some("low".into());
    let call = ModelCall::new(&tier, &settings, &AnswerSchema::TEXT, &request);
    let sent = request_body(&call, LengthKey::MaxTokens);
    assert_eq!(sent["reasoning_effort"], "low");
    assert_eq!(
        sent["tools"],
        json!([{"type": "function",
                "function": {"name": "weather", "description": "now", "parameters": {"type": "object"}}}])
    );
    assert_eq!(
        sent["messages"][1]["tool_calls"][0],
        json!({"id": "call_1", "type": "function",
               "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}})
    );
    assert_eq!(
        sent["messages"][2],
        json!({"role": "tool", "tool_call_id": "call_1", "content": "3 degrees"})
    );
}

#[test]
fn a_call_whose_arguments_are_not_json_is_no_answer() {
    let body = json!({"choices": [{"message": {"tool_calls": [
        {"id": "a", "function": {"name": "f", "arguments": "{\"SECRET"}}]}}]});
    let error = read_response(&answered(200, &body.to_string())).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::BadBody);
    assert!(error.may_have_been_charged() && !format!("{error:?}").contains("SECRET"));
}

#[test]
fn faults_of_gateways_and_filters() {
    // Azure refuses a prompt by its filter, free of charge.
    let filtered = r#"{"error":{"message":"SECRET","type":null,"param":"prompt","code":"content_filter","status":400,
        "innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
    let response = read_response(&answered(400, filtered)).unwrap();
    assert_eq!((response.finish, response.usage), (FinishReason::Refused, Some(Usage::default())));
    // OpenRouter reports an upstream that broke off inside the choice.
    let broken = r#"{"choices":[{"error":{"code":502,"message":"SECRET"},"finish_reason":"error","message":{"content":"x"}}]}"#;
    let error = read_response(&answered(200, broken)).unwrap_err();
    assert_eq!((error.status(), error.may_have_been_charged()), (Some(502), true));
    // vLLM says in words only that the input is too long.
    let long = r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. SECRET","type":"BadRequestError","param":null,"code":400}"#;
    assert_eq!(read_response(&answered(400, long)).unwrap_err().kind(), ProviderErrorKind::TooLarge);
    // Ollama without the model.
    let missing =
        r#"{"error":{"message":"model SECRET not found","type":"api_error","param":null,"code":null}}"#;
    let error = read_response(&answered(404, missing)).unwrap_err();
    assert!(error.to_string().contains("`model`") && !error.to_string().contains("SECRET"), "{error}");
}

#[test]
fn a_model_that_takes_neither_schema_nor_temperature_gets_neither() {
    let mut tier = tier();
    (tier.json_schema, tier.takes_temperature) = (false, false);
    let settings = RequestSettings {
        system: Some("route".into()),
        temperature: Some(0.0),
        ..RequestSettings::default()
    };
    let schema = AnswerSchema::from_json(r#"{"type":"string","enum":["a"]}"#).unwrap();
    let request = Request::new("hi");
    let call = ModelCall::new(&tier, &settings, &schema, &request);
    let body = request_body(&call, LengthKey::MaxTokens);
    assert!(body.get("temperature").is_none() && body.get("response_format").is_none());
    let system = body["messages"][0]["content"].as_str().unwrap();
    assert!(
        system.starts_with("route\n\nAnswer with a single JSON value") && system.contains(r#""enum":["a"]"#),
        "{system}"
    );
    // No tokenizer makes more of it than was counted.
    assert!(call.input_bound().unwrap() >= system.len() as u64);
}

#[test]
fn timeouts_come_from_the_tier() {
    let (mut tier, request) = (tier(), Request::new("hi"));
    tier.timeout = Some(Duration::from_secs(3));
    let settings = RequestSettings::default();
    assert_eq!(ModelCall::new(&tier, &settings, &AnswerSchema::TEXT, &request).timeout.as_secs(), 3);
}
