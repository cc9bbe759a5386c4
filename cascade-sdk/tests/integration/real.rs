//! The client against real models, where two OpenAI-compatible servers are named by `CASCADE_TEST_CHEAP_URL` and
//! `CASCADE_TEST_DEAR_URL`; skipped otherwise.

use crate::setup::{CONFIG, Tier, baked, builder, builder_of, drained, leak, policy_of, route, rules};
use cascade_sdk::__private::v1::RouteSpec;
use cascade_sdk::AnswerSchema;
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::policy::Cut;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

const QUESTIONS: [&str; 6] = [
    "What is the capital of France? One word.",
    "What is 17 * 23? Only the number.",
    "Which planet is the largest in the solar system? One word.",
    "Write the word `straße` in capitals, nothing else.",
    "What is the chemical symbol of gold? Only the symbol.",
    "How many letters has the word `banana`? Only the number.",
];

/// The test configuration with its two tiers at the two servers.
fn real_config() -> Option<String> {
    let cheap = std::env::var("CASCADE_TEST_CHEAP_URL").ok()?;
    let dear = std::env::var("CASCADE_TEST_DEAR_URL").ok()?;
    let provider = "[providers.local]\napi = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"CASCADE_TEST_KEY\"\n";
    assert!(CONFIG.contains(provider));
    let providers = format!(
        "[providers.local]\napi = \"openai\"\nbase_url = \"{cheap}\"\n\n[providers.dear]\napi = \"openai\"\nbase_url = \"{dear}\"\n"
    );
    let config = CONFIG
        .replace(provider, &providers)
        .replace("timeout_s = 0.4", "timeout_s = 120")
        .replace("timeout_s = 5", "timeout_s = 120");
    Some(config.replace("provider = \"local\"\nmodel = \"l\"", "provider = \"dear\"\nmodel = \"l\""))
}

#[tokio::test]
async fn real_models_answer_escalate_and_account_for_every_token() {
    let Some(text) = real_config() else {
        eprintln!("skipped: CASCADE_TEST_CHEAP_URL and CASCADE_TEST_DEAR_URL are not set");
        return;
    };
    let config = config::read(&Source::new("cascade.toml", text.as_str())).0.unwrap();
    let client = builder(Path::new("."), &text).build().unwrap();
    let mut tiers = Vec::new();
    for question in QUESTIONS {
        let routed = client.call::<Tier>(1, question).await.unwrap();
        assert!(!routed.answer.trim().is_empty());
        for step in &routed.path {
            let usage = step.usage.unwrap();
            let price = config.tier(cascade_sdk::TierName::name(step.tier)).unwrap().price;
            assert!(usage.input_tokens > 5 && usage.output_tokens > 0);
            assert_eq!(price.cost(&usage), Ok(step.cost));
            let mean = step.signals["mean_logprob"];
            let margin = step.signals["mean_margin"];
            assert!(mean <= 0.0 && mean > -5.0 && (0.0..=1.0).contains(&margin), "{:?}", step.signals);
            println!("{question} -> {:?} {} {mean:.3} {:?} {usage:?}", step.tier, step.cost, step.decision);
        }
        println!("   {:?}", routed.answer);
        tiers.push(routed.tier);
    }
    assert!(tiers.contains(&Tier::Large), "nothing escalated: {tiers:?}");
}

