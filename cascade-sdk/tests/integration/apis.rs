//! Every wire format over a real connection: what is sent where, what comes back, what it costs.

use crate::server::{Server, http};
use crate::setup::{Tier, baked, drained, leak, route};
use cascade_sdk::__private::v1::RouteSpec;
use cascade_sdk::money::Usd;
use cascade_sdk::provider::{FinishReason, ModelCall, ProviderError, Response, connect};
use cascade_sdk::{AnswerSchema, Client, Error, Failure, Message, Part, Request, Tool, ToolCall, Turn};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// A client with one route to one tier of an api. `PATH` is a variable that every test process has set.
fn client(server: &Server, api: &str, provider: &str, tier: &str, request: &str) -> Result<Client, Error> {
    let address = server.base_url.trim_end_matches("/v1");
    let config = format!(
        "schema = 1\n[providers.p]\napi = \"{api}\"\nbase_url = \"{address}/base\"\napi_key_env = \"PATH\"\n{provider}\n\
         [tiers.small]\nprovider = \"p\"\nmodel = \"m\"\nprice = {{ input = 1.0, cached_input = 0.5, output = 2.0 }}\n{tier}\n\
         [routes.one]\ntiers = [\"small\"]\n[routes.one.request]\n{request}\n"
    );
    let schema = request.contains("schema").then(|| leak(AnswerSchema::of::<Team>().to_json()));
    baked(Path::new("."), &config, vec![RouteSpec { schema, ..route("one") }]).build()
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Team {
    Billing,
    Technical,
}

const LENGTH: &str = "max_output_tokens = 50";
const TYPED: &str = "answer = { schema = \"team.json\" }";

fn ok(body: &Value) -> crate::server::Act {
    http(200, "content-type: application/json\r\n", &body.to_string())
}

fn anthropic(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "model": "served", "stop_reason": "end_turn",
           "content": [{"type": "text", "text": text}],
           "usage": {"input_tokens": 10, "cache_read_input_tokens": 20, "output_tokens": 4}})
}

fn gemini(text: &str) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP",
             "logprobsResult": {"chosenCandidates": [{"token": text, "logProbability": -0.1}]}}],
           "usageMetadata": {"promptTokenCount": 30, "cachedContentTokenCount": 20, "candidatesTokenCount": 3,
                             "thoughtsTokenCount": 1}, "modelVersion": "served"})
}

/// Head, in lower case, and body of the only request.
fn only_request(server: &Server) -> (String, Value) {
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), serde_json::from_str(body).unwrap())
}

/// 10 fresh, 20 cached and 4 output tokens at 1, 0.5 and 2 dollars a million.
const COST: Usd = Usd::from_pico((10 + 10 + 8) * 1_000_000);

