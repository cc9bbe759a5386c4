//! `--traffic`: rows are weighed by how often requests like them come.

use crate::synthetic::{config, log_of};
use cascade_sdk_core::config::{Config, Family, Goal};
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, FitOutcome, prepare_for};
use cascade_sdk_core::fit::rows::traffic::Traffic;
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::policy;

/// Easy rows, which the cheap tier answers, and hard ones, which it does not and knows it; half of each, easy ones short.
fn log(tagged: bool) -> EvalLog {
    let mut random = SplitMix64::new(9, 0);
    let lines: Vec<String> = (0..1_200)
        .map(|row| {
            let easy = row % 2 == 0;
            let kind = if easy { "easy" } else { "hard" };
            let tags = if tagged { format!(r#""tags":{{"kind":"{kind}"}},"#) } else { String::new() };
            let right = random.fraction() < if easy { 0.95 } else { 0.2 };
            let signal = if easy { 0.5 } else { -0.5 } + random.fraction() * 0.8;
            let text = format!("prompt {row} {}", "long ".repeat(if easy { 1 } else { 40 }));
            format!(
                r#"{{"id":"r{row:05}",{tags}"input":"{text}","results":{{"a":{{"quality":{},"cost_usd":0.00001,"signals":{{"confidence":{signal:.3}}}}},"b":{{"quality":1,"cost_usd":0.00011}},"c":{{"quality":1,"cost_usd":0.0002}}}}}}"#,
                u8::from(right)
            )
        })
        .collect();
    log_of(&lines)
}

fn requests(easy: usize, hard: usize, line: impl Fn(bool) -> String) -> Traffic {
    let text: Vec<String> = (0..easy + hard).map(|at| line(at < easy)).collect();
    Traffic::read("traffic.jsonl", &text.join("\n")).unwrap()
}

fn tagged(easy: bool) -> String {
    format!(r#"{{"tags":{{"kind":"{}"}},"input":"x"}}"#, if easy { "easy" } else { "hard" })
}

fn fitted(config: &Config, log: &EvalLog, traffic: Option<&Traffic>) -> FitOutcome {
    let options = FitOptions::default();
    let input = FitInput { config, route: "answer", log, unreadable_rows: 0, schema: None, options };
    prepare_for(&input, traffic).unwrap().fit().unwrap()
}

fn pairs(goal: Goal, confidence: Option<f64>) -> Config {
    let mut config = config(goal, confidence);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    config
}

#[test]
fn a_policy_for_easy_traffic_is_cheaper() {
    let (log, config) = (log(true), pairs(Goal::MinQuality(0.9), None));
    let plain = fitted(&config, &log, None);
    let traffic = requests(90, 10, tagged);
    let easy = fitted(&config, &log, Some(&traffic));
    let report = easy.report.traffic.as_ref().unwrap();
    assert_eq!((report.requests, report.strata.as_str()), (100, "tags: kind"));
    assert!(report.uncovered_share < 1e-12 && report.undecided_share < 1e-12);
    // Weights .9/.5 and .1/.5 of equal halves: 1 / (2 · (.9² + .1²)) of the rows.
    let calibration = easy.report.rows.calibration as f64;
    assert!((report.effective_calibration_rows / calibration - 1.0 / 1.64).abs() < 0.03);
    let (logged, now) = (report.as_logged.unwrap(), report.on_traffic.unwrap());
    assert!(now.cost_usd < logged.cost_usd && now.escalated < logged.escalated);
    let cost = |outcome: &FitOutcome| outcome.policy.as_ref().unwrap().expected.cost_usd.value;
    assert!(cost(&easy) < 0.6 * cost(&plain), "{} {}", cost(&easy), cost(&plain));
    let policy = easy.policy.unwrap();
    assert_eq!(policy.fitted.traffic_hash.as_deref(), Some(traffic.hash()));
    let text = policy::write(&policy);
    assert_eq!(policy::read(&cascade_sdk_core::diag::Source::new("p", text)).unwrap(), policy);
}

#[test]
fn traffic_like_the_log_changes_no_choice() {
    let (log, config) = (log(true), pairs(Goal::MinQuality(0.9), None));
    let traffic = requests(50, 50, tagged);
    let (plain, same) = (fitted(&config, &log, None), fitted(&config, &log, Some(&traffic)));
    assert_eq!(plain.policy.unwrap().rules, same.policy.unwrap().rules);
}

#[test]
fn without_tags_prompts_are_told_apart_by_length() {
    let (log, config) = (log(false), pairs(Goal::MinQuality(0.9), None));
    let line =
        |easy: bool| format!(r#"{{"input":"prompt 1234 {}"}}"#, "long ".repeat(if easy { 1 } else { 40 }));
    let report = fitted(&config, &log, Some(&requests(80, 20, line))).report.traffic.unwrap();
    assert_eq!(report.strata, "prompt length");
    assert!(report.on_traffic.unwrap().escalated < report.as_logged.unwrap().escalated);
}

#[test]
fn certificates_under_estimated_weights_are_called_approximate() {
    let (log, config) = (log(true), pairs(Goal::MinQuality(0.85), Some(0.9)));
    let traffic = requests(70, 30, tagged);
    let certificate = fitted(&config, &log, Some(&traffic)).policy.unwrap().certificate.unwrap();
    assert!(certificate.assumptions.iter().any(|text| text.starts_with("approximate")), "{certificate:?}");
    assert_eq!(certificate.method, "betting", "binomial bounds are for unweighted rows");
}

#[test]
fn traffic_that_has_nothing_in_common_is_refused() {
    let (log, config) = (log(true), pairs(Goal::MinQuality(0.9), None));
    let options = FitOptions::default();
    let input =
        FitInput { config: &config, route: "answer", log: &log, unreadable_rows: 0, schema: None, options };
    let code = |line: &str| {
        let traffic = Traffic::read("t", line).unwrap();
        prepare_for(&input, Some(&traffic)).err().map(|errors| errors[0].code)
    };
    assert_eq!(code(r#"{"tags":{"kind":"odd"},"input":"x"}"#), Some("fit::traffic-not-covered"));
    assert_eq!(code(r#"{"tags":{"other":"odd"}}"#), Some("fit::traffic-no-strata"));
}
