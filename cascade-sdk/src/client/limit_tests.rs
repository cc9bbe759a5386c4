//! Limits of tokens and time: what is not sent, what is told, and what is charged.

use super::tests::{Team, Tier, client, client_of, confident, config, doubtful};
use super::*;
use crate::money::{Usage, Usd};
use crate::provider::{FinishReason, ModelCall, Reply, Response, Scripted};
use crate::request::Message;
use crate::routed::Failure;
use cascade_sdk_core::config::RequestSettings;
use cascade_sdk_core::decide::{Decision, Why};

fn cut_off(text: &str) -> Reply {
    Response { finish: FinishReason::Length, ..Response::text(text) }.with_signal("mean_logprob", -0.1).into()
}

#[tokio::test]
async fn an_answer_that_was_cut_off_says_so_and_is_judged_like_any_other() {
    let script = Scripted::new()
        .reply("small", cut_off("half an"))
        .reply("small", cut_off("half an"))
        .reply("small", cut_off("half an"))
        .reply("small", confident("a whole answer"));
    let client = client(&script);
    let routed = client.call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier, routed.is_cut_off()), ("half an", Tier::Small, true));
    assert_eq!(routed.path[0].finish, Some(FinishReason::Length));
    assert_eq!(routed.path[0].decision, Decision::Accept { score: Some(-0.1) });
    for forced in [false, true] {
        let call = client.call::<Tier>(0, "x");
        let mut stream = if forced { call.with_tier(Tier::Small) } else { call }.stream::<String>();
        let mut end = None;
        while let Some(event) = stream.next().await {
            if let StreamEvent::Finished(routed) = event.unwrap() {
                end = Some(routed.is_cut_off());
            }
        }
        assert_eq!(end, Some(true), "forced: {forced}");
    }
    assert!(!client.call::<Tier>(0, "x").await.unwrap().is_cut_off());
}

#[tokio::test]
async fn of_several_answers_the_one_that_was_returned_counts() {
    let script = Scripted::new()
        .reply("small", Response { finish: FinishReason::Length, ..Response::text("half") })
        .reply("large", "whole");
    let routed = client(&script).call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.tier, routed.is_cut_off()), (Tier::Large, false));
    assert!(routed.path[0].is_cut_off() && !routed.path[1].is_cut_off());
}