#[tokio::test]
async fn anthropic_answers_and_costs_tokens_times_price() {
    let server = Server::start([ok(&anthropic(r#"{"answer":"billing"}"#))]).await;
    let client = client(&server, "anthropic", "", LENGTH, TYPED).unwrap();
    let routed = client.call::<Tier>(0, "hello").answer::<Team>().await.unwrap();
    assert_eq!((routed.cost(), routed.answer), (COST, Team::Billing));
    assert_eq!(routed.path[0].served_model.as_deref(), Some("served"));
    let (head, body) = only_request(&server);
    let key = std::env::var("PATH").unwrap().to_lowercase();
    assert!(head.starts_with("post /base/messages http/1.1"), "{head}");
    assert!(head.contains(&format!("x-api-key: {key}\r\n")) && !head.contains("authorization"));
    assert!(head.contains("anthropic-version: 2023-06-01\r\n"));
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
}

#[tokio::test]
async fn gemini_answers_with_signals_and_its_key_is_in_no_url() {
    let server = Server::start([ok(&gemini("billing"))]).await;
    let client = client(&server, "gemini", "", LENGTH, "top_logprobs = 0").unwrap();
    let routed = client.call::<Tier>(0, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.cost()), ("billing", COST));
    assert_eq!(routed.path[0].signals.get("mean_logprob"), Some(&-0.1));
    assert_eq!(routed.usage().reasoning_tokens, 1);
    let (head, body) = only_request(&server);
    let key = std::env::var("PATH").unwrap().to_lowercase();
    let (first, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(first, "post /base/models/m:generatecontent http/1.1");
    assert!(headers.contains(&format!("x-goog-api-key: {key}\r\n")));
    assert_eq!(body["generationConfig"]["responseLogprobs"], true);
}

#[tokio::test]
async fn azure_has_its_key_header_its_version_and_its_path() {
    let body = json!({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
                      "usage": {"prompt_tokens": 30, "completion_tokens": 4}});
    let server = Server::start([ok(&body)]).await;
    let provider = "api_key_header = \"api-key\"\nquery = { api-version = \"2024-10-21\" }\n\
                    headers = { x-team = \"support\" }\nlength_key = \"max_completion_tokens\"";
    let client = client(&server, "openai", provider, LENGTH, "").unwrap();
    assert_eq!(client.call::<Tier>(0, "hello").await.unwrap().answer, "hi");
    let (head, body) = only_request(&server);
    assert!(head.starts_with("post /base/chat/completions?api-version=2024-10-21 http/1.1"), "{head}");
    assert!(head.contains("\r\napi-key: ") && head.contains("\r\nx-team: support\r\n"));
    assert!(!head.contains("authorization"));
    assert_eq!(body["max_completion_tokens"], 50);
}

/// What each api streams for a sentence and a call of `weather`.
fn streamed_turns() -> [(&'static str, String); 3] {
    let events = |events: &[Value]| {
        events.iter().fold(String::new(), |text, event| format!("{text}data: {event}\n\n"))
    };
    let openai = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let piece = |name: Option<&str>, arguments: &str| {
        let mut call = json!({"index": 0, "function": {"arguments": arguments}});
        if let Some(name) = name {
            call["id"] = json!("a");
            call["function"]["name"] = json!(name);
        }
        openai(json!({ "tool_calls": [call] }))
    };
    let named = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    let anthropic: String = [
        json!({"type": "message_start", "message": {"type": "message", "role": "assistant", "model": "served", "content": [],
               "usage": {"input_tokens": 10, "cache_read_input_tokens": 20, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I look."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1,
               "content_block": {"type": "tool_use", "id": "a", "name": "weather", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"city\":"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "\"Oslo\"}"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}}),
        json!({"type": "message_stop"}),
    ]
    .into_iter()
    .fold(String::new(), |text, event| text + &named(event));
    let gemini = |parts: Value, finish: Option<&str>| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}],
               "usageMetadata": {"promptTokenCount": 30, "cachedContentTokenCount": 20, "candidatesTokenCount": 4},
               "modelVersion": "served"})
    };
    [
        (
            "openai",
            events(&[
                openai(json!({"role": "assistant", "content": "I look."})),
                piece(Some("weather"), ""),
                piece(None, "{\"city\":"),
                piece(None, "\"Oslo\"}"),
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
                json!({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 4,
                       "prompt_tokens_details": {"cached_tokens": 20}}}),
            ]) + "data: [DONE]\n\n",
        ),
        ("anthropic", anthropic),
        (
            "gemini",
            events(&[
                gemini(json!([{"text": "I look."}]), None),
                gemini(json!([{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}]), None),
                gemini(json!([{"text": ""}]), Some("STOP")),
            ]),
        ),
    ]
}

#[tokio::test]
async fn every_api_streams_tool_calls_typed_and_whole() {
    for (api, body) in streamed_turns() {
        let server = Server::start([http(200, "content-type: text/event-stream\r\n", &body)]).await;
        let client = client(&server, api, "", LENGTH, "tools = true").unwrap();
        let tool = Tool::new(
            "weather",
            "now",
            json!({"type": "object", "properties": {"city": {"type": "string"}}}),
        );
        let call = client.call::<Tier>(0, Request::new("Oslo?").with_tool(tool));
        let (shown, routed) = drained(call.stream_turn::<String>()).await;
        let routed = routed.unwrap_or_else(|error| panic!("{api}: {error}"));
        let Turn::ToolCalls(calls) = &routed.answer else { panic!("{api}: {routed:?}") };
        assert_eq!((shown.concat().as_str(), calls.len()), ("I look.", 1), "{api}");
        assert_eq!(calls[0].name, "weather", "{api}");
        assert_eq!(calls[0].arguments, json!({"city": "Oslo"}), "{api}");
        assert_eq!(routed.cost(), COST, "{api}");
        // The turn goes into the next request as it was.
        let turn = routed.turn().unwrap();
        assert!(
            turn.parts.iter().any(|part| matches!(part, Part::ToolCall(call) if call == &calls[0])),
            "{api}"
        );
        let (_, sent) = only_request(&server);
        assert!(sent["tools"].is_array(), "{api}");
    }
}

/// Streams one call of an api over a real connection.
async fn streamed(api: &str, body: &str) -> (Result<Response, ProviderError>, String) {
    let act = http(200, "content-type: text/event-stream\r\n", body);
    let server = Server::start([act]).await;
    let text = format!(
        "schema = 1\n[providers.p]\napi = \"{api}\"\nbase_url = \"{}\"\n[tiers.small]\nprovider = \"p\"\nmodel = \"m\"\n\
         price = {{ input = 1.0, output = 2.0 }}\n{LENGTH}\n[routes.one]\ntiers = [\"small\"]\n",
        server.base_url
    );
    let config = config::read(&Source::new("cascade.toml", text)).0.unwrap();
    let provider = connect(&config.providers[0], None, &|_| None).unwrap();
    let (settings, request) = (config.routes[0].request.clone(), Request::new("hello"));
    let call = ModelCall::new(&config.tiers[0], &settings, &AnswerSchema::TEXT, &request);
    let response = match provider.stream(&call).await {
        Ok(stream) => stream.into_response().await,
        Err(error) => Err(error),
    };
    (response, server.requests().remove(0))
}

#[tokio::test]
async fn every_api_streams_the_same_answer() {
    let anthropic = "event: message_start\n\
        data: {\"type\":\"message_start\",\"message\":{\"model\":\"served\",\"usage\":{\"input_tokens\":30,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\n\
        data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n\
        event: message_delta\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let piece = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":\"STOP\"}],\
        \"usageMetadata\":{\"promptTokenCount\":30,\"candidatesTokenCount\":4},\"modelVersion\":\"served\"}";
    let gemini = format!("data: {piece}\r\n\r\n");
    let openai = "data: {\"model\":\"served\",\"choices\":[{\"index\":0,\"delta\":{\"content\":null}}]}\n\n\
        data: {\"model\":\"served\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    for (api, body, path) in [
        ("anthropic", anthropic, "POST /v1/messages HTTP"),
        ("gemini", &gemini, "POST /v1/models/m:streamGenerateContent?alt=sse HTTP"),
        ("openai", openai, "POST /v1/chat/completions HTTP"),
    ] {
        let (response, request) = streamed(api, body).await;
        let response = response.unwrap();
        let usage = response.usage.unwrap();
        assert_eq!((response.text.as_str(), usage.input_tokens, usage.output_tokens), ("hi", 30, 4), "{api}");
        assert_eq!((response.finish, response.served_model.as_deref()), (FinishReason::Stop, Some("served")));
        assert!(request.starts_with(path), "{request}");
        // Cut anywhere before the reason to stop, it is no answer, and may be charged.
        let reason =
            body.find("stop_reason").or(body.find("finishReason")).or(body.find("finish_reason")).unwrap();
        for cut in (0..reason).step_by(7) {
            let error = streamed(api, &body[..cut]).await.0.unwrap_err();
            assert!(error.may_have_been_charged(), "{api} at {cut}: {error:?}");
        }
    }
}

