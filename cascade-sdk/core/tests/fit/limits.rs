//! Limits on latency and on dear requests, from the objective to the policy.

use crate::synthetic::{Recipe, config, fit, log_of};
use cascade_sdk_core::config::{Config, CostTail, Family, Goal};
use cascade_sdk_core::fit::route::FitOutcome;
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::Policy;
use cascade_sdk_core::replay::Replay;

fn timed() -> Recipe {
    Recipe { latencies: true, ..Recipe::default() }
}

fn limited(goal: Goal, latency: f64, confidence: Option<f64>) -> Config {
    let mut config = config(goal, confidence);
    config.routes[0].objective.as_mut().unwrap().max_latency_ms_p95 = Some(latency);
    config.routes[0].fit.families = Family::ALL.to_vec();
    config
}

/// Share of rows of a log on which a policy takes longer than a bound, or costs more.
fn over(policy: &Policy, log: &EvalLog, latency: f64, usd: f64) -> [f64; 2] {
    let replay = Replay::new(&policy.rules, log).unwrap();
    let mut scratch = replay.scratch();
    let mut count = [0.0; 2];
    for row in 0..log.rows.len() {
        let outcome = replay.row(row, &mut scratch).unwrap();
        count[0] += f64::from(u8::from(outcome.latency_ms > latency));
        count[1] += f64::from(u8::from(outcome.cost.to_f64() > usd));
    }
    count.map(|count| count / log.rows.len() as f64)
}

fn single_quality(outcome: &FitOutcome, tier: &str) -> f64 {
    outcome.report.tiers.iter().find(|report| report.name == tier).unwrap().quality
}

#[test]
fn latency_alone_maximises_quality_within_it() {
    let log = timed().log();
    // `c` takes 450 to 1,350 ms, so it cannot answer everything; `b` can.
    let outcome = fit(&limited(Goal::MaxQuality, 1_100.0, None), &log, 2);
    let policy = outcome.policy.as_ref().unwrap();
    let report = &outcome.report;
    let selected = report.families.iter().find(|family| Some(family.family) == report.selected).unwrap();
    assert!(selected.calibration.quality > single_quality(&outcome, "b") + 0.03);
    assert!(selected.limits[0].calibration_share <= 0.05, "{:?}", selected.limits);
    let held_out = selected.limits[0].held_out_share.unwrap();
    let [low, high] = selected.limits[0].held_out_share_ci.unwrap();
    assert!(low <= held_out && held_out <= high && held_out < 0.12);
    assert_eq!(policy.expected.latency_ms_p95, selected.limits[0].held_out_quantile);
    assert!(report.limits[0].quality_per_share > 0.0, "the limit binds: {:?}", report.limits);
    assert_eq!(report.verdict.versus_tier.as_deref(), Some("b"), "a reference keeps the limit too");
    for family in &report.families {
        assert!(!family.limits[0].search.is_empty());
        if family.family != "router" && family.family != "routed_cascade" {
            assert!(!family.feasible || family.limits[0].calibration_share <= 0.05, "{}", family.family);
        }
    }
    assert!(report.warnings.iter().any(|warning| warning.contains("without the load of production")));
}

#[test]
fn a_slack_limit_changes_nothing() {
    let log = timed().log();
    let goal = Goal::MinQuality(0.75);
    let mut free = config(goal.clone(), None);
    free.routes[0].fit.families = vec![Family::Single, Family::Pair, Family::Chain, Family::FullChain];
    let mut slack = free.clone();
    slack.routes[0].objective.as_mut().unwrap().max_latency_ms_p95 = Some(1e6);
    let (free, slack) = (fit(&free, &log, 1), fit(&slack, &log, 1));
    assert_eq!(free.report.selected, slack.report.selected);
    assert_eq!(free.policy.unwrap().rules, slack.policy.unwrap().rules);
    assert!(slack.report.limits[0].quality_per_share.abs() < 1e-6);
}

#[test]
fn every_goal_takes_a_limit_and_every_family_keeps_it() {
    let log = timed().log();
    let goals = [
        Goal::MaxCost(Usd::parse("0.00012").unwrap()),
        Goal::MinQuality(0.72),
        Goal::MaxQualityLoss { versus: "b".into(), by: 0.01 },
        Goal::ShadowPrice(500.0),
    ];
    for goal in goals {
        let outcome = fit(&limited(goal.clone(), 1_000.0, None), &log, 2);
        let policy = outcome.policy.unwrap_or_else(|| panic!("{goal:?}: {:?}", outcome.report.warnings));
        // Calibration rows keep it; the whole log nearly does.
        assert!(over(&policy, &log, 1_000.0, 1.0)[0] < 0.09, "{goal:?}");
    }
}

