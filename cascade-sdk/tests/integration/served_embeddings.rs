//! Embeddings of a provider's `/embeddings` endpoint: what is sent, what it costs, and what becomes of a server that misbehaves.

use crate::embeddings::{Does, Names, Own, routed, rules};
use crate::server::{Act, Server, http};
use crate::setup::{CONFIG, Tier, builder_of};
use cascade_sdk::embedding::EmbeddingFailure;
use cascade_sdk::money::Usd;
use cascade_sdk::{Builder, Error, Request, Routed, TierName};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// A variable that every process has stands for a key.
fn key() -> String {
    std::env::var("PATH").unwrap()
}

fn config(server: &Server, extra: &str) -> String {
    format!(
        "{CONFIG}\n[providers.vectors]\napi = \"openai\"\nbase_url = \"{}\"\napi_key_env = \"PATH\"\n\n\
         [routes.two.embedding]\nmodel = \"tiny\"\ndimensions = 3\nprovider = \"vectors\"\n\
         usd_per_million_tokens = 0.020003\n{extra}\n",
        server.base_url
    )
}

fn builder(config: &str) -> Builder {
    builder_of(Path::new("/nowhere"), config, routed(config, rules())).provider("local", Names)
}

async fn ask(server: &Server, extra: &str, request: Request) -> Result<Routed<String, Tier>, Error> {
    builder(&config(server, extra)).build().unwrap().call::<Tier>(1, request).await
}

/// A vector that asks for the large tier, of seven tokens.
fn vector() -> Act {
    reply(&json!({"object": "list", "model": "tiny", "data": [{"index": 0, "embedding": [1.5, 0.25, -0.25]}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7}}))
}

fn reply(body: &Value) -> Act {
    http(200, "content-type: application/json\r\n", &body.to_string())
}

/// Seven tokens at 0.020003 dollars a million.
const COST: Usd = Usd::from_pico(7 * 20_003);

#[tokio::test]
async fn the_text_is_sent_once_and_costs_its_tokens_times_their_price() {
    let server = Server::start([vector()]).await;
    let routed = ask(&server, "", Request::new("hello")).await.unwrap();
    let used = routed.embedding.as_ref().unwrap();
    assert_eq!((routed.tier.name(), used.cost, used.estimated), ("large", COST, Usd::ZERO));
    let calls = routed.path.iter().fold(Usd::ZERO, |sum, step| sum.saturating_add(step.total_cost()));
    assert_eq!(routed.cost(), calls.saturating_add(COST));
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/embeddings HTTP/1.1"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {}", key())));
    assert_eq!(
        serde_json::from_str::<Value>(body).unwrap(),
        json!({"model": "tiny", "input": "hello", "encoding_format": "float"})
    );
}

#[tokio::test]
async fn the_length_is_sent_where_the_configuration_says_so() {
    let server = Server::start([vector()]).await;
    ask(&server, "send_dimensions = true", Request::new("hello")).await.unwrap();
    assert!(server.requests()[0].contains("\"dimensions\":3"));
}

#[tokio::test]
async fn a_text_without_a_word_is_not_sent() {
    let server = Server::start([vector()]).await;
    let routed = ask(&server, "", Request::new("")).await.unwrap();
    assert_eq!((routed.embedding.as_ref().unwrap().cost, server.requests().len()), (Usd::ZERO, 0));
}

#[tokio::test]
async fn an_embedder_of_the_application_and_a_replaced_provider_come_first() {
    let server = Server::start([vector()]).await;
    let config = config(&server, "");
    let own = Own::new(Does::Well);
    let client = builder(&config).embedder("tiny", own.clone()).build().unwrap();
    let routed = client.call::<Tier>(1, Request::new("- easy")).await.unwrap();
    assert_eq!((routed.tier.name(), own.asked(), server.requests().len()), ("small", 1, 0));
    let error = builder(&config).provider("vectors", Names).build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("which nobody makes"), "{error}");
}

#[tokio::test]
async fn a_missing_key_is_found_when_the_client_is_built() {
    let server = Server::start([vector()]).await;
    let config =
        config(&server, "").replace("api_key_env = \"PATH\"", "api_key_env = \"CASCADE_NO_SUCH_KEY\"");
    let error = builder(&config).build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("`CASCADE_NO_SUCH_KEY`"), "{error}");
}

