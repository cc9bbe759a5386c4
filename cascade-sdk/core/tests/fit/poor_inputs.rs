//! Inputs that leave little to fit: a clear answer, never a panic.

use crate::synthetic::{Recipe, config, fit, log_of};
use cascade_sdk_core::config::{Api, Config, Family, Goal};
use cascade_sdk_core::fit::route::{FitInput, FitOptions, FitOutcome, fit_route};
use cascade_sdk_core::money::Usd;

fn errors(
    log: &cascade_sdk_core::log::EvalLog,
    config: &cascade_sdk_core::config::Config,
    route: &str,
) -> Vec<&'static str> {
    let input =
        FitInput { config, route, log, unreadable_rows: 0, schema: None, options: FitOptions::default() };
    fit_route(&input).expect_err("refused").into_iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn what_is_missing_is_named() {
    let log = Recipe { rows: 50, ..Recipe::default() }.log();
    let good = config(Goal::MinQuality(0.5), None);
    assert_eq!(errors(&log, &good, "anwser"), ["route::unknown"]);
    let mut none = good.clone();
    none.routes[0].objective = None;
    assert_eq!(errors(&log, &none, "answer"), ["fit::no-objective"]);
    let mut hurried = good.clone();
    hurried.routes[0].objective.as_mut().unwrap().max_latency_ms_p95 = Some(800.0);
    assert_eq!(
        errors(&log, &hurried, "answer"),
        ["fit::latency-missing", "fit::latency-missing", "fit::latency-missing"]
    );
    let mut strangers = good.clone();
    strangers.routes[0].tiers.extend(["d".into(), "e".into()]);
    assert_eq!(errors(&log, &strangers, "answer"), ["fit::tier-not-in-log", "fit::tier-not-in-log"]);
    let held_out = log_of(&Recipe { rows: 5, ..Recipe::default() }.lines(|_| Some("test")));
    assert_eq!(errors(&held_out, &good, "answer"), ["fit::no-rows"]);
}

#[test]
fn infeasible_objectives_select_nothing() {
    let log = Recipe::default().log();
    for goal in [Goal::MaxCost(Usd::from_pico(1)), Goal::MinQuality(1.0)] {
        let outcome = fit(&config(goal, None), &log, 1);
        assert_eq!(outcome.report.selected, None);
        assert!(outcome.policy.is_none());
        assert!(outcome.report.verdict.text.starts_with("Infeasible"), "{}", outcome.report.verdict.text);
    }
}

/// Who asks for too much is told how much there is, and which key to change.
#[test]
fn infeasible_objectives_say_what_can_be_reached() {
    let log = Recipe::default().log();
    let text = |goal| fit(&config(goal, None), &log, 1).report.verdict.text;
    let floor = text(Goal::MinQuality(0.999));
    assert!(
        floor.contains("The highest quality is 9") && floor.contains("`min_quality` asks for 99.9 %"),
        "{floor}"
    );
    let budget = text(Goal::MaxCost(Usd::parse("0.0000001").unwrap()));
    assert!(budget.contains("The cheapest policy costs $0.0"), "{budget}");
    assert!(budget.contains("`max_cost_usd` allows $0.000100. Raise it"), "{budget}");
    let mut limited = config(Goal::MaxQuality, None);
    limited.routes[0].objective.as_mut().unwrap().max_latency_ms_p95 = Some(10.0);
    let slow = Recipe { latencies: true, ..Recipe::default() }.log();
    let limited = fit(&limited, &slow, 1).report.verdict.text;
    assert!(
        limited.contains("`a` comes nearest to max_latency_ms_p95: 100.0 % of its requests"),
        "{limited}"
    );
}

#[test]
fn without_held_out_rows_nothing_is_promised() {
    let log = log_of(&Recipe { rows: 40, ..Recipe::default() }.lines(|_| Some("calibration")));
    let outcome = fit(&config(Goal::MinQuality(0.6), None), &log, 1);
    assert!(outcome.policy.is_none());
    assert!(outcome.report.families.iter().all(|family| family.held_out.is_none()));
    assert!(!outcome.report.pairs.is_empty());
}

