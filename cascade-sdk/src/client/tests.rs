//! The run loop against scripts.

use super::builder::Baked;
use super::policy::FittedPolicy;
use super::*;
use crate::money::{Price, Rates, TokenPrice, Usd};
use crate::provider::{FinishReason, ProviderError, ProviderErrorKind, Reply, Response, Scripted};
use crate::request::{Message, Tool, ToolCall};
use crate::routed::Failure;
use cascade_sdk_core::config::{
    Api, Budget, BudgetScope, Circuit, Config, FitSettings, OnExceeded, Provider, RequestSettings,
    Route as RouteConfig, RuntimeSettings, Tier as TierConfig,
};
use cascade_sdk_core::decide::{Decision, Why};
use cascade_sdk_core::policy::{AcceptRule, Cut, Plan, Rules, ScoreSource, Stage};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Small,
    Large,
}

impl TierName for Tier {
    const ALL: &'static [Self] = &[Self::Small, Self::Large];
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tier| tier.name() == name)
    }
}

#[derive(Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Team {
    Billing,
    Technical,
}

fn tier(name: &str, dollars: &str) -> TierConfig {
    let price = TokenPrice::parse_per_million(dollars).unwrap();
    TierConfig {
        name: name.into(),
        provider: "local".into(),
        model: format!("model-{name}"),
        price: Price { rates: Rates { input: price, output: price, ..Rates::default() }, ..Price::default() },
        price_as_of: None,
        retires: None,
        max_input_tokens: None,
        max_output_tokens: Some(50),
        timeout: Some(Duration::from_millis(200)),
        log_probabilities: true,
        circuit: Circuit::default(),
        json_schema: true,
        tools: true,
        images: true,
        takes_temperature: true,
        reasoning_effort: None,
    }
}

pub(super) fn config(budget: Option<(i64, OnExceeded)>) -> Config {
    let budgets = budget.map(|(pico, on_exceeded)| Budget {
        name: "b".into(),
        limit: Usd::from_pico(pico),
        window: Duration::from_secs(86_400 * 365 * 1000),
        on_exceeded,
        per: BudgetScope::All,
        within: None,
    });
    Config {
        providers: vec![Provider {
            name: "local".into(),
            api: Api::OpenAi,
            base_url: None,
            api_key_env: None,
            api_key_header: None,
            headers: Vec::new(),
            query: Vec::new(),
            length_key: None,
            allow_http: false,
            log: Vec::new(),
            signals: Vec::new(),
            max_concurrency: None,
            requests_per_minute: None,
        }],
        tiers: vec![tier("small", "1"), tier("large", "10")],
        routes: vec![RouteConfig {
            name: "triage".into(),
            tiers: vec!["small".into(), "large".into()],
            log: Vec::new(),
            policy: String::new(),
            budget: budgets.as_ref().map(|budget| budget.name.clone()),
            objective: None,
            fit: FitSettings::default(),
            request: RequestSettings { system: Some("Sort.".into()), ..RequestSettings::default() },
            guard: None,
            calls_per_day: None,
            embedding: None,
            until_fitted: None,
            signals: Vec::new(),
            runtime: RuntimeSettings::default(),
        }],
        budgets: budgets.into_iter().collect(),
        ..Config::default()
    }
}

/// Small first, kept from −0.2 on; else large.
pub(super) fn pair() -> Rules {
    let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(-0.2) };
    Rules {
        tiers: vec!["small".into(), "large".into()],
        signals: vec!["mean_logprob".into()],
        plans: vec![Plan::new(vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }])],
        ..Rules::default()
    }
}

pub(super) fn client_of(script: &Scripted, config: Config, schema: AnswerSchema) -> Client {
    let baked = Baked { schema, schema_text: None, policy: Some(FittedPolicy::bare(pair(), "hash")) };
    let builder = <Builder>::from_parts("test", PathBuf::new(), config, vec![baked]);
    builder.provider("local", script.clone()).build().unwrap()
}

pub(super) fn client(script: &Scripted) -> Client {
    client_of(script, config(None), AnswerSchema::TEXT)
}

