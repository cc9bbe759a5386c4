//! Fitted early escalation: a rule where the first tokens tell something, none where they do not, and figures that are those of the
//! deployed policy.

use cascade_sdk_core::config::{self, AnswerForm, Config, EarlyEscalation, GuardSettings};
use cascade_sdk_core::decide::{Decision, Why};
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::report::FamilyReport;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, FitOutcome, fit_route};
use cascade_sdk_core::log::{EvalLog, LogSource, ReadOptions, read};
use cascade_sdk_core::policy::{self, Rules};
use cascade_sdk_core::replay::Replay;
use std::fmt::Write as _;

/// Answers of `a` have 24 to 80 tokens; a wrong one has unlikelier tokens from `telling` on.
fn lines(rows: usize, telling: usize) -> Vec<String> {
    let mut random = SplitMix64::new(9, 0);
    (0..rows)
        .map(|row| {
            let right = random.fraction() < 0.55;
            let length = 24 + random.below(57);
            let mut logprobs = String::new();
            for token in 0..length {
                let level = if right || token < telling { 0.15 } else { 0.6 };
                let value = -level * (0.2 + 1.6 * random.fraction());
                let _ = write!(logprobs, "{}{value:.4}", if token > 0 { "," } else { "" });
            }
            let dear = u8::from(random.fraction() < 0.93);
            format!(
                r#"{{"id":"r{row:05}","input":"prompt {row}","results":{{"a":{{"quality":{},"input_tokens":50,"output_tokens":{},"token_logprobs":[{logprobs}]}},"b":{{"quality":{dear},"input_tokens":50,"output_tokens":40}}}}}}"#,
                u8::from(right),
                length + 1,
            )
        })
        .collect()
}

fn config(objective: &str) -> Config {
    config_of(&[("a", 0.1, 1.0), ("b", 1.0, 4.0)], objective)
}

/// `tiers` have their prices for input and output.
fn config_of(tiers: &[(&str, f64, f64)], objective: &str) -> Config {
    let mut text = String::from("schema = 1\n[providers.log]\napi = \"replay\"\n");
    for (name, input, output) in tiers {
        let _ = writeln!(
            text,
            "[tiers.{name}]\nprovider = \"log\"\nmodel = \"{name}\"\n\
             price = {{ input = {input:?}, output = {output:?} }}\nmax_output_tokens = 200"
        );
    }
    let names: Vec<&str> = tiers.iter().map(|tier| tier.0).collect();
    let _ = write!(
        text,
        "[routes.answer]\ntiers = {names:?}\nlog = [\"log.jsonl\"]\n[routes.answer.objective]\n{objective}\n\
         [routes.answer.fit]\nfamilies = [\"single\", \"pair\"]\n[routes.answer.runtime]\nearly_escalation = \"fitted\"\n"
    );
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    config.unwrap_or_else(|| panic!("{findings:#?}"))
}

fn log_of(config: &Config, lines: &[String]) -> EvalLog {
    let options = ReadOptions::for_route(config, &config.routes[0]);
    read([LogSource::new("log.jsonl", lines.join("\n").as_bytes())], &options).unwrap().log
}

fn fit(config: &Config, log: &EvalLog) -> FitOutcome {
    fit_with(config, log, FitOptions { details: false, ..FitOptions::default() })
}

fn fit_with(config: &Config, log: &EvalLog, options: FitOptions) -> FitOutcome {
    let outcome =
        fit_route(&FitInput { config, route: "answer", log, unreadable_rows: 0, schema: None, options })
            .unwrap();
    if let Some(policy) = &outcome.policy {
        let text = policy::write(policy);
        assert_eq!(policy::read(&Source::new("policy.toml", text.as_str())).as_ref(), Ok(policy));
        assert_eq!(policy::staleness(policy, config, "answer", None), []);
    }
    outcome
}

/// Mean quality and cost over all rows, and the share of answers that were given up.
fn means(rules: &Rules, log: &EvalLog) -> (f64, f64, f64) {
    let replay = Replay::new(rules, log).unwrap();
    let (mut scratch, mut quality, mut cost, mut given_up) = (replay.scratch(), 0.0, 0.0, 0.0);
    for row in 0..log.rows.len() {
        let outcome = replay
            .trace(row, &mut scratch, |step| {
                if matches!(
                    step.decision,
                    Decision::Escalate(Why::Unpromising { .. } | Why::OutOfReach { .. })
                ) {
                    assert!(step.given_up_after.is_some());
                    given_up += 1.0;
                }
            })
            .unwrap();
        quality += outcome.quality;
        cost += outcome.cost.to_f64();
    }
    let rows = log.rows.len() as f64;
    (quality / rows, cost / rows, given_up / rows)
}

