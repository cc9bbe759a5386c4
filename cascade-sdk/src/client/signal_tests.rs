//! Signals that need more than the answer, in the run loop against scripts.

use super::builder::Baked;
use super::policy::FittedPolicy;
use super::tests::{Tier, config, pair, status};
use super::*;
use crate::money::Usd;
use crate::provider::{Reply, Response, Scripted};
use crate::request::{Tool, ToolCall};
use crate::signal::{Candidate, VerifierError, blocking};
use cascade_sdk_core::config::{Config, OnExceeded, SignalKind, SignalSettings};
use cascade_sdk_core::decide::{Decision, Why};
use cascade_sdk_core::policy::{Cut, Rules};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A call of the small tier is 15 tokens at one dollar a million; one of the large tier costs ten times that.
pub(super) const SMALL: Usd = Usd::from_pico(15_000_000);
pub(super) const LARGE: Usd = Usd::from_pico(150_000_000);

fn signal(kind: SignalKind) -> SignalSettings {
    SignalSettings { name: "extra".into(), tiers: vec!["small".into()], kind }
}

pub(super) fn judge() -> SignalSettings {
    signal(SignalKind::Judge { tier: "large".into(), rubric: "Right or wrong.".into() })
}

fn agreement() -> SignalSettings {
    signal(SignalKind::SelfConsistency { samples: 3, temperature: 0.7, concurrency: 2 })
}

fn verifier() -> SignalSettings {
    signal(SignalKind::Verifier { timeout: Duration::from_millis(50) })
}

/// Small first, kept from 0.6 of the signal on; else large.
fn rules() -> Rules {
    let mut rules = pair();
    rules.signals = vec!["extra".into()];
    rules.plans[0].stages[0].rule.as_mut().unwrap().at_least = Cut(0.6);
    rules
}

pub(super) fn builder(script: &Scripted, config: Config) -> Builder {
    let policy = Some(FittedPolicy::bare(rules(), "hash"));
    let baked = Baked { schema: AnswerSchema::TEXT, schema_text: None, policy };
    <Builder>::from_parts("test", PathBuf::new(), config, vec![baked]).provider("local", script.clone())
}

pub(super) fn with(budget: Option<(i64, OnExceeded)>, signal: SignalSettings) -> Config {
    let mut config = config(budget);
    config.routes[0].signals.push(signal);
    config
}

fn client(script: &Scripted, signal: SignalSettings) -> Client {
    builder(script, with(None, signal)).build().unwrap()
}

pub(super) fn tiers(script: &Scripted) -> Vec<String> {
    script.asked().into_iter().map(|asked| asked.tier).collect()
}

#[tokio::test]
async fn a_judge_s_verdict_keeps_or_escalates_and_is_paid() {
    for (verdict, tier, value) in [("6", Tier::Small, 0.6), ("5", Tier::Large, 0.5)] {
        let script = Scripted::new()
            .reply("small", "billing")
            .reply("large", &*format!(r#"{{"score":{verdict}}}"#))
            .reply("large", "technical");
        let routed = client(&script, judge()).call::<Tier>(0, "which team?").await.unwrap();
        assert_eq!(routed.tier, tier);
        let step = &routed.path[0];
        assert_eq!((step.cost, step.signal_cost, step.signal_costs["extra"]), (SMALL, LARGE, LARGE));
        assert_eq!((step.signals["extra"], step.signal_calls.len()), (value, 1));
        let call = &step.signal_calls[0];
        assert_eq!(
            (call.signal.as_str(), call.tier.as_str(), call.model.as_str()),
            ("extra", "large", "model-large")
        );
        let others = if tier == Tier::Small { Usd::ZERO } else { LARGE };
        assert_eq!(routed.cost(), SMALL.saturating_add(LARGE).saturating_add(others));
        let calls = if tier == Tier::Small { 2 } else { 3 };
        assert_eq!((routed.usage().input_tokens, routed.usage().output_tokens), (10 * calls, 5 * calls));
    }
}

#[tokio::test]
async fn the_first_sample_is_the_answer_and_the_others_only_score_it() {
    // Two of three agree: kept. The answer is the first sample, whatever the others say.
    let script = Scripted::new().reply("small", "a").reply("small", "b").reply("small", "a");
    let routed = client(&script, agreement()).call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("a", Tier::Small));
    assert_eq!(routed.path[0].signal_cost, SMALL.saturating_add(SMALL));
    let script = Scripted::new().reply("small", "a").reply_always("small", "b").reply("large", "c");
    let routed = client(&script, agreement()).call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("c", Tier::Large));
    let Decision::Escalate(Why::BelowThreshold { score, .. }) = routed.path[0].decision else { panic!() };
    assert!((score - 1.0 / 3.0).abs() < 1e-12);
    assert!(routed.path[1].signal_calls.is_empty(), "the last stage is not scored");
}

