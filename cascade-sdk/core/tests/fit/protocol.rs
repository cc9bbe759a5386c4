//! What may influence what: held-out rows nothing, order and threads nothing, the objective everything.

use crate::synthetic::{Recipe, config, fit, fit_policy, fit_with, log_of};
use cascade_sdk_core::config::Goal;
use cascade_sdk_core::fit::route::FitOptions;
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::replay::Replay;

fn budget(dollars: &str) -> Goal {
    Goal::MaxCost(Usd::parse(dollars).unwrap())
}

/// The same rows, but that no held-out answer is right.
fn spoiled(lines: &[String]) -> Vec<String> {
    let spoil = |line: &String| {
        if line.contains(r#""split":"test""#) {
            line.replace(r#""quality":1"#, r#""quality":0"#)
        } else {
            line.clone()
        }
    };
    lines.iter().map(spoil).collect()
}

#[test]
fn held_out_rows_change_only_held_out_figures() {
    let halves = |row: usize| Some(if row.is_multiple_of(3) { "test" } else { "calibration" });
    let recipe = Recipe::default();
    let lines = recipe.lines(halves);
    let spoiled = spoiled(&lines);
    let config = config(budget("0.0001"), None);
    let (before, after) = (fit(&config, &log_of(&lines), 1), fit(&config, &log_of(&spoiled), 1));
    assert_eq!(before.report.selected, after.report.selected);
    for (a, b) in before.report.families.iter().zip(&after.report.families) {
        assert_eq!(
            (a.family, &a.plan, a.calibration, a.feasible),
            (b.family, &b.plan, b.calibration, b.feasible)
        );
        assert_ne!(a.held_out, b.held_out, "the held-out figures should have noticed");
    }
    let chosen = |outcome: &cascade_sdk_core::fit::route::FitOutcome| {
        let policy = outcome.policy.clone().unwrap();
        (policy.rules, policy.frontier)
    };
    assert_eq!(chosen(&before), chosen(&after));
}

/// A verdict may be won against a reference while the objective is lost: both are said.
#[test]
fn an_objective_that_held_out_rows_refute_is_named() {
    let halves = |row: usize| Some(if row.is_multiple_of(3) { "test" } else { "calibration" });
    let lines = Recipe::default().lines(halves);
    let spoiled = spoiled(&lines);
    let config = config(Goal::MinQuality(0.8), None);
    let report = fit(&config, &log_of(&spoiled), 1).report;
    let held = report.verdict.objective.as_ref().unwrap();
    assert_eq!((held.key, held.holds), ("min_quality", "no"));
    assert!(report.verdict.text.contains("it does not hold there"), "{}", report.verdict.text);
    assert!(
        report.warnings.iter().any(|text| text.contains("it does not hold there; collect")),
        "{:?}",
        report.warnings
    );
    let kept = fit(&config, &log_of(&lines), 1).report;
    let held = kept.verdict.objective.as_ref().unwrap();
    assert_ne!(held.holds, "no");
    assert!(!kept.verdict.text.contains("hold there") && !held.text.is_empty(), "{}", kept.verdict.text);
}

#[test]
fn order_of_rows_and_threads_change_nothing() {
    let mut lines = Recipe::default().lines(|_| None);
    let config = config(Goal::MinQuality(0.8), None);
    let first = fit(&config, &log_of(&lines), 1);
    lines.reverse();
    let second = fit(&config, &log_of(&lines), 3);
    assert_eq!(serde_json::to_string(&first.report).unwrap(), serde_json::to_string(&second.report).unwrap());
    assert_eq!(first.policy, second.policy);
}

#[test]
fn a_learning_curve_ends_at_the_fit_and_changes_nothing() {
    let log = Recipe::default().log();
    let config = config(budget("0.0001"), None);
    let plain = fit(&config, &log, 1);
    let options = FitOptions { threads: 2, learning_curve: true, ..FitOptions::default() };
    let outcome = fit_with(&config, &log, options);
    assert_eq!(plain.policy, outcome.policy);
    assert_eq!(plain.report.learning_curve, []);
    let curve = &outcome.report.learning_curve;
    let alone = fit_with(&config, &log, FitOptions { details: false, ..options });
    assert_eq!(&alone.report.learning_curve, curve);
    assert!(curve.len() > 2 && curve.windows(2).all(|pair| pair[0].rows < pair[1].rows), "{curve:?}");
    let last = curve.last().unwrap();
    assert_eq!((last.rows, last.parts), (outcome.report.rows.calibration, 1));
    for family in &outcome.report.families {
        assert_eq!(last.areas.get(family.family).map(|area| area.area_hull), family.area_hull);
    }
    for point in curve {
        for area in point.areas.values() {
            let [low, high] = area.range;
            assert!((low..=high).contains(&area.area_hull) || high - low < 1e-12, "{point:?}");
            // No family is worth more than the dearest tier's quality by much, nor less than nothing.
            assert!((0.0..1.1).contains(&area.area_hull), "{point:?}");
        }
    }
}

#[test]
fn a_fit_without_details_gives_the_same_policy() {
    let log = Recipe::default().log();
    for goal in [budget("0.0001"), Goal::MinQuality(0.8)] {
        let config = config(goal, None);
        let (whole, policy) = (fit(&config, &log, 2), fit_policy(&config, &log));
        assert_eq!(whole.policy, policy.policy);
        assert_eq!(whole.report.verdict.text, policy.report.verdict.text);
        assert!(policy.report.pairs.is_empty() && !whole.report.pairs.is_empty());
    }
}

#[test]
fn duplicating_every_row_changes_no_choice() {
    let lines = Recipe::default().lines(|row| Some(if row % 3 == 0 { "test" } else { "calibration" }));
    let twice: Vec<String> =
        lines.iter().flat_map(|line| [line.clone(), line.replace(r#""id":"r"#, r#""id":"s"#)]).collect();
    let config = config(budget("0.0001"), None);
    let (once, doubled) = (fit(&config, &log_of(&lines), 1), fit(&config, &log_of(&twice), 1));
    for (a, b) in once.report.families.iter().zip(&doubled.report.families) {
        assert_eq!((a.family, &a.plan, a.calibration), (b.family, &b.plan, b.calibration));
    }
}

#[test]
fn budgets_and_floors_hold_on_calibration_rows() {
    let log = Recipe::default().log();
    for goal in [budget("0.00005"), budget("0.00015"), Goal::MinQuality(0.75), Goal::MinQuality(0.88)] {
        let outcome = fit(&config(goal.clone(), None), &log, 1);
        for family in outcome.report.families.iter().filter(|family| family.feasible) {
            match &goal {
                Goal::MaxCost(limit) => assert!(family.calibration.cost_usd <= limit.to_f64()),
                Goal::MinQuality(floor) => assert!(family.calibration.quality >= *floor),
                _ => unreachable!("only these two are tried"),
            }
        }
    }
}

#[test]
fn larger_classes_are_never_worse_on_calibration_rows() {
    for seed in 0..5 {
        let log = Recipe { rows: 300, seed, strength: 0.5, ..Recipe::default() }.log();
        let outcome = fit(&config(budget("0.00008"), None), &log, 1);
        let quality = |name: &str| {
            outcome.report.families.iter().find(|family| family.family == name).map(|f| f.calibration.quality)
        };
        let (single, pair, chain) = (quality("single"), quality("pair"), quality("chain"));
        assert!(single <= pair && pair <= chain, "{single:?} {pair:?} {chain:?}");
    }
}

#[test]
fn a_strong_signal_makes_a_cascade_worth_it_and_none_does_not() {
    let goal = Goal::MaxQualityLoss { versus: "c".into(), by: 0.02 };
    let strong = fit(&config(goal.clone(), None), &Recipe { rows: 2000, ..Recipe::default() }.log(), 2);
    assert!(strong.report.verdict.worth_it, "{}", strong.report.verdict.text);
    assert!(strong.report.verdict.cost_saving.unwrap() > 0.1);
    let useless = Recipe { rows: 2000, strength: 0.0, ..Recipe::default() };
    let none = fit(&config(goal, None), &useless.log(), 2);
    assert!(!none.report.verdict.worth_it, "{}", none.report.verdict.text);
}

#[test]
fn the_expected_figures_are_those_of_the_replayed_policy() {
    let log = Recipe::default().log();
    let config = config(budget("0.0001"), None);
    let policy = fit(&config, &log, 1).policy.unwrap();
    let replay = Replay::new(&policy.rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let settings = &config.routes[0].fit;
    let test: Vec<usize> = (0..log.rows.len())
        .filter(|&row| {
            cascade_sdk_core::log::half(&log.rows[row], settings.seed, settings.held_out)
                == cascade_sdk_core::log::Split::Test
        })
        .collect();
    let outcomes: Vec<_> = test.iter().map(|&row| replay.row(row, &mut scratch).unwrap()).collect();
    let mean = |value: &dyn Fn(&cascade_sdk_core::replay::Outcome) -> f64| {
        outcomes.iter().map(value).sum::<f64>() / outcomes.len() as f64
    };
    assert_eq!(test.len(), policy.fitted.test_rows);
    assert!((mean(&|o| o.quality) - policy.expected.quality.value).abs() < 1e-12);
    assert!((mean(&|o| o.cost.to_f64()) - policy.expected.cost_usd.value).abs() < 1e-15);
}

#[test]
fn slices_show_where_a_policy_loses() {
    // Half of the rows carry a label for which the dear tier is always wrong.
    let lines: Vec<String> = Recipe { rows: 900, ..Recipe::default() }
        .lines(|_| None)
        .iter()
        .enumerate()
        .map(|(row, line)| {
            let label = if row % 2 == 0 { "even" } else { "odd" };
            let line =
                line.replacen(r#","results""#, &format!(r#","tags":{{"kind":"{label}"}},"results""#), 1);
            match (row % 2, line.find(r#""c":{"quality":1"#)) {
                (1, Some(at)) => format!("{}{}", &line[..at], line[at..].replacen('1', "0", 1)),
                _ => line,
            }
        })
        .collect();
    let report = fit(&config(Goal::MinQuality(0.55), None), &log_of(&lines), 1).report;
    let labels: Vec<&str> = report.slices.iter().map(|slice| slice.label.as_str()).collect();
    assert_eq!(labels, ["even", "odd"]);
    let rows: usize = report.slices.iter().map(|slice| slice.rows).sum();
    assert_eq!(rows, report.rows.test);
    for slice in &report.slices {
        assert!((slice.share.values().sum::<f64>() - 1.0).abs() < 1e-9);
        let [low, high] = slice.difference_ci.unwrap();
        assert!(low <= slice.difference && slice.difference <= high);
    }
}
