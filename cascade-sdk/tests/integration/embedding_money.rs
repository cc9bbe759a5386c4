//! Embeddings beside budgets, exploration and shadow mode: set aside before they are made, paid once, and asked for by whom the
//! policy's own choice is of interest.

use crate::embeddings::{Does, Names, Own, routed, rules};
use crate::setup::{CONFIG, Tier, builder_of};
use async_trait::async_trait;
use cascade_sdk::embedding::{Embedder, EmbedderError, Embedding};
use cascade_sdk::money::{Usage, Usd};
use cascade_sdk::provider::{Capabilities, ModelCall, Provider, ProviderError, Response};
use cascade_sdk::{Client, Request, TierName};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A tenth of a cent.
const EMBEDDING: &str = "cost_usd = 0.001";

fn config(embedding: &str, rest: &str) -> String {
    let route = CONFIG.replace("[routes.two]\n", "[routes.two]\nbudget = \"b\"\n");
    let route = if rest.contains("[budgets.b]") { route.as_str() } else { CONFIG };
    format!("{route}\n[routes.two.embedding]\nmodel = \"tiny\"\ndimensions = 3\n{embedding}\n{rest}\n")
}

fn budget(limit: &str, on_exceeded: &str) -> String {
    format!("[budgets.b]\nlimit_usd = {limit}\nwindow = \"366d\"\non_exceeded = \"{on_exceeded}\"")
}

fn client(directory: &Path, config: &str, provider: impl Provider + 'static, own: impl Embedder) -> Client {
    let builder = builder_of(directory, config, routed(config, rules()));
    builder.provider("local", provider).embedder("tiny", own).build().unwrap()
}

#[tokio::test]
async fn a_full_budget_refuses_it_before_anybody_is_asked() {
    let own = Own::new(Does::Well);
    let config = config(EMBEDDING, &budget("0.0009", "reject"));
    let client = client(Path::new("/nowhere"), &config, Names, own.clone());
    let error = client.call::<Tier>(1, Request::new("+ hard")).await.unwrap_err();
    assert!(error.is_budget(), "{error}");
    assert_eq!((own.asked(), error.spent(), error.path().len()), (0, Usd::ZERO, 0));
}

#[tokio::test]
async fn a_budget_that_falls_back_answers_without_it() {
    let own = Own::new(Does::Well);
    let config = config(EMBEDDING, &budget("0.0009", "cheapest"));
    let client = client(Path::new("/nowhere"), &config, Names, own.clone());
    // The policy would ask the large tier, if it knew.
    let routed = client.call::<Tier>(1, Request::new("+ hard")).await.unwrap();
    assert_eq!((routed.tier.name(), own.asked()), ("small", 0));
    assert!(routed.embedding.is_none());
}

/// Answers late, and counts who asks.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>);

#[async_trait]
impl Embedder for Slow {
    async fn embed(&self, _: &str) -> Result<Embedding, EmbedderError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(Embedding::new(vec![-1.0, 0.0, 0.0]).with_cost(Usd::from_pico(400_000_000)))
    }
}

#[tokio::test]
async fn what_is_set_aside_for_those_in_flight_is_not_spent_twice() {
    let slow = Slow::default();
    // Room for three at what they may cost, and for more once the first have cost less than half of it.
    let config = config(EMBEDDING, &budget("0.0031", "reject"));
    let client = client(Path::new("/nowhere"), &config, Names, slow.clone());
    let calls = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.call::<Tier>(1, Request::new("- easy")).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut spent = Usd::ZERO;
    for call in calls {
        spent = spent.saturating_add(match call.await.unwrap() {
            Ok(routed) => routed.cost(),
            Err(error) => {
                assert!(error.is_budget(), "{error}");
                error.spent()
            }
        });
    }
    assert_eq!(slow.0.load(Ordering::SeqCst), 3, "the others found no room");
    assert!(spent.pico() <= 3_100_000_000, "{spent}");
    // What was set aside and not spent is free again.
    client.call::<Tier>(1, Request::new("- easy")).await.unwrap();
    assert_eq!(slow.0.load(Ordering::SeqCst), 4);
}

/// Answers with the name of the tier, and says what it used.
#[derive(Debug)]
struct Counted;

#[async_trait]
impl Provider for Counted {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        let usage = Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() };
        Ok(Response::text(call.tier).with_usage(usage))
    }
}

/// The rows of the decision log, once there are so many.
async fn rows(client: &Client, directory: &Path, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        client.flush_decision_log().await;
        let text = std::fs::read_to_string(directory.join("decisions.jsonl")).unwrap_or_default();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if rows.len() >= count {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {count} rows");
}

fn logged(runtime: &str) -> String {
    format!("[routes.two.runtime]\ndecision_log = 'decisions.jsonl'\nexplore = 1.0\n{runtime}")
}

#[tokio::test]
async fn an_explored_request_pays_for_it_once() {
    let directory = tempfile::tempdir().unwrap();
    let own = Own::new(Does::Well);
    let client = client(directory.path(), &config(EMBEDDING, &logged("")), Counted, own.clone());
    let answered = client.call::<Tier>(1, Request::new("+ hard").with_id("q")).await.unwrap();
    assert_eq!(
        (answered.tier, answered.embedding.unwrap().cost),
        (Tier::Large, Usd::from_pico(1_000_000_000))
    );
    let rows = rows(&client, directory.path(), 2).await;
    assert_eq!(rows[0]["embedding"]["cost_usd"], 0.001);
    assert_eq!(rows[0]["cost_usd"], 0.0012);
    assert_eq!(rows[1]["kind"], "exploration");
    assert_eq!(rows[1]["results"].as_object().unwrap().len(), 2);
    assert_eq!(own.asked(), 1);
}

#[tokio::test]
async fn in_shadow_mode_it_is_made_off_the_caller_s_path_and_counted_in_what_the_policy_would_cost() {
    let shadow = "mode = 'shadow'\ncurrent_tier = 'small'";
    let directory = tempfile::tempdir().unwrap();
    let own = Own::new(Does::Well);
    let client = client(directory.path(), &config(EMBEDDING, &logged(shadow)), Counted, own.clone());
    let answered = client.call::<Tier>(1, Request::new("+ hard").with_id("q")).await.unwrap();
    assert_eq!(
        (answered.tier, answered.embedding.is_none(), answered.cost().pico()),
        (Tier::Small, true, 20_000_000)
    );
    let rows = rows(&client, directory.path(), 2).await;
    assert_eq!(
        rows[1]["would"],
        json!({"plan": 1, "path": ["large"], "answered_by": "large", "cost_usd": 0.0012})
    );
    assert_eq!(own.asked(), 1);
}

#[tokio::test]
async fn a_budget_of_explorations_without_room_for_it_makes_none() {
    let keys = "mode = 'shadow'\ncurrent_tier = 'small'\nexplore_budget = 'e'\n\
                [budgets.e]\nlimit_usd = 0.0009\nwindow = '1d'";
    let directory = tempfile::tempdir().unwrap();
    let own = Own::new(Does::Well);
    let client = client(directory.path(), &config(EMBEDDING, &logged(keys)), Counted, own.clone());
    client.call::<Tier>(1, Request::new("+ hard").with_id("q")).await.unwrap();
    let rows = rows(&client, directory.path(), 2).await;
    assert_eq!((&rows[1]["would"], own.asked()), (&Value::Null, 0));
}