#[tokio::test]
async fn a_typed_answer_that_was_cut_off_fails_and_names_the_limit() {
    let script = Scripted::new().reply("small", cut_off(r#"{"answer":"bil"#));
    let client = client_of(&script, config(None), AnswerSchema::of::<Team>());
    let error = client.call::<Tier>(0, "x").with_tier(Tier::Small).answer::<Team>().await.unwrap_err();
    assert!(error.is_answer() && error.to_string().contains("max_output_tokens"), "{error}");
    assert!(!error.to_string().contains("bil"), "{error}");
}

#[tokio::test]
async fn a_text_that_is_certainly_too_long_is_not_sent_and_the_next_tier_may_take_it() {
    let script = Scripted::new().reply_always("small", confident("s")).reply_always("large", "l");
    let mut config = config(None);
    config.tiers[0].max_input_tokens = Some(10);
    let client = client_of(&script, config, AnswerSchema::TEXT);
    let text = |bytes: usize| "x".repeat(bytes - "Sort.".len());
    let routed = client.call::<Tier>(0, text(10 * 128)).await.unwrap();
    assert_eq!((routed.tier, routed.path.len()), (Tier::Small, 1));
    let routed = client.call::<Tier>(0, text(10 * 128 + 1)).await.unwrap();
    let small = &routed.path[0];
    assert_eq!((routed.tier, small.decision), (Tier::Large, Decision::Escalate(Why::Failed)));
    assert_eq!(small.failure.as_ref().map(Failure::log_word), Some("too_long"));
    assert_eq!((small.cost, small.failover), (Usd::ZERO, true));
    let error = client.call::<Tier>(0, text(2_000)).with_tier(Tier::Small).await.unwrap_err();
    assert!(error.is_provider() && error.to_string().contains("max_input_tokens"), "{error}");
    let asked: Vec<_> = script.asked().into_iter().map(|asked| asked.tier).collect();
    assert_eq!(asked, ["small", "large"]);
}

#[tokio::test]
async fn input_beyond_the_limit_that_a_certificate_rests_on_is_told() {
    let used = |input_tokens| Usage { input_tokens, output_tokens: 5, ..Usage::default() };
    let script = Scripted::new()
        .reply("small", confident("s").with_usage(used(20)))
        .reply("small", confident("s").with_usage(used(90)))
        .reply("small", Response::text("s").with_signal("mean_logprob", -0.1));
    let mut config = config(None);
    config.tiers[0].max_input_tokens = Some(20);
    let client = client_of(&script, config, AnswerSchema::TEXT);
    let mut excess = Vec::new();
    for _ in 0..3 {
        let routed = client.call::<Tier>(0, "x").await.unwrap();
        excess.push((routed.path[0].excess, routed.estimated() == Usd::ZERO));
    }
    // 95 tokens at a dollar a million, where limits allow 20 + 50. What is only estimated is no report.
    assert_eq!(excess, [(Usd::ZERO, true), (Usd::from_pico(25_000_000), true), (Usd::ZERO, false)]);
}

#[test]
fn an_image_does_not_hide_the_text_beside_it() {
    let mut config = config(None);
    config.tiers[0].max_input_tokens = Some(200);
    let (tier, settings) = (&config.tiers[0], RequestSettings::default());
    let worst = |text: &str, image: bool| {
        let message = Message::user(text);
        let message = if image { message.with_image("https://example.com/a.png") } else { message };
        let request = Request::from_messages([message]);
        ModelCall::new(tier, &settings, &AnswerSchema::TEXT, &request).worst_case(tier).unwrap()
    };
    let tokens = |count: i64| Usd::from_pico(count * 1_000_000);
    assert_eq!(worst("short", true), tokens(200 + 50));
    let long = "x".repeat(100_000);
    assert_eq!(worst(&long, true), worst(&long, false));
    assert_eq!(worst(&long, true), tokens(100_000 + 2 * 32 + 50));
}

#[tokio::test]
async fn a_deadline_that_keeps_passing_opens_the_circuit_of_the_tier_that_was_asked() {
    let slow = || confident("s").after(Duration::from_secs(60));
    let script = Scripted::new().reply_always("small", slow()).reply_always("large", "l");
    let mut config = config(None);
    config.tiers[0].timeout = Some(Duration::from_secs(60));
    config.tiers[0].circuit.failures = 2;
    config.routes[0].runtime.deadline = Some(Duration::from_millis(5));
    let client = client_of(&script, config, AnswerSchema::TEXT);
    for _ in 0..2 {
        assert!(client.call::<Tier>(0, "x").await.unwrap_err().is_timeout());
    }
    // Now the tier is left alone, and the next one has all the time.
    let routed = client.call::<Tier>(0, "x").with_deadline(Duration::from_secs(60)).await.unwrap();
    assert_eq!(routed.path[0].failure.as_ref().map(Failure::log_word), Some("circuit_open"));
    assert_eq!(routed.tier, Tier::Large);
}

#[tokio::test]
async fn a_caller_that_goes_away_says_nothing_of_the_tier() {
    let script = Scripted::new()
        .reply("small", confident("s").after(Duration::from_secs(60)))
        .reply("small", doubtful("s"))
        .reply("large", "l");
    let mut config = config(None);
    config.tiers[0].timeout = Some(Duration::from_secs(60));
    config.tiers[0].circuit.failures = 1;
    let client = client_of(&script, config, AnswerSchema::TEXT);
    let call = async { client.call::<Tier>(0, "x").with_deadline(Duration::from_secs(60)).await };
    assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
    let routed = client.call::<Tier>(0, "x").await.unwrap();
    assert!(routed.path[0].failure.is_none());
}
