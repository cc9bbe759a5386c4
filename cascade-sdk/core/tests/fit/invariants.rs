//! Invariants of MATH.md 13 and DESIGN.md 9 on whole fits: what must not matter, and what must scale.

use crate::synthetic::{Recipe, config, fit, log_of};
use cascade_sdk_core::config::{Config, Family, Goal};
use cascade_sdk_core::fit::report::FitReport;
use cascade_sdk_core::fit::route::FitOutcome;
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy;
use proptest::prelude::*;

fn budget(dollars: f64) -> Goal {
    Goal::MaxCost(Usd::from_f64(dollars).unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "the form that recipes ask for")]
fn halves(row: usize) -> Option<&'static str> {
    Some(if row.is_multiple_of(3) { "test" } else { "calibration" })
}

/// The lines with every number after `key` replaced.
fn mapped(lines: &[String], key: &str, map: impl Fn(f64) -> String) -> Vec<String> {
    let key = format!("\"{key}\":");
    lines
        .iter()
        .map(|line| {
            let mut parts = line.split(key.as_str());
            let mut text = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let end = part.find([',', '}']).expect("a number ends");
                text.push_str(&key);
                text.push_str(&map(part[..end].parse().expect("a number")));
                text.push_str(&part[end..]);
            }
            text
        })
        .collect()
}

fn shapes(report: &FitReport) -> Vec<(&str, Vec<&str>, f64, Option<f64>)> {
    report
        .families
        .iter()
        .map(|family| {
            let tiers = family.plan.iter().map(|stage| stage.tier.as_str()).collect();
            (family.family, tiers, family.calibration.quality, family.area_hull)
        })
        .collect()
}

/// Every family, routers included.
fn all_families(goal: Goal) -> Config {
    let mut config = config(goal, None);
    config.routes[0].fit.families = Family::ALL.to_vec();
    config
}

fn bytes(outcome: &FitOutcome) -> (String, String) {
    let report = serde_json::to_string(&outcome.report).unwrap();
    (report, outcome.policy.as_ref().map(policy::write).unwrap_or_default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// MATH.md 13, 4: only the order of scores counts.
    #[test]
    fn monotone_transforms_of_a_signal_change_no_choice(seed in 0_u64..1_000, limit in 3e-5_f64..2e-4) {
        let lines = Recipe { rows: 240, seed, ..Recipe::default() }.lines(halves);
        let config = config(budget(limit), None);
        let curved = mapped(&lines, "confidence", |score| format!("{}", (3.0 * score).exp() * 7.0 - 100.0));
        let (plain, curved) = (fit(&config, &log_of(&lines), 1), fit(&config, &log_of(&curved), 1));
        prop_assert_eq!(shapes(&plain.report), shapes(&curved.report));
        prop_assert_eq!(plain.report.selected, curved.report.selected);
        prop_assert_eq!(plain.report.shadow_price, curved.report.shadow_price);
    }

    /// MATH.md 13, 5 and 7: costs ten times as high make λ a tenth, and λ · μ = 1 throughout.
    #[test]
    fn prices_scale_with_costs(seed in 0_u64..1_000, limit in 3e-5_f64..2e-4) {
        let limit = (limit * 1e7).round() / 1e7;
        let lines = Recipe { rows: 240, seed, ..Recipe::default() }.lines(halves);
        let dearer = mapped(&lines, "cost_usd", |cost| format!("{:.8}", cost * 10.0));
        let plain = fit(&config(budget(limit), None), &log_of(&lines), 1).report;
        let dearer = fit(&config(budget(10.0 * limit), None), &log_of(&dearer), 1).report;
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
        prop_assert_eq!(plain.selected, dearer.selected);
        for (one, ten) in plain.families.iter().zip(&dearer.families) {
            prop_assert_eq!((&one.plan, one.feasible), (&ten.plan, ten.feasible));
            prop_assert!(close(one.calibration.cost_usd * 10.0, ten.calibration.cost_usd));
            prop_assert!(close(one.area_hull.unwrap(), ten.area_hull.unwrap()));
        }
        prop_assert_eq!(plain.shadow_price.quality_per_usd.is_some(), dearer.shadow_price.quality_per_usd.is_some());
        for report in [&plain, &dearer] {
            let price = &report.shadow_price;
            if let (Some(quality), Some(usd)) = (price.quality_per_usd, price.usd_per_quality) {
                prop_assert!(close(quality * usd, 1.0));
            }
            if let Some([Some(right), Some(left)]) = price.interval {
                prop_assert!(right < left, "{right} {left}");
            }
        }
        if let (Some(one), Some(ten)) = (plain.shadow_price.quality_per_usd, dearer.shadow_price.quality_per_usd) {
            prop_assert!(close(one, 10.0 * ten), "{one} {ten}");
        }
    }

    /// MATH.md 13, 11: a signal that never changes leaves the single tiers.
    #[test]
    fn constant_scores_leave_the_single_tiers(seed in 0_u64..1_000, limit in 3e-5_f64..2e-4) {
        let lines = Recipe { rows: 150, seed, ..Recipe::default() }.lines(halves);
        let constant = mapped(&lines, "confidence", |_| "0.5".into());
        let report = fit(&config(budget(limit), None), &log_of(&constant), 1).report;
        let single = report.families[0].clone();
        prop_assert_eq!(single.family, "single");
        prop_assert!(report.pairs.iter().all(|pair| pair.frontier.len() == 2));
        for family in report.families.iter().filter(|family| family.feasible) {
            prop_assert_eq!(family.calibration, single.calibration, "{}", family.family);
        }
    }
}

/// DESIGN.md 9, 2: neither the order of rows nor the number of threads changes a byte of report or policy, with routers
/// and without.
#[test]
fn order_and_threads_change_no_byte_of_any_family() {
    let mut lines = Recipe { rows: 240, ..Recipe::default() }.lines(|_| None);
    for goal in [budget(1e-4), Goal::MinQuality(0.7), Goal::ShadowPrice(800.0)] {
        let config = all_families(goal);
        let first = fit(&config, &log_of(&lines), 1);
        lines.reverse();
        let second = fit(&config, &log_of(&lines), 3);
        assert_eq!(bytes(&first), bytes(&second));
        lines.rotate_left(77);
        assert_eq!(bytes(&first), bytes(&fit(&config, &log_of(&lines), 2)));
    }
}

/// MATH.md 9: the parts of the structural cost add up, on average and at every budget.
#[test]
fn structural_costs_add_up() {
    for seed in 1..4 {
        let log = Recipe { rows: 300, seed, ..Recipe::default() }.log();
        let report = fit(&all_families(budget(1e-4)), &log, 2).report;
        let mean = report.structural_cost.expect("a router was fitted");
        assert_eq!(report.structural_by_budget.len(), 20);
        let by_budget = report.structural_by_budget.iter().map(|at| at.cost);
        for cost in by_budget.chain([mean]) {
            let sum = cost.structural + cost.signal + cost.richness;
            assert!((cost.total - sum).abs() < 1e-12, "{cost:?}");
        }
        let average = report.structural_by_budget.iter().map(|at| at.cost.total).sum::<f64>() / 20.0;
        assert!((average - mean.total).abs() < 1e-12);
    }
}