#[test]
fn a_tail_of_cost_is_a_limit_like_any_other() {
    let log = timed().log();
    let mut config = config(Goal::MinQuality(0.6), None);
    let objective = config.routes[0].objective.as_mut().unwrap();
    objective.max_cost_tail = Some(CostTail { usd: Usd::parse("0.0002").unwrap(), share: 0.02 });
    let outcome = fit(&config, &log, 1);
    let policy = outcome.policy.unwrap();
    assert!(over(&policy, &log, 1e9, 0.0002)[1] < 0.05);
    assert_eq!(outcome.report.limits[0].limit, "max_cost_tail");
}

#[test]
fn a_limit_that_no_tier_keeps_is_infeasible() {
    let outcome = fit(&limited(Goal::MinQuality(0.1), 10.0, None), &timed().log(), 1);
    assert_eq!(outcome.report.selected, None);
    assert!(outcome.policy.is_none());
    assert!(outcome.report.families.iter().all(|family| !family.feasible));
    assert!(outcome.report.families.len() >= 4, "they are shown all the same");
    assert!(outcome.report.verdict.text.starts_with("Infeasible"), "{}", outcome.report.verdict.text);
}

#[test]
fn unknown_latencies_count_as_too_long() {
    let lines = timed().lines(|_| None);
    let some: Vec<String> = lines
        .iter()
        .enumerate()
        .map(
            |(row, line)| if row % 50 == 0 { line.replace("latency_ms", "ignored_ms") } else { line.clone() },
        )
        .collect();
    let outcome = fit(&limited(Goal::MinQuality(0.4), 1e6, None), &log_of(&some), 1);
    let report = outcome.report;
    let single = report.families.iter().find(|family| family.family == "single").unwrap();
    assert!(single.limits[0].calibration_share > 0.0);
    assert!(
        report.warnings.iter().any(|warning| warning.contains("counts as too long")),
        "{:?}",
        report.warnings
    );
}

/// MATH.md 11.1: latency and cost together, certified; the promise fails on fresh rows no more often than δ allows.
#[test]
fn certified_limits_hold_on_fresh_rows() {
    let fresh = Recipe { rows: 20_000, seed: 424_242, ..timed() }.log();
    let mut config = limited(Goal::MaxQuality, 1_100.0, Some(0.9));
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    let mut joint = config.clone();
    joint.routes[0].objective.as_mut().unwrap().goal = Goal::MinQuality(0.7);
    for (config, fits) in [(config, 25), (joint, 16)] {
        let (mut broken, mut certified) = (0, 0);
        for seed in 0..fits {
            let outcome = fit(&config, &Recipe { seed: seed + 100, rows: 900, ..timed() }.log(), 1);
            let Some(policy) = outcome.policy else { continue };
            certified += 1;
            let certificate = policy.certificate.as_ref().unwrap();
            assert!(certificate.promise.contains("take longer than 1100 ms"), "{certificate:?}");
            assert!(certificate.method.contains("clopper-pearson"));
            broken += u32::from(over(&policy, &fresh, 1_100.0, 1.0)[0] > 0.05);
        }
        let allowed = 0.1 + 2.0 * (0.09 / fits as f64).sqrt();
        assert!(f64::from(broken) / fits as f64 <= allowed, "{broken} of {fits}");
        assert!(f64::from(certified) / fits as f64 > 0.4, "{certified} of {fits}");
    }
}

#[test]
fn what_certifying_takes_is_known_before() {
    let outcome = fit(&limited(Goal::MinQuality(0.7), 1_100.0, Some(0.9)), &timed().log(), 1);
    let known = outcome.report.certification.unwrap();
    assert_eq!(known.promises.len(), 2);
    assert!((known.promises[0].delta - 0.05).abs() < 1e-12, "joint constraints share δ");
    // ln .05 / ln .7 and ln .05 / ln .95.
    assert_eq!(known.promises.iter().map(|p| p.least_rows.unwrap()).collect::<Vec<_>>(), [9, 59]);
    let loss = Goal::MaxQualityLoss { versus: "c".into(), by: 0.05 };
    let known = fit(&config(loss, Some(0.95)), &timed().log(), 1).report.certification.unwrap();
    let promise = &known.promises[0];
    assert!(promise.least_rows.unwrap() < promise.least_rows_at_no_loss.unwrap());
    let cost = Goal::MaxCost(Usd::parse("0.0001").unwrap());
    let known = fit(&config(cost, Some(0.95)), &timed().log(), 1).report.certification.unwrap();
    // 400 tokens at one dollar a million, against the bound.
    assert!((known.promises[0].most_to_bound.unwrap() - 4.0).abs() < 1e-9);
    assert!(known.promises[0].least_rows.unwrap() > 3);
}