#[tokio::test]
async fn errors_of_every_api_keep_their_wait_and_their_secrets() {
    let anthropic_error =
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "SECRET"}});
    let gemini_error = json!({"error": {"code": 429, "message": "SECRET", "status": "RESOURCE_EXHAUSTED"}});
    for (api, body) in [("anthropic", anthropic_error), ("gemini", gemini_error)] {
        let act = http(429, "retry-after: 3600\r\n", &body.to_string());
        let server = Server::start([act]).await;
        let client = client(&server, api, "", LENGTH, "").unwrap();
        let error = client.call::<Tier>(0, "SECRET").await.unwrap_err();
        assert!(error.is_provider() && error.to_string().contains("rate"), "{error}");
        assert_eq!((error.retry_after().map(|wait| wait.as_secs()), error.spent()), (Some(3600), Usd::ZERO));
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[tokio::test]
async fn a_fence_around_json_is_a_failed_answer_that_is_paid_for() {
    let server = Server::start([ok(&anthropic("```json\n{\"answer\":\"billing\"}\n```"))]).await;
    let client = client(&server, "anthropic", "", &format!("{LENGTH}\njson_schema = false"), TYPED).unwrap();
    let error = client.call::<Tier>(0, "hello").answer::<Team>().await.unwrap_err();
    assert!(error.is_answer(), "{error}");
    assert_eq!(error.spent(), COST);
    assert!(matches!(error.path()[0].failure, Some(Failure::Answer(_))));
    let (_, body) = only_request(&server);
    // The schema is asked for in words, and in no other way.
    assert!(body["system"].as_str().unwrap().contains("JSON Schema"));
    assert!(body.get("output_config").is_none());
}

#[tokio::test]
async fn what_a_tier_cannot_be_sent_is_refused_before_anything_is_sent() {
    let server = Server::start([ok(&anthropic("hi"))]).await;
    let tools = client(&server, "anthropic", "", LENGTH, "tools = true").unwrap();
    let plain = client(&server, "anthropic", "", &format!("{LENGTH}\nimages = false"), "").unwrap();
    let tool = || Tool::new("t", "", json!({"type": "object"}));
    let foreign = cascade_sdk::Bound::new("gemini", json!({}));
    let history = |part| Request::new("hi").with_message(Message::assistant("").with_part(part));
    let unknown = ToolCall::new("a", "t", json!({})).result("x");
    for (client, request, part) in [
        (&plain, Request::new("hi").with_tool(tool()), "tools = true"),
        (&plain, Request::from_messages([Message::user("hi").with_image("https://a/b.png")]), "images"),
        (
            &tools,
            Request::new("hi").with_tool(Tool::new("a b", "", json!({"type": "object"}))),
            "name of a tool",
        ),
        (&tools, history(Part::Bound(foreign)), "api `gemini`"),
        (
            &tools,
            history(Part::ToolCall(ToolCall::new("a:b", "t", json!({})))),
            "the id of an earlier tool call",
        ),
        (&tools, Request::new("hi").with_message(Message::tool(unknown)), "no earlier message"),
    ] {
        let error = client.call::<Tier>(0, request).await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains(part), "{error}");
    }
    assert!(server.requests().is_empty());
    // At the start already, since no request could get past it.
    let error = client(&server, "anthropic", "", "", "").unwrap_err();
    assert!(error.is_config() && error.to_string().contains("max_output_tokens"), "{error}");
}