#[tokio::test]
async fn real_models_sample_and_judge_and_every_extra_call_is_accounted_for() {
    let Some(text) = real_config() else {
        eprintln!("skipped: CASCADE_TEST_CHEAP_URL and CASCADE_TEST_DEAR_URL are not set");
        return;
    };
    let judge =
        "kind = \"judge\"\ntier = \"large\"\nrubric = \"10 if the answer is right, 0 if it is wrong.\"";
    let samples = "kind = \"self_consistency\"\nsamples = 3\ntemperature = 0.8";
    for (signal, calls) in [(judge, 1), (samples, 2)] {
        let text = format!("{text}\n[routes.two.signals.extra]\ntiers = [\"small\"]\n{signal}\n");
        let config = config::read(&Source::new("cascade.toml", text.as_str())).0.unwrap();
        let mut scored = rules();
        scored.signals = vec!["extra".into()];
        scored.plans[0].stages[0].rule.as_mut().unwrap().at_least = Cut(0.6);
        let client = builder_of(Path::new("."), &text, policy_of(&text, scored)).build().unwrap();
        let mut values = 0;
        for question in QUESTIONS {
            let routed = client.call::<Tier>(1, question).await.unwrap();
            let step = &routed.path[0];
            assert_eq!(step.signal_calls.len(), calls, "{step:?}");
            for call in &step.signal_calls {
                let price = config.tier(&call.tier).unwrap().price;
                assert_eq!(price.cost(&call.usage.unwrap()), Ok(call.cost));
            }
            values += usize::from(step.signals.get("extra").is_some_and(|value| (0.0..=1.0).contains(value)));
            let (signals, failures) = (&step.signals, &step.signal_failures);
            println!("{question} -> {:?} {signals:?} {failures:?} {}", routed.tier, routed.cost());
        }
        assert!(values > 0, "no answer was scored");
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Team {
    Billing,
    Technical,
}

#[tokio::test]
async fn real_models_give_typed_answers_whose_signals_cover_the_value() {
    let Some(text) = real_config() else {
        eprintln!("skipped: CASCADE_TEST_CHEAP_URL and CASCADE_TEST_DEAR_URL are not set");
        return;
    };
    let text = text.replace("[routes.one]\ntiers = [\"large\"]", "[routes.one]\ntiers = [\"large\"]\n\n[routes.one.request]\ntop_logprobs = 5\nanswer = { schema = \"team.json\" }");
    let schema = Some(leak(AnswerSchema::of::<Team>().to_json()));
    let (one, _) = text.split_once("[routes.two]").unwrap();
    let client = baked(Path::new("."), one, vec![RouteSpec { schema, ..route("one") }]).build().unwrap();
    let routed =
        client.call::<Tier>(0, "Which team handles `I was charged twice`?").answer::<Team>().await.unwrap();
    println!("{:?} {:?}", routed.answer, routed.path[0].signals);
    // The server lists a code fence that the content does not have; the value is found all the same. (Its
    // log-probabilities are those before the grammar, so they may be low.)
    assert!(routed.path[0].signals.contains_key("mean_logprob"));
}

#[tokio::test]
async fn real_models_stream_what_they_answer_and_cost_the_same_tokens() {
    let Some(text) = real_config() else {
        eprintln!("skipped: CASCADE_TEST_CHEAP_URL and CASCADE_TEST_DEAR_URL are not set");
        return;
    };
    let config = config::read(&Source::new("cascade.toml", text.as_str())).0.unwrap();
    let client = builder(Path::new("."), &text).build().unwrap();
    for question in QUESTIONS {
        let (shown, routed) = drained(client.call::<Tier>(1, question).stream::<String>()).await;
        let routed = routed.unwrap();
        assert_eq!(shown.concat(), routed.answer);
        for step in &routed.path {
            let price = config.tier(cascade_sdk::TierName::name(step.tier)).unwrap().price;
            assert_eq!(price.cost(&step.usage.unwrap()), Ok(step.cost));
        }
        println!("{question} -> {:?} in {} pieces, {}", routed.tier, shown.len(), routed.cost());
    }
}

/// What early escalation saves: the cheap tier's tokens with and without it, on questions that want a longer answer.
#[tokio::test]
async fn real_models_are_given_up_early_where_they_would_escalate_anyway() {
    let Some(text) = real_config() else {
        eprintln!("skipped: CASCADE_TEST_CHEAP_URL and CASCADE_TEST_DEAR_URL are not set");
        return;
    };
    let text = text
        .replace("max_output_tokens = 50", "max_output_tokens = 64")
        .replace("top_logprobs = 2", "top_logprobs = 2\ntemperature = 0.0\nseed = 1");
    let early = format!("{text}\n[routes.two.runtime]\nearly_escalation = true\n");
    let client = |text: &str| builder(Path::new("."), text).build().unwrap();
    let (whole, early) = (client(&text), client(&early));
    let (mut tokens_whole, mut tokens_early, mut given_up) = (0, 0, 0);
    let (mut time_whole, mut time_early) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for question in QUESTIONS {
        let question = format!("{question} Then explain your answer in three sentences.");
        let without = whole.call::<Tier>(1, question.as_str()).await.unwrap();
        let with = early.call::<Tier>(1, question.as_str()).await.unwrap();
        let (a, b) = (&without.path[0], &with.path[0]);
        let generated = b.given_up_after.or(b.usage.map(|usage| usage.output_tokens)).unwrap();
        tokens_whole += a.usage.unwrap().output_tokens;
        tokens_early += generated;
        time_whole += a.latency;
        time_early += b.latency;
        if b.given_up_after.is_some() {
            given_up += 1;
            assert_eq!(without.tier, Tier::Large, "given up although it would have been kept: {a:?}");
        }
        println!(
            "{question} -> {:?} / {:?}: {generated} of {} tokens",
            without.tier,
            with.tier,
            a.usage.unwrap().output_tokens
        );
    }
    println!(
        "cheap tier: {tokens_early} of {tokens_whole} output tokens, {time_early:?} of {time_whole:?}; {given_up} of {} given up",
        QUESTIONS.len()
    );
    assert!(tokens_early <= tokens_whole);
}