fn selected(outcome: &FitOutcome) -> &FamilyReport {
    outcome.report.families.iter().find(|family| Some(family.family) == outcome.report.selected).unwrap()
}

fn has_cuts(rules: &Rules) -> bool {
    rules.plans.iter().flat_map(|plan| plan.stops.values()).any(|stop| !stop.cuts.is_empty())
}

fn whole(rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    rules.plans.iter_mut().for_each(|plan| plan.stops.clear());
    rules
}

#[test]
fn tokens_that_tell_early_are_used_and_cost_little_quality() {
    let config = config("shadow_price = 3000.0");
    let log = log_of(&config, &lines(900, 0));
    let outcome = fit(&config, &log);
    let policy = outcome.policy.as_ref().unwrap();
    let stop = &policy.rules.plans[0].stops[&0];
    assert!(stop.most_tokens == Some(200) && !stop.cuts.is_empty(), "{stop:?}");
    let report = outcome.report.early_escalation.as_ref().unwrap();
    let (fitted, bounds) = (report.fitted.unwrap(), report.bounds.unwrap());
    assert!(
        fitted.tokens_spared > 0.2 && fitted.tokens_spared > bounds.tokens_spared,
        "{fitted:?} {bounds:?}"
    );
    assert!(fitted.cost_saving_ci[0] > 0.0 && fitted.quality_change > -0.01, "{fitted:?}");
    assert_eq!(bounds.quality_change.to_bits(), 0.0_f64.to_bits());
    let stage = &report.stages[0];
    assert!(stage.value > stage.standard_error && stage.answers > 500);
    // The same numbers, run by hand.
    let ((quality, cost, given_up), (whole_quality, whole_cost, _)) =
        (means(&policy.rules, &log), means(&whole(&policy.rules), &log));
    assert!(cost < whole_cost && given_up > 0.3 && quality > whole_quality - 0.01);
    // A dollar is worth 3,000 of quality: what is saved is worth more than what is lost.
    assert!(quality - 3000.0 * cost > whole_quality - 3000.0 * whole_cost);
    let selected = selected(&outcome);
    let held_out = selected.held_out.as_ref().unwrap();
    assert_eq!(policy.expected.cost_usd.value.to_bits(), held_out.cost_usd.to_bits());
    let promised = policy.expected.early_escalation.unwrap().cost_saving.value;
    assert_eq!(promised.to_bits(), fitted.cost_saving.to_bits());
    let rows = outcome.report.rows.calibration as f64;
    let both = (selected.calibration.cost_usd * rows + held_out.cost_usd * (900.0 - rows)) / 900.0;
    assert!((both - cost).abs() < 1e-15, "the report is not that of the deployed policy");
}

#[test]
fn tokens_that_tell_late_give_no_rule() {
    let config = config("shadow_price = 3000.0");
    let mut lines = lines(900, 18);
    // Nothing is scored between 16 tokens and the end of the answer.
    for line in &mut lines {
        let start = line.find("token_logprobs\":[").unwrap() + 17;
        let end = line[start..].find(']').unwrap() + start;
        let kept: Vec<&str> = line[start..end].split(',').take(24).collect();
        *line = format!("{}{}{}", &line[..start], kept.join(","), &line[end..]);
    }
    let log = log_of(&config, &lines);
    let outcome = fit(&config, &log);
    let stops = &outcome.policy.unwrap().rules.plans[0].stops;
    assert!(stops.values().all(|stop| stop.cuts.is_empty()), "{stops:?}");
}

#[test]
fn constraints_are_kept_with_the_rule() {
    let log = log_of(&config("min_quality = 0.8"), &lines(900, 0));
    for objective in ["min_quality = 0.85", "max_cost_usd = 0.00016", "max_cost_usd = 0.00018"] {
        let config = config(objective);
        let outcome = fit(&config, &log);
        let calibration = selected(&outcome).calibration;
        let kept = match objective.split_once(" = ").unwrap() {
            ("min_quality", floor) => calibration.quality >= floor.parse::<f64>().unwrap(),
            (_, limit) => calibration.cost_usd <= limit.parse::<f64>().unwrap(),
        };
        assert!(kept, "{objective}: {calibration:?}");
        assert!(outcome.report.early_escalation.is_some(), "{objective}");
    }
}

