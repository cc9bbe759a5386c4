//! The decision log: what is in it, what is not, and what exploring and shadow mode add.

use crate::setup::{CONFIG, Tier, builder};
use async_trait::async_trait;
use cascade_sdk::money::Usage;
use cascade_sdk::provider::{
    Capabilities, FinishReason, ModelCall, Provider, ProviderError, ProviderErrorKind, Response,
};
use cascade_sdk::{Client, Request, Session};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The small tier is sure of short prompts only.
#[derive(Debug)]
struct Models;

#[async_trait]
impl Provider for Models {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.own_signals = true;
        capabilities
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        let text = call.request.routing_text();
        if text == "hang" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        if text == "down" && call.tier == "large" {
            return Err(ProviderError::new(ProviderErrorKind::Connection, "no route to host"));
        }
        let sure = if text.len() < 20 { -0.1 } else { -0.9 };
        let usage = Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() };
        let mut response = Response::text(format!("answer of {}", call.tier))
            .with_usage(usage)
            .with_signal("mean_logprob", sure);
        if text == "cut" {
            response.finish = FinishReason::Length;
        }
        Ok(response)
    }
}

const LONG: &str = "a private question that is long";

fn client(directory: &Path, runtime: &str) -> Client {
    let config =
        format!("{CONFIG}\n[routes.two.runtime]\ndecision_log = 'logs/decisions.jsonl'\n{runtime}\n");
    builder(directory, &config).provider("local", Models).build().unwrap()
}

fn rows(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("logs/decisions.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows, once there are so many.
async fn rows_of(client: &Client, directory: &Path, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        client.flush_decision_log().await;
        let rows = rows(directory);
        if rows.len() >= count {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} rows instead of {count}", rows(directory).len());
}

async fn ask(client: &Client, id: &str, text: &str) {
    client.call::<Tier>(1, Request::new(text).with_id(id)).await.unwrap();
}

#[tokio::test]
async fn a_request_leaves_one_row_without_its_prompt() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "");
    let request =
        Request::new(LONG).with_id("q-1").with_tenant("acme").feature("length", 31.0).tag("kind", "x");
    let routed = client.call::<Tier>(1, request).await.unwrap();
    client.feedback("q-1", 0.75).unwrap();
    client.feedback_for("q-1", Tier::Small, 0.0).unwrap();
    client.flush_decision_log().await;
    let rows = rows(directory.path());
    assert_eq!(rows.len(), 3);
    let row = &rows[0];
    for (key, value) in [
        ("schema", json!(1)),
        ("kind", json!("decision")),
        ("id", json!("q-1")),
        ("route", json!("two")),
        ("package", json!("test")),
        ("mode", json!("policy")),
        ("policy", json!({"source": "baked_in", "hash": routed.policy_hash})),
        ("plan", json!(0)),
        ("plan_tiers", json!(["small", "large"])),
        ("tenant", json!("acme")),
        ("features", json!({"length": 31.0})),
        ("tags", json!({"kind": "x"})),
        ("prompt_bytes", json!(LONG.len())),
        ("outcome", json!("answered")),
        ("answered_by", json!("large")),
        ("cost_usd", json!(routed.cost().to_f64())),
    ] {
        assert_eq!(row[key], value, "{key} in {row}");
    }
    let small = &row["path"][0];
    assert_eq!(
        (&small["tier"], &small["model"], &small["decision"], &small["why"]),
        (&json!("small"), &json!("s"), &json!("escalate"), &json!("below_threshold"))
    );
    assert_eq!((&small["score"], &small["at_least"]), (&json!(-0.9), &json!(-0.2)));
    assert_eq!((&small["cost_usd"], &small["input_tokens"]), (&json!(0.00002), &json!(10)));
    assert_eq!(small["request_hash"].as_str().unwrap().len(), 64);
    assert_eq!(row["path"][1]["decision"], "accept");
    for absent in ["input", "forced", "failover", "kept_for_budget", "paced", "explored", "estimated_usd"] {
        assert_eq!(row[absent], Value::Null, "{absent}");
    }
    let text = std::fs::read_to_string(directory.path().join("logs/decisions.jsonl")).unwrap();
    assert!(!text.contains("private") && !text.contains("answer of"), "{text}");
    assert_eq!((&rows[1]["kind"], &rows[1]["score"]), (&json!("feedback"), &json!(0.75)));
    assert_eq!((&rows[2]["tier"], &rows[2]["score"]), (&json!("small"), &json!(0.0)));
    assert!(client.feedback("q-1", 1.5).unwrap_err().is_config());
}

#[tokio::test]
async fn prompts_and_answers_are_logged_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "log_prompts = true");
    ask(&client, "q-1", LONG).await;
    client.flush_decision_log().await;
    let row = &rows(directory.path())[0];
    assert_eq!(row["input"], LONG);
    assert_eq!(
        (&row["path"][0]["output"], &row["path"][1]["output"]),
        (&json!("answer of small"), &json!("answer of large"))
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_row_with_the_worst_case() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "");
    let gone = tokio::time::timeout(Duration::from_millis(50), async {
        client.call::<Tier>(1, Request::new("hang").with_id("q-1")).await.map(drop)
    });
    assert!(gone.await.is_err());
    client.flush_decision_log().await;
    let row = &rows(directory.path())[0];
    assert_eq!((&row["outcome"], &row["answered_by"]), (&json!("cancelled"), &Value::Null));
    assert!(row["estimated_usd"].as_f64().unwrap() > 0.0 && row["cost_usd"] == row["estimated_usd"], "{row}");
}

