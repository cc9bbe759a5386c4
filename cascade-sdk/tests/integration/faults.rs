//! What the client sends, and what it makes of answers and failures.

use crate::server::{Act, Server, completion, http};
use crate::setup::{CONFIG, Tier, builder};
use cascade_sdk::money::Usd;
use cascade_sdk::{Client, Failure};
use std::path::Path;
use std::time::{Duration, Instant};

const ONE: usize = 0;
const TWO: usize = 1;

/// 30 input tokens at 10 and 4 output tokens at 20 dollars a million.
const LARGE: Usd = Usd::from_pico((30 * 10 + 4 * 20) * 1_000_000);

fn client(server: &Server) -> Client {
    builder(Path::new("."), CONFIG).base_url(&server.base_url).build().unwrap()
}

#[tokio::test]
async fn a_request_has_the_shape_of_its_route_and_costs_tokens_times_price() {
    let server = Server::start([completion("sure", -0.1)]).await;
    let routed = client(&server).call::<Tier>(TWO, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("sure", Tier::Small));
    assert_eq!(routed.cost(), Usd::from_pico((30 + 4 * 2) * 1_000_000));
    assert_eq!(routed.path[0].signals.get("mean_logprob"), Some(&-0.1));
    assert_eq!(routed.path[0].served_model.as_deref(), Some("served"));
    let request = server.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"model": "s", "messages": [{"role": "user", "content": "hello"}],
                           "max_tokens": 50, "logprobs": true, "top_logprobs": 2})
    );
}

#[tokio::test]
async fn a_doubtful_answer_escalates_to_the_large_model() {
    let server = Server::start([completion("hm", -0.7), completion("sure", -0.1)]).await;
    let routed = client(&server).call::<Tier>(TWO, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier, routed.path.len()), ("sure", Tier::Large, 2));
    assert_eq!(routed.cost(), Usd::from_pico((30 + 4 * 2) * 1_000_000).checked_add(LARGE).unwrap());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_the_next_tier_asked() {
    let server = Server::start([Act::Hang, completion("sure", -0.1)]).await;
    let routed = client(&server).call::<Tier>(TWO, "hello").await.unwrap();
    assert_eq!(routed.tier, Tier::Large);
    assert!(routed.path[0].failure.as_ref().is_some_and(Failure::is_timeout));
    // Sent, so perhaps charged: 50 output tokens at two dollars a million, and the input.
    assert!(routed.estimated() > Usd::from_pico(100 * 1_000_000));
    assert_eq!(routed.cost(), routed.estimated().checked_add(LARGE).unwrap());
}

#[tokio::test]
async fn a_server_that_is_not_there_costs_nothing() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = builder(Path::new("."), CONFIG).base_url(format!("http://{unused}/v1")).build().unwrap();
    let error = client.call::<Tier>(ONE, "hello").await.unwrap_err();
    assert!(error.is_provider() && error.to_string().contains("cannot connect"), "{error}");
    assert_eq!((error.spent(), error.path()[0].retries.len()), (Usd::ZERO, 2));
}

#[tokio::test]
async fn the_server_s_wait_is_honoured() {
    let server = Server::start([http(503, "retry-after: 1\r\n", "{}"), completion("sure", -0.1)]).await;
    let started = Instant::now();
    let routed = client(&server).call::<Tier>(ONE, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.path[0].retries.len()), ("sure", 1));
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!((routed.cost(), routed.estimated()), (LARGE, Usd::ZERO));
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_passed_on() {
    let server = Server::start([http(429, "retry-after: 3600\r\n", "{}")]).await;
    let error = client(&server).call::<Tier>(ONE, "hello").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_refusal_costs_and_escalates() {
    let refusal = r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}],
                      "usage":{"prompt_tokens":30,"completion_tokens":4}}"#;
    let server = Server::start([http(200, "", refusal), completion("sure", -0.1)]).await;
    let routed = client(&server).call::<Tier>(TWO, "hello").await.unwrap();
    assert_eq!(routed.tier, Tier::Large);
    assert_eq!(routed.path[0].cost, Usd::from_pico((30 + 4 * 2) * 1_000_000));
    assert!(matches!(routed.path[0].failure, Some(Failure::Refused)));
}

#[test]
fn a_missing_key_is_reported_before_any_call() {
    let error = builder(Path::new("."), CONFIG).build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("CASCADE_TEST_KEY"), "{error}");
}