#[tokio::test]
async fn what_may_succeed_later_is_sent_again_and_nothing_else() {
    let at_once = "retry-after-ms: 1\r\n";
    for status in [408, 409, 429, 500, 503] {
        let server = Server::start([http(status, at_once, "{}"), vector()]).await;
        let routed = ask(&server, "", Request::new("hello")).await.unwrap();
        assert_eq!((routed.embedding.unwrap().cost, server.requests().len()), (COST, 2), "{status}");
    }
    for (act, word) in [
        (http(400, at_once, "{}"), "status"),
        (http(501, at_once, "{}"), "status"),
        (http(401, at_once, "{}"), "auth"),
        (http(429, "retry-after: 60\r\n", "{}"), "status"),
        // Longer than `timeout_s`.
        (http(503, "retry-after: 11\r\n", "{}"), "status"),
        // Perhaps paid for already.
        (Act::Close, "connection"),
    ] {
        let server = Server::start([act, vector()]).await;
        let routed = ask(&server, "on_failure = \"small\"", Request::new("hello")).await.unwrap();
        let used = routed.embedding.unwrap();
        assert_eq!((routed.tier.name(), used.failure.unwrap().log_word()), ("small", word));
        assert_eq!(server.requests().len(), 1, "{word}");
    }
    let server = Server::start([http(500, at_once, "{}")]).await;
    let error = ask(&server, "", Request::new("hello")).await.unwrap_err();
    assert!(error.is_embedding() && error.to_string().contains("status 500"), "{error}");
    assert_eq!((server.requests().len(), error.spent()), (3, Usd::ZERO), "as often as any call");
}

#[tokio::test]
async fn what_cannot_be_used_is_paid_for_and_another_tier_answers() {
    let vector_of = |vector: Value| {
        reply(&json!({"data": [{"index": 0, "embedding": vector}], "usage": {"prompt_tokens": 7}}))
    };
    // No text has more tokens than bytes, give or take what a server adds to it.
    let most = Usd::from_pico((32 + 5) * 20_003);
    for (act, word, cost) in [
        (vector_of(json!([1.0, 2.0])), "length", COST),
        (vector_of(json!([1e39, 0.0, 0.0])), "bad_body", most),
        (vector_of(json!("AACAPwAAAEAAAEBA")), "bad_body", most),
        (vector_of(json!([1.0, null, 0.0])), "bad_body", most),
        (reply(&json!({"data": []})), "bad_body", most),
        (reply(&json!([])), "bad_body", most),
        (http(200, "", "hello"), "bad_body", most),
        (
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"data\":[{\"emb".to_vec()),
            "connection",
            most,
        ),
        (Act::Endless("application/json", b" "), "too_long", most),
    ] {
        let server = Server::start([act, vector()]).await;
        let routed = ask(&server, "on_failure = \"small\"", Request::new("hello")).await.unwrap();
        let used = routed.embedding.as_ref().unwrap();
        assert_eq!(used.failure.as_ref().map(EmbeddingFailure::log_word), Some(word));
        assert_eq!((routed.tier.name(), used.cost, server.requests().len()), ("small", cost, 1), "{word}");
        assert_eq!(used.estimated, if cost == most { most } else { Usd::ZERO });
        let calls =
            routed.path.iter().fold(Usd::ZERO, |sum, step| sum.saturating_add(step.total_estimated()));
        assert_eq!(routed.estimated(), calls.saturating_add(used.estimated));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Server::start([Act::Hang]).await;
    let extra = "timeout_s = 0.05\non_failure = \"small\"";
    let routed = ask(&server, extra, Request::new("hello")).await.unwrap();
    assert_eq!(routed.embedding.unwrap().failure.unwrap().log_word(), "timeout");
    let request = Request::new("hello").with_deadline(Duration::from_millis(40));
    let error = ask(&server, "", request).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.spent(), Usd::from_pico((32 + 5) * 20_003), "it was sent, so perhaps charged");
}

#[tokio::test]
async fn a_budget_without_room_for_it_sends_nothing() {
    let server = Server::start([vector()]).await;
    let budget = "[budgets.tiny]\nlimit_usd = 0.000000000001\nwindow = \"1h\"\n";
    let config = config(&server, budget).replace("[routes.two]\n", "[routes.two]\nbudget = \"tiny\"\n");
    let error = builder(&config).build().unwrap().call::<Tier>(1, Request::new("hello")).await.unwrap_err();
    assert!(error.is_budget(), "{error}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn neither_key_nor_text_shows_in_what_is_said_of_a_failure() {
    let key = key();
    let error = json!({"error": {"message": format!("bad key {key} for hello"), "type": key, "code": key}})
        .to_string();
    let acts = [400, 401, 403, 404, 413, 429, 500]
        .map(|status| http(status, &format!("retry-after-ms: 1\r\nwww-authenticate: {key}\r\n"), &error));
    let location = format!("location: http://127.0.0.1:1/?key={key}\r\n");
    let others = [http(200, "", &error), http(200, "", &key), http(307, &location, ""), Act::Close];
    for act in acts.into_iter().chain(others) {
        let server = Server::start([act]).await;
        let client = builder(&config(&server, "")).max_retries(1).build().unwrap();
        let failed = client.call::<Tier>(1, Request::new("hello")).await.unwrap_err();
        let client = builder(&config(&server, "on_failure = \"small\"")).max_retries(1).build().unwrap();
        let routed = client.call::<Tier>(1, Request::new("hello")).await.unwrap();
        let failure = routed.embedding.as_ref().unwrap().failure.as_ref().unwrap();
        let shown = format!("{client:?} {failed} {failed:?} {routed:?} {failure} {failure:?}");
        assert!(server.requests().iter().all(|request| request.contains(&key)));
        assert!(!shown.contains(&key) && !shown.contains("hello"), "{shown}");
    }
}
