//! Which signals a policy may read of its tiers, and what is said of the others.

use crate::policy::CONFIG;
use cascade_sdk_core::config;
use cascade_sdk_core::diag::{Source, Style, render_all};
use cascade_sdk_core::policy::{self, AcceptRule, Cut, Plan, Returns, Rules, ScoreSource, Stage, codes};

/// What is said of a pair that compares `signal`, beside a configuration whose small tier and route have these lines too.
fn unavailable(signal: &str, provider: &str, tier: &str, route: &str) -> Vec<String> {
    let text = CONFIG
        .replace("api = 'replay'", provider)
        .replace("model = 's'", &format!("model = 's'\n{tier}"))
        .replace("log = ['x.jsonl']", &format!("log = ['x.jsonl']\n{route}"));
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    let config = config.unwrap_or_else(|| panic!("{}", render_all(&findings, Style::Plain)));
    let rules = Rules {
        tiers: vec!["small".into(), "large".into()],
        signals: vec!["mean_logprob".into(), signal.into()],
        plans: vec![Plan::new(vec![
            Stage { tier: 0, rule: Some(AcceptRule { score: ScoreSource::Signal(1), at_least: Cut(-0.5) }) },
            Stage { tier: 1, rule: None },
        ])],
        ..Rules::default()
    };
    let findings =
        policy::unavailable_signals(&rules, &config, "triage", |tier| Returns::declared(&config, tier));
    findings
        .iter()
        .map(|finding| {
            assert_eq!(finding.code, codes::SIGNAL_UNAVAILABLE);
            // A warning where a line of the configuration helps.
            assert_eq!(finding.is_error(), finding.message.contains("returns no log-probabilities"));
            let label = &finding.labels[0];
            let place = &label.source.text[label.span.clone()];
            format!("{place}: {} ({})", finding.message, finding.help[0])
        })
        .collect()
}

#[test]
fn a_policy_may_only_read_signals_that_its_tiers_give() {
    const OPENAI: &str = "api = 'openai'\napi_key_env = 'K'";
    const ANTHROPIC: &str = "api = 'anthropic'\napi_key_env = 'K'";
    const ASKED: &str = "request = { top_logprobs = 5 }";
    const ONE: &str = "request = { top_logprobs = 1 }";
    let output = "max_output_tokens = 9";
    for (signal, provider, tier, route) in [
        ("mean_logprob", "api = 'replay'", "", ""),
        ("my_score", "api = 'replay'", "", ""),
        ("mean_margin", OPENAI, "", ASKED),
        ("mean_logprob", OPENAI, "", ONE),
        ("my_score", OPENAI, "", "signals.my_score = { kind = 'verifier' }"),
        ("my_score", "api = 'openai'\napi_key_env = 'K'\nsignals = ['my_score']", "", ""),
        // A provider of the application's own knows it, whatever the format in the file.
        (
            "mean_logprob",
            "api = 'openai'\napi_key_env = 'K'\nsignals = ['mean_logprob']",
            "log_probabilities = false",
            "",
        ),
    ] {
        assert_eq!(unavailable(signal, provider, tier, route), [""; 0], "{signal} {provider} {route}");
    }
    let told = |signal, provider, tier, route| {
        let found = unavailable(signal, provider, tier, route);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    let start = |signal: &str| {
        format!("the policy of the route `triage` reads the signal `{signal}` of the tier `small`, ")
    };
    for (found, place, why, remedy) in [
        (
            told("mean_logprob", OPENAI, "", "request = { temperature = 0.0 }"),
            "request",
            "but requests do not ask for log-probabilities",
            "set `top_logprobs` under [routes.triage.request] to what it was when the log was collected",
        ),
        (
            told("mean_logprob", OPENAI, "", ""),
            "triage",
            "but requests do not ask for log-probabilities",
            "set `top_logprobs` under [routes.triage.request] to what it was when the log was collected",
        ),
        (
            told("mean_logprob", ANTHROPIC, output, ""),
            "small",
            "whose api `anthropic` returns no log-probabilities",
            "run `cascade fit triage`, which leaves such signals out",
        ),
        (
            told("mean_logprob", OPENAI, "log_probabilities = false", ASKED),
            "log_probabilities",
            "whose model returns no log-probabilities",
            "run `cascade fit triage`, which leaves such signals out",
        ),
        (
            told("my_score", OPENAI, "", ASKED),
            "triage",
            "which nobody computes",
            "declare it under [routes.triage.signals.my_score], then run `cascade fit triage`",
        ),
        (
            told("my_score", OPENAI, "", "signals.my_score = { kind = 'verifier', tiers = ['large'] }"),
            "tiers",
            "whose answers do not get it",
            "add `small` to `tiers` under [routes.triage.signals.my_score]",
        ),
    ] {
        let signal = if why.starts_with("which nobody") || why.ends_with("get it") {
            "my_score"
        } else {
            "mean_logprob"
        };
        assert_eq!(found, format!("{place}: {}{why} ({remedy})", start(signal)));
    }
    assert!(told("mean_margin", OPENAI, "", ONE).contains("fewer than two alternatives"));
}
