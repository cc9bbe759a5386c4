//! What a fingerprint depends on, and what not.

use cascade_sdk_core::config::{self, AnswerForm, RequestSettings};
use cascade_sdk_core::diag::Source;

const REFERENCE: &str = include_str!("../../src/config/reference.toml");

fn fingerprint(text: &str, schema: Option<&str>) -> String {
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
    config::fingerprint(&config, "triage", schema).unwrap()
}

/// The reference without its signals and its embedding, which keep some of it from being changed.
fn without_signals() -> String {
    let (before, signals) = REFERENCE.split_once("[routes.triage.signals.agreement]").unwrap();
    let (_, after) = signals.split_once("[routes.triage.runtime]").unwrap();
    format!("{before}[routes.triage.runtime]{after}")
}

/// A text with a part replaced by another.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    fingerprint(&text.replacen(from, to, 1), Some("{}"))
}

#[test]
fn what_the_fit_depends_on_counts() {
    let text = without_signals();
    let before = fingerprint(&text, Some("{}"));
    for (from, to) in [
        ("model = \"gpt-4.1-mini\"", "model = \"gpt-4.1\""),
        ("cached_input = 0.10, output = 1.60", "cached_input = 0.10, output = 1.61"),
        ("cached_input = 0.10, output = 1.60", "output = 1.60"),
        ("per_request = 0.0001 ", "per_request = 0.0002 "),
        ("tokens = 4000", "tokens = 4001"),
        ("tiers = [\"small\", \"middle\", \"large\"]", "tiers = [\"small\", \"large\"]"),
        ("max_cost_usd = 0.0008", "max_cost_usd = 0.0009"),
        ("max_cost_usd = 0.0008", "shadow_price = 0.0008"),
        ("confidence = 0.95", "confidence = 0.9"),
        ("max_stages = 4", "max_stages = 3"),
        ("seed = 11", "seed = 12"),
        ("temperature = 0.2", "temperature = 0.3"),
        ("top_logprobs = 5", "top_logprobs = 4"),
        ("support tickets.", "tickets."),
        ("answer = { schema = \"schemas/triage.json\" }", "answer = \"text\""),
        ("max_output_tokens = 1024", "max_output_tokens = 1024\njson_schema = false"),
        ("max_output_tokens = 1024", "max_output_tokens = 1024\ntakes_temperature = false"),
        ("max_output_tokens = 1024", "max_output_tokens = 1024\nreasoning_effort = \"low\""),
        ("top_logprobs = 5", "top_logprobs = 5\ntools = true"),
    ] {
        assert_ne!(changed(&text, from, to), before, "{from} -> {to}");
    }
    // A mixture cannot be certified.
    let text_for_mixtures = text.replacen("confidence = 0.95", "", 1);
    let unmixed = fingerprint(&text_for_mixtures, Some("{}"));
    assert_ne!(changed(&text_for_mixtures, "seed = 11", "mixtures = true\nseed = 11"), unmixed);
    assert_eq!(changed(&text_for_mixtures, "seed = 11", "mixtures = false\nseed = 11"), unmixed);
    assert_ne!(changed(&text_for_mixtures, "seed = 11", "abstain_loss = 0.4\nseed = 11"), unmixed);
    let early = |word: &str| changed(&text, "early_escalation = true", &format!("early_escalation = {word}"));
    assert_ne!(early("\"fitted\""), before);
    // The bounds change no answer.
    assert_eq!(early("false"), before);
    assert_ne!(fingerprint(&text, Some("{ }")), before);
    assert_eq!(fingerprint(&text, Some("{\r\n}")), fingerprint(&text, Some("{\n}")));
}

#[test]
fn what_changes_no_answer_does_not_count() {
    let text = without_signals();
    let before = fingerprint(&text, Some("{}"));
    for (from, to) in [
        ("http://llm.internal:8000/v1", "http://llm.internal:9000/v1"),
        ("api_key_env = \"OPENAI_API_KEY\"", "api_key_env = \"OTHER_KEY\""),
        ("timeout_s = 20", "timeout_s = 30"),
        ("limit_usd = 50.0", "limit_usd = 60.0"),
        ("budget = \"support\"\n", "budget = \"company\"\n"),
        ("explore = 0.02", "explore = 0.5"),
        ("failures = 5", "failures = 6"),
        ("calls_per_day = 40000", "calls_per_day = 4"),
        ("input = 0.10\n", "input = 0.1\n"),
        ("schemas/triage.json", "schemas/moved.json"),
        ("evals/triage.jsonl", "evals/other.jsonl"),
        ("policies/support/triage.toml", "policies/triage.toml"),
    ] {
        assert_eq!(changed(&text, from, to), before, "{from} -> {to}");
    }
}

#[test]
fn signals_count_except_for_what_bounds_them() {
    let before = fingerprint(REFERENCE, Some("{}"));
    assert_ne!(before, fingerprint(&without_signals(), Some("{}")));
    for (from, to) in [
        ("samples = 5", "samples = 6"),
        ("temperature = 0.8", "temperature = 0.9"),
        ("the customer's words ask for", "the customer asks for"),
        ("[routes.triage.signals.verdict]", "[routes.triage.signals.judgement]"),
        (
            "tiers = [\"small\", \"middle\"]\ntier = \"middle\" ",
            "tiers = [\"small\", \"middle\"]\ntier = \"thinker\" ",
        ),
        ("\"required\": [\"team\"]", "\"required\": []"),
    ] {
        assert_ne!(changed(REFERENCE, from, to), before, "{from} -> {to}");
    }
    for (from, to) in [("concurrency = 2\n", "concurrency = 3\n"), ("timeout_s = 2\n", "timeout_s = 3\n")] {
        assert_eq!(changed(REFERENCE, from, to), before, "{from} -> {to}");
    }
}

#[test]
fn requests_are_told_apart() {
    let plain = RequestSettings::default();
    let schema = RequestSettings {
        answer: AnswerForm::Schema { path: "a.json".into() },
        ..RequestSettings::default()
    };
    let warm = RequestSettings { temperature: Some(1.0), ..RequestSettings::default() };
    let all = [
        config::request_fingerprint("m", &plain, None),
        config::request_fingerprint("n", &plain, None),
        config::request_fingerprint("m", &warm, None),
        config::request_fingerprint("m", &schema, Some("{}")),
        config::request_fingerprint("m", &schema, Some("[]")),
    ];
    for (index, first) in all.iter().enumerate() {
        assert!(first.len() == 64 && all[index + 1..].iter().all(|other| other != first), "{index}");
    }
}

/// The bytes are a contract: a change here makes every committed policy stale.
#[test]
fn fingerprints_stay_the_same() {
    assert_eq!(
        fingerprint(&without_signals(), Some("{}")),
        "0fbd08be58f76c48f04ad4b8f7debc8ebad96d847c67ecf59afe1c5bef8c48c4"
    );
}