pub(super) fn confident(text: &str) -> Reply {
    Reply::text(text).with_signal("mean_logprob", -0.1)
}

pub(super) fn doubtful(text: &str) -> Reply {
    Reply::text(text).with_signal("mean_logprob", -0.9)
}

pub(super) fn status(code: u16) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Status, "failed").with_status(code)
}

fn tiers(script: &Scripted) -> Vec<String> {
    script.asked().into_iter().map(|asked| asked.tier).collect()
}

#[tokio::test]
async fn a_confident_answer_stays_with_the_cheap_tier() {
    let script = Scripted::new().reply("small", confident("billing"));
    let routed = client(&script).call::<Tier>(0, "which team?").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier, routed.path.len()), ("billing", Tier::Small, 1));
    assert_eq!(routed.path[0].decision, Decision::Accept { score: Some(-0.1) });
    // 15 tokens at one dollar a million.
    assert_eq!(routed.cost(), Usd::from_pico(15_000_000));
    assert_eq!((routed.usage().input_tokens, routed.estimated()), (10, Usd::ZERO));
    assert_eq!((routed.policy_hash.as_deref(), routed.forced, routed.plan), (Some("hash"), false, 0));
    let asked = script.asked();
    assert_eq!((asked[0].system.as_deref(), asked[0].text.as_str()), (Some("Sort."), "which team?"));
}

#[tokio::test]
async fn a_doubtful_answer_escalates_and_both_are_paid() {
    let script = Scripted::new().reply("small", doubtful("billing")).reply("large", "technical");
    let routed = client(&script).call::<Tier>(0, "which team?").with_id("r-1").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("technical", Tier::Large));
    assert_eq!(
        routed.path[0].decision,
        Decision::Escalate(Why::BelowThreshold { score: -0.9, at_least: -0.2 })
    );
    assert_eq!(routed.cost(), Usd::from_pico(15_000_000 + 150_000_000));
    assert_eq!(routed.request_id, "r-1");
}

#[tokio::test]
async fn a_missing_signal_and_a_refusal_escalate() {
    let refusal = Response { finish: FinishReason::Refused, ..Response::text("no") };
    for reply in [Reply::text("billing"), refusal.into(), status(400).into()] {
        let script = Scripted::new().reply("small", reply).reply("large", "technical");
        assert_eq!(client(&script).call::<Tier>(0, "x").await.unwrap().tier, Tier::Large);
    }
}