#[tokio::test]
async fn explored_requests_run_every_tier_off_the_caller_s_path() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "explore = 1.0");
    let routed = client.call::<Tier>(1, Request::new("short").with_id("q-1")).await.unwrap();
    assert_eq!((routed.tier, routed.path.len()), (Tier::Small, 1));
    let rows = rows_of(&client, directory.path(), 2).await;
    assert_eq!((&rows[0]["kind"], &rows[0]["explored"]), (&json!("decision"), &json!(true)));
    let row = &rows[1];
    assert_eq!((&row["kind"], &row["id"]), (&json!("exploration"), &json!("q-1")));
    assert_eq!(row["probability"], 1.0);
    assert_eq!((&row["answered_by"], &row["on_path"]), (&json!("small"), &json!(["small"])));
    assert_eq!(row["results"]["small"]["cost_usd"], 0.00002);
    assert_eq!(row["results"]["large"]["cost_usd"], 0.0002);
    assert_eq!(row["results"]["large"]["signals"]["mean_logprob"], -0.1);
    assert_eq!((&row["incomplete"], &row["would"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_outage_makes_an_explored_request_no_evidence() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "explore = 1.0\nmax_retries = 0");
    ask(&client, "q-1", "down").await;
    let rows = rows_of(&client, directory.path(), 2).await;
    assert_eq!(rows[1]["incomplete"], "failed");
    assert_eq!(rows[1]["results"]["large"]["error"], "connection");
    assert_eq!(rows[1]["results"]["small"]["error"], Value::Null);
}

#[tokio::test]
async fn the_log_says_of_an_answer_that_it_was_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "");
    ask(&client, "q-1", "cut").await;
    ask(&client, "q-2", "short").await;
    client.flush_decision_log().await;
    let finish: Vec<_> = rows(directory.path()).iter().map(|row| row["path"][0]["finish"].clone()).collect();
    assert_eq!(finish, [json!("length"), Value::Null]);
}

#[tokio::test]
async fn a_share_is_explored_by_a_hash_of_the_id() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "explore = 0.25");
    for index in 0..200 {
        ask(&client, &format!("q-{index}"), "short").await;
    }
    client.flush_decision_log().await;
    let explored = |rows: &[Value]| -> Vec<String> {
        let explored = rows.iter().filter(|row| row["explored"] == true);
        explored.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let chosen = explored(&rows(directory.path()));
    assert!((30..=70).contains(&chosen.len()), "{}", chosen.len());
    let rows = rows_of(&client, directory.path(), 200 + chosen.len()).await;
    assert_eq!(rows.iter().filter(|row| row["kind"] == "exploration").count(), chosen.len());
}

#[tokio::test]
async fn exploring_stops_where_its_budget_ends() {
    let directory = tempfile::tempdir().unwrap();
    let keys = "explore = 1.0\nexplore_budget = 'e'\n[budgets.e]\nlimit_usd = 0.0000001\nwindow = '1d'";
    let client = client(directory.path(), keys);
    ask(&client, "q-1", "short").await;
    let rows = rows_of(&client, directory.path(), 2).await;
    assert_eq!(rows[1]["incomplete"], "budget");
    assert_eq!(rows[1]["results"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn in_shadow_mode_the_current_tier_answers_and_the_log_says_what_the_policy_would_do() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "mode = 'shadow'\ncurrent_tier = 'large'\nexplore = 1.0");
    let routed = client.call::<Tier>(1, Request::new("short").with_id("q-1")).await.unwrap();
    assert_eq!((routed.tier, routed.forced), (Tier::Large, false));
    let rows = rows_of(&client, directory.path(), 2).await;
    assert_eq!((&rows[0]["mode"], &rows[0]["answered_by"]), (&json!("shadow"), &json!("large")));
    let would = json!({"plan": 0, "path": ["small"], "answered_by": "small", "cost_usd": 0.00002});
    assert_eq!(rows[1]["would"], would);
    ask(&client, "q-2", LONG).await;
    let rows = rows_of(&client, directory.path(), 4).await;
    assert_eq!(rows[3]["would"]["path"], json!(["small", "large"]));
}

#[test]
fn exploring_without_a_log_is_refused() {
    let config = format!("{CONFIG}\n[routes.two.runtime]\nexplore = 0.5\n");
    let error = builder(Path::new("/nowhere"), &config).provider("local", Models).build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("decision_log"), "{error}");
}

#[tokio::test]
async fn a_session_stays_with_the_tier_that_it_escalated_to() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path(), "sticky = 'up'");
    let ask = async |text: &str, session: Session| {
        client.call::<Tier>(1, Request::new(text).with_session(session)).await.unwrap()
    };
    let first = ask("short", Session::new("chat")).await;
    assert_eq!(first.tier, Tier::Small);
    let second = ask(LONG, first.session.unwrap()).await;
    assert_eq!((second.tier, second.path.len()), (Tier::Large, 2));
    let third = ask("short", second.session.unwrap()).await;
    assert_eq!((third.tier, third.path.len()), (Tier::Large, 1));
    assert_eq!(third.session.unwrap().turn(), 3);
    client.flush_decision_log().await;
    let rows = rows(directory.path());
    assert_eq!((&rows[2]["session"], &rows[2]["turn"]), (&json!("chat"), &json!(2)));
}