#[tokio::test]
async fn a_verifier_of_the_application_scores_the_answer() {
    let right = |candidate: &Candidate| Ok(f64::from(u8::from(candidate.text() == "4")));
    for (text, tier) in [("4", Tier::Small), ("5", Tier::Large)] {
        let script = Scripted::new().reply("small", text).reply("large", "4");
        let client =
            builder(&script, with(None, verifier())).verifier("extra", blocking(right)).build().unwrap();
        let routed = client.call::<Tier>(0, "2+2?").await.unwrap();
        assert_eq!((routed.tier, routed.path[0].signal_cost), (tier, Usd::ZERO));
        assert!(routed.path[0].signal_calls.is_empty());
    }
}

#[tokio::test]
async fn what_a_provider_knows_itself_is_not_computed() {
    let script = Scripted::new().reply("small", Reply::text("a").with_signal("extra", 0.9));
    let routed = client(&script, judge()).call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.tier, tiers(&script).len()), (Tier::Small, 1));
}

#[tokio::test]
async fn an_answer_that_failed_is_not_scored() {
    let script = Scripted::new().reply("small", status(400)).reply("large", "b");
    let routed = client(&script, judge()).call::<Tier>(0, "x").await.unwrap();
    assert_eq!(tiers(&script), ["small", "large"]);
    assert_eq!((routed.path[0].signal_cost, routed.path[0].signal_failures.len()), (Usd::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_cannot_be_had_escalates_and_says_why() {
    let lost = |error: crate::provider::ProviderError| error.after_sending();
    let timeout = crate::provider::ProviderError::new(crate::provider::ProviderErrorKind::Timeout, "slow");
    for (reply, word, charged) in [
        (Reply::from("seven"), "invalid_answer", LARGE),
        (Reply::from(status(400)), "status", Usd::ZERO),
        // Sent, and nobody says what it cost: the worst case.
        (Reply::from(lost(timeout)), "timeout", Usd::MAX),
    ] {
        let script = Scripted::new().reply("small", "a").reply("large", reply).reply("large", "b");
        let routed = client(&script, judge()).call::<Tier>(0, "x").await.unwrap();
        let step = &routed.path[0];
        assert_eq!(step.signal_failures["extra"].log_word(), word);
        assert_eq!(step.decision, Decision::Escalate(Why::MissingSignal));
        assert!(!step.failover, "the tier did not fail");
        if charged == Usd::MAX {
            assert!(step.signal_cost > LARGE && routed.estimated() == step.signal_cost, "{step:?}");
        } else {
            assert_eq!((step.signal_cost, routed.estimated()), (charged, Usd::ZERO), "{word}");
        }
        assert_eq!((routed.answer.as_str(), routed.tier), ("b", Tier::Large));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_signals_are_retried_and_every_try_is_counted() {
    let script =
        Scripted::new().reply("small", "a").reply("large", status(503)).reply("large", r#"{"score":9}"#);
    let routed = client(&script, judge()).call::<Tier>(0, "x").await.unwrap();
    let call = &routed.path[0].signal_calls[0];
    assert_eq!((call.retries.len(), call.cost, routed.tier), (1, LARGE, Tier::Small));
}

#[tokio::test]
async fn in_a_stream_the_answer_is_held_back_until_it_is_scored() {
    for (verdict, shown) in [("9", "a"), ("1", "b")] {
        let script = Scripted::new()
            .reply("small", "a")
            .reply("large", &*format!(r#"{{"score":{verdict}}}"#))
            .reply("large", "b");
        let mut stream = client(&script, judge()).call::<Tier>(0, "x").stream::<String>();
        let mut told = Vec::new();
        while let Some(event) = stream.next().await {
            if let StreamEvent::Delta(text) = event.unwrap() {
                assert!(script.asked().len() > 1, "nothing is shown before the verdict");
                told.push(text);
            }
        }
        assert_eq!(told, [shown]);
    }
}

#[tokio::test]
async fn what_is_missing_is_found_at_the_start() {
    let refused = |builder: Builder| builder.build().unwrap_err().to_string();
    let script = Scripted::new();
    let message = refused(builder(&script, with(None, verifier())));
    assert!(message.contains(r#"verifier("extra""#), "{message}");
    let other: fn(&Candidate) -> Result<f64, VerifierError> = |_| Ok(1.0);
    let message = refused(builder(&script, with(None, judge())).verifier("extra", blocking(other)));
    assert!(message.contains("no route has a signal `extra` of the kind `verifier`"), "{message}");
    let mut without_judge = with(None, judge());
    without_judge.routes[0].signals[0].kind = SignalKind::Judge { tier: "gone".into(), rubric: "r".into() };
    let again = SignalSettings { name: "again".into(), ..without_judge.routes[0].signals[0].clone() };
    without_judge.routes[0].signals.push(again);
    let message = refused(builder(&script, without_judge));
    assert_eq!(message.matches("`gone`").count(), 1, "{message}");
    let mut unbounded = with(Some((1_000, OnExceeded::Reject)), judge());
    unbounded.tiers.push(cascade_sdk_core::config::Tier {
        name: "grader".into(),
        max_output_tokens: None,
        ..unbounded.tiers[1].clone()
    });
    unbounded.routes[0].signals[0].kind = SignalKind::Judge { tier: "grader".into(), rubric: "r".into() };
    assert!(refused(builder(&script, unbounded)).contains("max_output_tokens"));
}

/// The row of an exploration, once it is written.
pub(super) async fn explored(client: &Client, log: &Path) -> Value {
    loop {
        client.flush_decision_log().await;
        let text = std::fs::read_to_string(log).unwrap();
        if let Some(row) = text.lines().find(|line| line.contains(r#""kind":"exploration""#)) {
            return serde_json::from_str(row).unwrap();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_turn_that_calls_tools_is_scored_by_its_calls_on_and_off_the_caller_s_path() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("decisions.jsonl");
    let mut config = with(None, SignalSettings { tiers: vec!["small".into(), "large".into()], ..verifier() });
    config.routes[0].request.tools = true;
    config.routes[0].runtime.explore = 1.0;
    let turn = |city: &str| {
        Response::text("").with_tool_call(ToolCall::new("a", "weather", json!({ "city": city })))
    };
    let script = Scripted::new().reply("small", turn("Oslo")).reply("large", turn("Rome"));
    let oslo = |candidate: &Candidate| {
        let [call] = candidate.tool_calls() else { return Err("there is one call".into()) };
        Ok(f64::from(u8::from(call.arguments["city"] == "Oslo")))
    };
    let builder = builder(&script, config).verifier("extra", blocking(oslo)).decision_log(&log);
    let client = builder.build().unwrap();
    let tool = Tool::new("weather", "now", json!({ "type": "object" }));
    let routed =
        client.call::<Tier>(0, Request::new("Oslo?").with_tool(tool)).turn::<String>().await.unwrap();
    assert_eq!((routed.tier, routed.path[0].signals["extra"]), (Tier::Small, 1.0));
    let results = &explored(&client, &log).await["results"];
    assert_eq!(results["large"]["signals"], json!({ "extra": 0.0 }), "{results}");
}