#[tokio::test]
async fn typed_answers_are_read_and_bad_ones_escalate() {
    let script = Scripted::new()
        .reply("small", confident(r#"{"answer":"nonsense"}"#))
        .reply("large", r#"{"answer":"technical"}"#)
        .reply("small", confident(r#"{"answer":"billing"}"#));
    let client = client_of(&script, config(None), AnswerSchema::of::<Team>());
    let routed = client.call::<Tier>(0, "x").answer::<Team>().await.unwrap();
    assert_eq!((routed.answer, routed.tier), (Team::Technical, Tier::Large));
    assert!(matches!(routed.path[0].failure, Some(Failure::Answer(_))));
    assert_eq!(routed.path[0].cost, Usd::from_pico(15_000_000));
    // As text the wrapper is gone too.
    assert_eq!(client.call::<Tier>(0, "x").await.unwrap().answer, "billing");
}

#[tokio::test]
async fn an_answer_that_never_parses_is_an_error_with_its_cost_and_text() {
    let script = Scripted::new().reply("small", confident("huh")).reply("large", "private");
    let client = client_of(&script, config(None), AnswerSchema::of::<Team>());
    let error = client.call::<Tier>(0, "secret prompt").answer::<Team>().await.unwrap_err();
    assert!(error.is_answer() && !error.is_provider());
    assert_eq!(error.raw_answer(), Some("private"));
    assert_eq!(error.spent(), Usd::from_pico(165_000_000));
    assert_eq!(error.path().iter().map(|step| step.tier.as_str()).collect::<Vec<_>>(), ["small", "large"]);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("private") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn answers_of_another_form_than_the_policy_s_are_refused() {
    let script = Scripted::new();
    let error = client(&script).call::<Tier>(0, "x").answer::<Team>().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("cascade fit triage"), "{error}");
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_forced_tier_is_the_only_one_asked() {
    let script = Scripted::new().reply("large", "technical");
    let routed = client(&script).call::<Tier>(0, "x").with_tier(Tier::Large).await.unwrap();
    assert!(routed.forced);
    assert_eq!((routed.tier, tiers(&script)), (Tier::Large, vec!["large".to_owned()]));
    let error = client(&script).call::<Tier>(0, Request::new("x").with_tier("huge")).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("small, large"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_may_succeed_later_is_sent_again() {
    let wait = Some(Duration::from_secs(5));
    let script = Scripted::new()
        .reply("small", status(429).with_retry_after(wait))
        .reply("small", status(503))
        .reply("small", confident("billing"));
    let started = tokio::time::Instant::now();
    let routed = client(&script).call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.tier, routed.path[0].retries.len()), (Tier::Small, 2));
    assert!(started.elapsed() >= Duration::from_secs(5));
    assert_eq!(routed.cost(), Usd::from_pico(15_000_000));
}

#[tokio::test(start_paused = true)]
async fn retries_end_and_then_the_next_tier_answers() {
    let script = Scripted::new().reply_always("small", status(500)).reply("large", "technical");
    let routed = client(&script).call::<Tier>(0, "x").await.unwrap();
    assert_eq!(tiers(&script), ["small", "small", "small", "large"]);
    assert_eq!(routed.path[0].decision, Decision::Escalate(Why::Failed));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_charged_is_counted_and_marked() {
    let broken = ProviderError::new(ProviderErrorKind::Connection, "reset").after_sending();
    let script = Scripted::new().reply("small", broken).reply("small", confident("billing"));
    let routed = client(&script).call::<Tier>(0, "x").await.unwrap();
    assert_eq!(routed.cost(), routed.estimated().checked_add(Usd::from_pico(15_000_000)).unwrap());
    // At least the 50 output tokens that it may have generated.
    assert!(routed.estimated() > Usd::from_pico(50_000_000));
    assert!(matches!(&routed.path[0].retries[..], [Failure::Call(error)] if error.may_have_been_charged()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_tier_is_cut_off_and_the_next_one_asked() {
    let script = Scripted::new()
        .reply("small", confident("late").after(Duration::from_secs(9)))
        .reply("large", "on time");
    let routed = client(&script).call::<Tier>(0, "x").await.unwrap();
    assert_eq!(routed.answer, "on time");
    assert!(routed.path[0].failure.as_ref().is_some_and(Failure::is_timeout));
    assert!(routed.path[0].estimated > Usd::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_everything_and_says_what_was_spent() {
    let script = Scripted::new()
        .reply("small", doubtful("a"))
        .reply("large", Reply::text("b").after(Duration::from_secs(9)));
    let deadline = Duration::from_millis(100);
    let error = client(&script).call::<Tier>(0, "x").with_deadline(deadline).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.path().len(), 1);
    // The small tier's cost, and the large one's at its upper bound.
    assert!(error.spent() > Usd::from_pico(15_000_000 + 500_000_000));
}

#[tokio::test(start_paused = true)]
async fn closing_cancels_what_is_under_way() {
    let script = Scripted::new().reply_always("small", confident("a").after(Duration::from_millis(150)));
    let client = client(&script);
    let other = client.clone();
    let closing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.close();
    });
    assert!(client.call::<Tier>(0, "x").await.unwrap_err().is_cancelled());
    closing.await.unwrap();
    assert!(client.call::<Tier>(0, "x").await.unwrap_err().is_cancelled());
    assert_eq!(script.asked().len(), 1);
}

/// The worst case of a small call: 32 + 5 + 32 bytes of system prompt, 32 + 1 of prompt, 50 output tokens, each at 10⁶ pico.
pub(super) const WORST_SMALL: i64 = (32 + 5 + 32 + 32 + 1 + 50) * 1_000_000;

#[tokio::test]
async fn a_full_budget_rejects_before_anything_is_sent() {
    let script = Scripted::new().reply_always("small", confident("a"));
    let client =
        client_of(&script, config(Some((WORST_SMALL + 20_000_000, OnExceeded::Reject))), AnswerSchema::TEXT);
    // Settled at 15 tokens, so a second one fits and a third does not.
    assert!(client.call::<Tier>(0, "x").await.is_ok());
    assert!(client.call::<Tier>(0, "x").await.is_ok());
    let error = client.call::<Tier>(0, "x").await.unwrap_err();
    assert!(error.is_budget() && error.retry_after().is_some(), "{error}");
    assert_eq!((error.spent(), script.asked().len()), (Usd::ZERO, 2));
}

#[tokio::test]
async fn a_budget_without_room_for_the_large_tier_rejects_or_keeps_what_there_is() {
    let limit = WORST_SMALL + 100_000_000;
    for on_exceeded in [OnExceeded::Reject, OnExceeded::Cheapest] {
        let script = Scripted::new().reply("small", doubtful("a"));
        let client = client_of(&script, config(Some((limit, on_exceeded))), AnswerSchema::TEXT);
        let result = client.call::<Tier>(0, "x").await;
        if on_exceeded == OnExceeded::Reject {
            let error = result.unwrap_err();
            assert!(error.is_budget());
            assert_eq!(error.spent(), Usd::from_pico(15_000_000));
        } else {
            let routed = result.unwrap();
            assert_eq!(
                (routed.answer.as_str(), routed.tier, routed.kept_for_budget),
                ("a", Tier::Small, true)
            );
        }
    }
}

#[tokio::test]
async fn many_callers_never_overspend() {
    let script = Scripted::new().reply_always("small", confident("a"));
    let config = config(Some((20 * 15_000_000 + WORST_SMALL, OnExceeded::Reject)));
    let client = client_of(&script, config, AnswerSchema::TEXT);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call::<Tier>(0, "x").await.map(|routed| routed.cost()) })
        })
        .collect();
    let mut spent = Usd::ZERO;
    for task in tasks {
        if let Ok(cost) = task.await.unwrap() {
            spent = spent.saturating_add(cost);
        }
    }
    assert!(spent <= Usd::from_pico(20 * 15_000_000 + WORST_SMALL) && spent > Usd::ZERO);
}

#[test]
fn mistakes_are_reported_together_before_any_call() {
    let mut config = config(Some((1, OnExceeded::Reject)));
    config.tiers[0].max_output_tokens = None;
    config.tiers[1].max_output_tokens = None;
    let mut rules = pair();
    rules.tiers[1] = "huge".into();
    let baked =
        Baked { schema: AnswerSchema::TEXT, schema_text: None, policy: Some(FittedPolicy::bare(rules, "h")) };
    let builder = <Builder>::from_parts("test", PathBuf::new(), config, vec![baked]);
    let error =
        builder.provider("local", Scripted::new()).provider("other", Scripted::new()).build().unwrap_err();
    let shown = error.to_string();
    assert!(error.is_config());
    for part in ["provider `other`", "tier `huge`", "[tiers.small]", "[tiers.large]"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_policy_that_reads_what_the_tier_cannot_give_is_refused() {
    #[derive(Debug)]
    struct Plain;
    #[async_trait::async_trait]
    impl crate::provider::Provider for Plain {
        fn capabilities(&self) -> crate::provider::Capabilities {
            crate::provider::Capabilities::default()
        }
        async fn complete(&self, _: &crate::provider::ModelCall<'_>) -> Result<Response, ProviderError> {
            Ok(Response::text("x"))
        }
    }
    let baked = Baked {
        schema: AnswerSchema::TEXT,
        schema_text: None,
        policy: Some(FittedPolicy::bare(pair(), "h")),
    };
    let builder = <Builder>::from_parts("test", PathBuf::new(), config(None), vec![baked]);
    let error = builder.provider("local", Plain).build().unwrap_err();
    assert!(error.to_string().contains("returns no log-probabilities"), "{error}");
}

#[tokio::test]
async fn tool_calls_come_back_typed_and_go_on_with_their_results() {
    let mut config = config(None);
    config.routes[0].request.tools = true;
    let weather = ToolCall::new("a", "weather", serde_json::json!({"city": "Oslo"}));
    let calls =
        || Response::text("I look.").with_tool_call(weather.clone()).with_signal("mean_logprob", -0.1);
    let script = Scripted::new()
        .reply("small", calls())
        .reply("small", confident(r#"{"answer":"billing"}"#))
        .reply("small", calls());
    let client = client_of(&script, config, AnswerSchema::of::<Team>());
    let tool = Tool::new("weather", "now", serde_json::json!({"type": "object"}));
    let request = Request::new("Oslo?").with_tool(tool);
    let routed = client.call::<Tier>(0, request.clone()).turn::<Team>().await.unwrap();
    assert_eq!(routed.answer, Turn::ToolCalls(vec![weather.clone()]));
    assert!(!format!("{routed:?}").contains("Oslo"));
    let next = request
        .clone()
        .with_message(routed.turn().unwrap().clone())
        .with_message(Message::tool(weather.result("3 degrees")));
    let routed = client.call::<Tier>(0, next).turn::<Team>().await.unwrap();
    assert_eq!((&routed.answer, routed.turn()), (&Turn::Answer(Team::Billing), None));
    assert_eq!(script.asked()[1].text, "Oslo?\n3 degrees");
    // Where an answer is wanted, calls are none: the tier has failed, and the next one is asked.
    let error = client.call::<Tier>(0, request).answer::<Team>().await.unwrap_err();
    assert!(matches!(error.path()[0].failure, Some(Failure::Answer(_))), "{error:?}");
}

#[tokio::test]
async fn a_request_without_messages_is_refused() {
    let script = Scripted::new();
    let error = client(&script).call::<Tier>(0, Request::from_messages([])).await.unwrap_err();
    assert!(error.is_config() && script.asked().is_empty());
}

#[test]
fn futures_can_be_sent_and_clients_shared() {
    fn sendable<T: Send>(_: &T) {}
    fn shared<T: Send + Sync + Clone + fmt::Debug + 'static>(_: &T) {}
    let client = client(&Scripted::new());
    shared(&client);
    sendable(&client.call::<Tier>(0, "x").into_future());
    sendable(&client.call::<Tier>(0, "x").answer::<Team>());
}

#[cfg(all(feature = "http", feature = "replay"))]
#[test]
fn the_environment_chooses_a_server_or_a_log_and_not_both() {
    let with = |set: &'static [(&'static str, &'static str)]| {
        let mut config = config(None);
        config.providers[0].api_key_env = Some("NOT_SET".into());
        let baked = Baked { schema: AnswerSchema::TEXT, schema_text: None, policy: None };
        config.routes[0].until_fitted = Some("small".into());
        let builder = <Builder>::from_parts("test", PathBuf::new(), config, vec![baked]);
        let env = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        builder.overrides_from(env).build().map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(with(&[]).unwrap_err().contains("NOT_SET"));
    assert_eq!(with(&[("CASCADE_BASE_URL", "http://127.0.0.1:9/v1")]), Ok(()));
    assert!(with(&[("CASCADE_BASE_URL", "http://192.0.2.1/v1")]).unwrap_err().contains("plain http"));
    assert_eq!(with(&[("CASCADE_BASE_URL", "http://127.0.0.1:9/v1"), ("CASCADE_REPLAY", "")]), Ok(()));
    let both = with(&[("CASCADE_BASE_URL", "http://127.0.0.1:9/v1"), ("CASCADE_REPLAY", "1")]);
    assert!(both.unwrap_err().contains("both set"));
    assert!(with(&[("CASCADE_REPLAY", "no/such.jsonl")]).unwrap_err().contains("no/such.jsonl"));
    // The route names no log: that is an error of its calls only.
    assert_eq!(with(&[("CASCADE_REPLAY", "1")]), Ok(()));
}