#[test]
fn one_row_and_constant_signals_go_through() {
    let one = log_of(&Recipe { rows: 1, ..Recipe::default() }.lines(|_| Some("calibration")));
    let outcome = fit(&config(Goal::MinQuality(0.0), None), &one, 1);
    assert_eq!(outcome.report.selected, Some("single"));
    let lines: Vec<String> = Recipe::default()
        .lines(|_| None)
        .iter()
        .map(|line| {
            let mut out = String::new();
            let mut rest = line.as_str();
            while let Some(at) = rest.find(r#""confidence":"#) {
                let end = rest[at..].find('}').unwrap() + at;
                out.push_str(&rest[..at]);
                out.push_str(r#""confidence":0.5"#);
                rest = &rest[end..];
            }
            out + rest
        })
        .collect();
    let outcome = fit(&config(Goal::MaxCost(Usd::parse("0.0001").unwrap()), None), &log_of(&lines), 1);
    // With one score a pair can only keep or escalate everything.
    assert!(outcome.report.pairs.iter().all(|pair| pair.frontier.len() == 2));
    assert_eq!(outcome.report.selected, Some("single"));
}

#[test]
fn a_signal_missing_in_most_answers_is_refused() {
    let lines: Vec<String> = Recipe::default()
        .lines(|_| None)
        .iter()
        .enumerate()
        .map(|(row, line)| if row % 5 == 0 { line.clone() } else { line.replace("confidence", "other") })
        .collect();
    let mut config = config(Goal::MinQuality(0.6), None);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    let report = fit(&config, &log_of(&lines), 1).report;
    assert!(report.pairs.iter().all(|pair| pair.signal.as_deref() == Some("other")));
    assert!(report.warnings.iter().any(|warning| warning.contains("`confidence`")), "{:?}", report.warnings);
    assert!(report.missing_signals.iter().any(|m| m.signal == "other" && m.share > 0.1 && m.share < 0.3));
}

#[test]
fn a_new_tier_with_few_rows_is_reported_apart() {
    let lines: Vec<String> = Recipe::default()
        .lines(|_| None)
        .iter()
        .enumerate()
        .map(|(row, line)| if row % 5 == 0 { line.clone() } else { line.replace(r#""b":{"#, r#""x":{"#) })
        .collect();
    let report = fit(&config(Goal::MinQuality(0.6), None), &log_of(&lines), 1).report;
    assert_eq!(report.left_out.len(), 1);
    assert_eq!((report.left_out[0].name.as_str(), report.left_out[0].rows), ("b", 120));
    assert_eq!(report.rows.used, 600);
    assert!(report.families.iter().all(|family| family.plan.iter().all(|stage| stage.tier != "b")));
}

#[test]
fn what_some_rows_lack_is_said_and_does_without() {
    let half = |row: usize| Some(if row.is_multiple_of(3) { "test" } else { "calibration" });
    let whole: Vec<String> = Recipe::default()
        .lines(half)
        .iter()
        .enumerate()
        .map(|(row, line)| {
            let kind = format!(r#","tags":{{"kind":"k{}"}},"features":{{"size":{row}}},"results""#, row % 3);
            line.replacen(r#","results""#, &kind, 1)
        })
        .collect();
    let mut config = config(Goal::MaxCost(Usd::parse("0.0001").unwrap()), None);
    config.routes[0].fit.families = vec![Family::Single, Family::Router];
    let quiet = fit(&config, &log_of(&whole), 1);
    assert!(quiet.report.warnings.is_empty(), "{:?}", quiet.report.warnings);
    // A single held-out row without the tag, and one calibration row without a result of `c`.
    let mut lines = whole.clone();
    lines[0] = lines[0].replace(r#""tags":{"kind":"k0"},"#, "");
    lines[1] = lines[1].replace(r#""c":{"#, r#""z":{"#);
    lines[2] = lines[2].replace(r#""a":{"#, r#""a":{"request_hash":"another","#);
    let outcome = fit(&config, &log_of(&lines), 1);
    let warnings = &outcome.report.warnings;
    assert!(warnings.iter().any(|text| text.starts_with("1 of 599 rows have no tag `kind`")), "{warnings:?}");
    assert!(!warnings.iter().any(|text| text.contains("`size`")), "{warnings:?}");
    assert!(
        warnings.iter().any(|text| text.starts_with("tier `c` has no result in 1 of 600 rows")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|text| text.starts_with("1 of 1 answers of tier `a` were given to other requests")),
        "{warnings:?}"
    );
    let inputs = |outcome: &FitOutcome| {
        let policy = outcome.policy.as_ref().unwrap();
        policy.rules.router.as_ref().map(|router| router.inputs.tags.len())
    };
    assert_ne!(inputs(&outcome), Some(1));
}

/// The signals of the policy, and what the report says of signals.
fn signals_and_warnings(change: impl Fn(&mut Config)) -> (Vec<String>, Vec<String>) {
    let mut config = config(Goal::MaxQualityLoss { versus: "c".into(), by: 0.02 }, None);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    change(&mut config);
    let lines = Recipe::default().lines(|_| None);
    let lines: Vec<String> = lines.iter().map(|line| line.replace("confidence", "mean_logprob")).collect();
    let outcome = fit(&config, &log_of(&lines), 1);
    let warnings = outcome.report.warnings.into_iter().filter(|warning| warning.contains("signal"));
    (outcome.policy.unwrap().rules.signals, warnings.collect())
}

#[test]
fn signals_that_no_client_could_have_are_named() {
    let through = |config: &mut Config, api| {
        for provider in &mut config.providers {
            provider.api = api;
        }
    };
    // What is replayed has whatever the log has.
    let (replayed, warnings) = signals_and_warnings(|config| through(config, Api::Replay));
    assert!(!replayed.is_empty() && warnings.is_empty(), "{warnings:?}");
    // What a line of the configuration gives back takes part, and its lack is told.
    let (asked, warnings) = signals_and_warnings(|config| through(config, Api::OpenAi));
    assert_eq!(asked, replayed);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("set `top_logprobs` under [routes.answer.request]"), "{warnings:?}");
    // What nothing gives back takes no part.
    let (none, warnings) = signals_and_warnings(|config| through(config, Api::Anthropic));
    assert_eq!(none, [""; 0]);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let told =
        "the signal `mean_logprob` of the tier `a`, whose api `anthropic` returns no log-probabilities, ";
    assert!(warnings[0].starts_with(told), "{warnings:?}");
}