#[test]
fn weights_count_like_repeated_rows() {
    let config = config("shadow_price = 3000.0");
    let keyed = |row: usize, line: &str, more: &str| {
        line.replace(r#","input""#, &format!(r#","group":"g{row}"{more},"input""#))
    };
    let (mut weighed, mut repeated) = (Vec::new(), Vec::new());
    for (row, line) in lines(600, 0).iter().enumerate() {
        let times = 1 + row % 3;
        weighed.push(keyed(row, line, &format!(r#","weight":{times}"#)));
        repeated.extend(
            (0..times).map(|time| keyed(row, &line.replace(r#""id":""#, &format!(r#""id":"{time}-"#)), "")),
        );
    }
    let [weighed, repeated] = [weighed, repeated].map(|lines| fit(&config, &log_of(&config, &lines)));
    let [a, b] = [&weighed, &repeated].map(|outcome| outcome.policy.as_ref().unwrap());
    assert!(has_cuts(&a.rules));
    assert_eq!(a.rules.plans, b.rules.plans);
    let [a, b] = [&weighed, &repeated].map(|outcome| selected(outcome).calibration);
    assert!((a.cost_usd - b.cost_usd).abs() < 1e-15 && (a.quality - b.quality).abs() < 1e-12, "{a:?} {b:?}");
    let [a, b] =
        [&weighed, &repeated].map(|outcome| &outcome.report.early_escalation.as_ref().unwrap().stages[0]);
    assert!((a.value - b.value).abs() < 1e-9 && (a.standard_error - b.standard_error).abs() < 1e-9);
}

#[test]
fn a_refit_on_all_rows_fits_stops_on_all_rows() {
    let log = log_of(&config("min_quality = 0.8"), &lines(900, 0));
    let options = FitOptions { details: false, refit_on_all: true, ..FitOptions::default() };
    for objective in ["min_quality = 0.85", "max_cost_usd = 0.00014"] {
        let config = config(objective);
        let (once, again) = (fit(&config, &log), fit_with(&config, &log, options));
        let (once, again) = (once.policy.unwrap(), again.policy.unwrap());
        assert!(again.fitted.refit_on_all && has_cuts(&again.rules), "{objective}");
        assert_ne!(once.rules.plans, again.rules.plans, "{objective}");
        let (quality, cost, given_up) = means(&again.rules, &log);
        let (key, bound) = objective.split_once(" = ").unwrap();
        let bound: f64 = bound.parse().unwrap();
        let kept = if key == "min_quality" { quality >= bound - 1e-12 } else { cost <= bound + 1e-15 };
        assert!(kept && given_up > 0.1, "{objective}: {quality} {cost} {given_up}");
    }
}

/// What a mixture draws is not to the last unit what it promises; stops are judged by what they change.
#[test]
fn mixtures_have_stops_too() {
    let log = log_of(&config("min_quality = 0.8"), &lines(900, 0));
    let mut stopped_mixtures = 0;
    for budget in ["0.0001", "0.00012", "0.00014", "0.000155"] {
        let mut config = config(&format!("max_cost_usd = {budget}"));
        config.routes[0].fit.mixtures = true;
        let outcome = fit(&config, &log);
        let policy = outcome.policy.as_ref().unwrap();
        let cost = selected(&outcome).calibration.cost_usd;
        assert!(cost <= budget.parse::<f64>().unwrap() + 1e-15, "{budget} {cost}");
        stopped_mixtures += usize::from(policy.rules.mixture.is_some() && has_cuts(&policy.rules));
    }
    assert!(stopped_mixtures > 1, "{stopped_mixtures}");
}

#[test]
fn limits_are_kept_with_the_rule() {
    let log = log_of(&config("min_quality = 0.8"), &lines(900, 0));
    let mut fitted = 0;
    for share in [0.2, 0.3, 0.42] {
        let config =
            config(&format!("shadow_price = 3000.0\nmax_cost_tail = {{ usd = 0.00022, share = {share} }}"));
        let outcome = fit(&config, &log);
        let limits = &selected(&outcome).limits;
        assert!(limits[0].calibration_share <= share + 1e-12, "{limits:?}");
        fitted += usize::from(has_cuts(&outcome.policy.unwrap().rules));
    }
    assert!(fitted > 0);
}

#[test]
fn a_stage_that_may_abstain_is_not_stopped() {
    let mut config = config("shadow_price = 3000.0");
    config.routes[0].fit.abstain_loss = Some(0.2);
    let log = log_of(&config, &lines(900, 0));
    let policy = fit(&config, &log).policy.unwrap();
    assert!(policy.rules.abstention.is_some());
    for plan in &policy.rules.plans {
        assert!(plan.stops.keys().all(|&stage| plan.abstain_rule(stage).is_none()));
    }
}

/// One request in fifty is `odd`: `a` is right although its answer begins like a wrong one, and `b` is always wrong.
fn misleading(rows: usize) -> Vec<String> {
    let mut random = SplitMix64::new(11, 0);
    (0..rows)
        .map(|row| {
            let odd = row % 50 == 7;
            let right = odd || random.fraction() < 0.8;
            let length = 45 + random.below(31);
            let logprobs: Vec<String> = (0..length)
                .map(|token| {
                    let level = match (odd, right) {
                        (true, _) if 3 * token > 2 * length => 0.02,
                        (false, true) => 0.15,
                        _ => 0.6,
                    };
                    format!("{:.4}", -level * (0.2 + 1.6 * random.fraction()))
                })
                .collect();
            let [b, c] = [if odd { 0.0 } else { 0.93 }, 0.97].map(|good| u8::from(random.fraction() < good));
            let other = r#""input_tokens":50,"output_tokens":40"#;
            format!(
                r#"{{"id":"r{row:05}","tags":{{"kind":"{}"}},"input":"prompt {row}","results":{{"a":{{"quality":{},"input_tokens":50,"output_tokens":{},"token_logprobs":[{}]}},"b":{{"quality":{b},{other}}},"c":{{"quality":{c},{other}}}}}}}"#,
                if odd { "odd" } else { "plain" },
                u8::from(right),
                length + 1,
                logprobs.join(","),
            )
        })
        .collect()
}

#[test]
fn slices_that_stops_fail_are_kept_by_the_guard_if_that_is_worth_it() {
    let guarded = |dear: f64, early: EarlyEscalation| {
        let tiers = [("a", 0.1, 0.5), ("b", 0.1, 1.0), ("c", 0.1, dear)];
        let mut config = config_of(&tiers, "shadow_price = 10000.0");
        let tier = Some("c".to_owned());
        config.routes[0].guard = Some(GuardSettings { by: "kind".into(), max_loss: 0.1, min_rows: 15, tier });
        config.routes[0].runtime.early_escalation = early;
        let log = log_of(&config, &misleading(2_000));
        let outcome = fit(&config, &log);
        let guard = outcome.report.guard.clone().unwrap();
        let kept: Vec<String> = guard.kept.into_iter().map(|slice| slice.label).collect();
        let rules = outcome.policy.unwrap().rules;
        assert_eq!(rules.guard.as_ref().map_or(&[][..], |guard| &guard.labels), kept);
        (kept, has_cuts(&rules))
    };
    // Taken in whole, odd answers pass.
    assert_eq!(guarded(2.0, EarlyEscalation::Off), (Vec::new(), false));
    assert_eq!(guarded(2.0, EarlyEscalation::Fitted), (vec!["odd".to_owned()], true));
    // To keep them on the reference tier costs more than stops spare.
    assert_eq!(guarded(30.0, EarlyEscalation::Fitted), (Vec::new(), false));
}

#[test]
fn where_it_cannot_hold_it_is_not_fitted_and_that_is_said() {
    let log = log_of(&config("min_quality = 0.8"), &lines(400, 0));
    let without = |change: fn(&mut Config), log: &EvalLog| {
        let mut config = config("max_cost_usd = 0.00016");
        change(&mut config);
        let outcome = fit(&config, log);
        assert!(outcome.report.early_escalation.is_none());
        assert!(outcome.policy.unwrap().rules.plans.iter().all(|plan| plan.stops.is_empty()));
        outcome.report.warnings.join("; ")
    };
    let typed = |config: &mut Config| {
        config.routes[0].request.answer = AnswerForm::Schema { path: "answer.json".into() };
    };
    let typed = without(typed, &log);
    assert!(typed.contains("early escalation is not fitted: the answer has a schema"), "{typed}");
    let off = without(|config| config.routes[0].runtime.early_escalation = EarlyEscalation::Bounds, &log);
    assert!(!off.contains("early escalation"), "{off}");
    // Signals without tokens: nobody knows how the answers arrived.
    let silent: Vec<String> = lines(400, 0)
        .iter()
        .map(|line| {
            let (start, end) = (line.find("\"token_logprobs").unwrap(), line.find("]}").unwrap());
            let signal = if line.contains(r#""a":{"quality":1"#) { -0.1 } else { -0.6 };
            format!("{}\"signals\":{{\"mean_logprob\":{signal}}}{}", &line[..start], &line[end + 1..])
        })
        .collect();
    let mut pair = config("max_cost_usd = 0.00016");
    pair.routes[0].fit.families = vec![config::Family::Pair];
    let log = log_of(&pair, &silent);
    let outcome = fit(&pair, &log);
    assert!(outcome.report.early_escalation.is_none());
    assert!(outcome.report.warnings.iter().any(|warning| warning.contains("`token_logprobs`")));
}

#[test]
fn a_certified_policy_takes_answers_in_to_their_end() {
    let config = config("min_quality = 0.8\nconfidence = 0.9");
    let log = log_of(&config, &lines(900, 0));
    let outcome = fit(&config, &log);
    assert!(
        outcome.report.warnings.iter().any(|warning| warning.contains("a certificate belongs to the policy"))
    );
    assert!(outcome.policy.unwrap().rules.plans.iter().all(|plan| plan.stops.is_empty()));
}
